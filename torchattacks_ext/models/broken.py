"""What is said when the model's own forward raises? What it was given, its words, and the cure."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import ModelContractError, TorchattacksExtError

PASSED_ON = (TorchattacksExtError, torch.cuda.OutOfMemoryError, MemoryError)
"""What the caller must see as it is: our own refusals, and too large a batch."""

_STATIC = re.compile(
    r"Guard failed.*size\(\)\[0\] == (\d+)"
    r"|[Ee]xpected:? (\d+)[^\n]*(?:batch|dimension|index: 0)"
    r"|index: 0 Got: \d+ Expected: (\d+)",
    re.DOTALL,
)
_HINTS = (
    (
        "more than 1 value per channel",
        "batch statistics refuse single rows: give the layers running statistics, or fixed "
        "companions by models.FrozenBatch",
    ),
    (
        "element 0 of tensors does not require grad",
        "does it train itself in its forward? Parameters are frozen while it is measured, and rows "
        "would depend on their order: give a frozen copy",
    ),
    (
        "Can't call numpy() on Tensor that requires grad",
        "NumPy computes inside, where no gradient can pass: use a method that needs scores only, "
        'as PRTest, Square or FIMScore(method="blackbox")',
    ),
    (
        "nference tensors cannot be saved for backward",
        "its weights were made under torch.inference_mode(), where no gradient can pass: outside "
        "of it copy the model (copy.deepcopy), or load them (load_state_dict(..., assign=True))",
    ),
)


def model_raised(
    error: Exception, images: Tensor, inference: Sequence[str] = ()
) -> ModelContractError:
    """The refusal that says what the model was given and what it said; raise it from the error.

    inference: names of the model's tensors that were made under torch.inference_mode().

    >>> str(model_raised(ValueError("no"), torch.zeros(2, 3)))
    'the model raised ValueError on a batch of shape (2, 3) float32: no'
    """
    dtype = str(images.dtype).removeprefix("torch.")
    words = " ".join(str(error).split())[:300]
    hint = hint_for(error)
    if inference and "nference tensor" in words:
        named = ", ".join(inference[:4]) + ", ..." * (len(inference) > 4)
        hint = f"made there: {named}; {hint}" if hint else f"made there: {named}"
    return ModelContractError(
        f"the model raised {type(error).__name__} on a batch of shape {tuple(images.shape)} "
        f"{dtype}: {words}" + (f"; {hint}" if hint else "")
    )


def models_own(error: ModelContractError) -> ModelContractError:
    """The error, where it is what the model itself raised on a batch; any other is raised again.

    >>> try:
    ...     models_own(ModelContractError("all scores are NaN"))
    ... except ModelContractError as error:
    ...     print(error)
    all scores are NaN
    """
    if not is_models_own(error):
        raise error
    return error


def is_models_own(error: BaseException) -> bool:
    """Whether it says what the model itself raised on a batch.

    >>> is_models_own(ModelContractError("all scores are NaN"))
    False
    """
    own = isinstance(error, ModelContractError) and error.__cause__ is not None
    return own and not isinstance(error.__cause__, TorchattacksExtError)


def hint_for(error: Exception) -> str:
    """What to do, where the cause is known; else nothing.

    >>> hint_for(TypeError("forward() takes 1 positional argument but 2 were given"))[:44]
    'the model is called with one positional argu'
    """
    text = str(error)
    if isinstance(error, TypeError) and "positional argument" in text:
        return (
            "the model is called with one positional argument, the images: wrap it, as in "
            "lambda images: model(pixel_values=images)"
        )
    static = _STATIC.search(text)
    if static is not None:
        size = next(group for group in static.groups() if group is not None)
        remedy = "pad its batches, or export it with a dynamic batch"
        return f"the model takes {size} rows only: {remedy}"
    return next((hint for words, hint in _HINTS if words in text), "")
