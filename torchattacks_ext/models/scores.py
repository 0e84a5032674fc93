"""Which part of what a model returns are its scores, and how do they become logits (N, K)?

Read is what can be read in one way only. Two tensors that could both be scores, class numbers in
the place of scores and other shapes are refused with what would settle it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, ModelContractError

Outputs = Literal["logits", "probs"]
OUTPUTS: tuple[Outputs, ...] = get_args(Outputs)
Key = str | int | None
"""Name or number of the part that holds the scores; None looks for it."""


def check_outputs(outputs: object, key: object) -> None:
    """Raises ConfigError for words that `outputs` does not know, and for a key that is none.

    >>> check_outputs("logits", None)
    """
    if outputs not in OUTPUTS:
        raise ConfigError(f"outputs={outputs!r} is not one of {OUTPUTS}")
    if isinstance(key, bool) or not (key is None or isinstance(key, (str, int))):
        raise ConfigError(
            f"output_key={key!r} must be a name or a number of what the model returns, or None"
        )


def to_logits(raw: Any, n: int, outputs: Outputs = "logits", key: Key = None) -> Tensor:
    """Scores of `n` rows as logits (n, K), K >= 2, float32 (float64 stays).

    raw: a tensor or a NumPy array; a tuple, a dict or an object with attributes that holds one
    (`key` says which). A
    single score z becomes the two columns (0, z), so that softmax gives the model's sigmoid. (n, K,
    1, 1) and (n, 1, K) lose their ones, and (K,) is the answer to a single row. With
    outputs="probs" the logarithm is taken (clamped at the smallest normal number). Raises
    ModelContractError for anything else.
    """
    found = _rows_of(_tensor_of(raw, n, key), n)
    # before 1 - p and log: half floats have neither the range nor the digits
    scores = found if found.dtype == torch.float64 else found.float()
    if scores.shape[1] == 1:
        single = scores
        other = 1 - single if outputs == "probs" else torch.zeros_like(single)
        scores = torch.cat([other, single], dim=1)
    if outputs == "probs":
        scores = scores.clamp_min(torch.finfo(scores.dtype).tiny).log()
    return scores


def refuse_no_probs(log_probs: Tensor, slack: float) -> None:
    """Raises ModelContractError where exp(log_probs) (n, K) exceeds 1 by more than exp(slack) does.

    One host sync.

    >>> refuse_no_probs(torch.tensor([[0.25, 0.75]]).log(), 1e-3)
    """
    if bool((log_probs > max(1e-3, slack)).any()):
        raise ModelContractError(
            f'outputs="probs", but the model gave {float(log_probs.max().exp()):.4g}, expected '
            'values in [0, 1]; say outputs="logits"'
        )


def _tensor_of(raw: Any, n: int, key: Key) -> Tensor:
    """The tensor of scores: by its key, by the name "logits", or the only one that can be it."""
    raw = _array_as_tensor(raw)
    if isinstance(raw, Tensor):
        return raw
    parts = {name: _array_as_tensor(part) for name, part in _parts(raw)}
    wanted = key if key is not None else "logits" if "logits" in parts else None
    if wanted is not None:
        chosen = _chosen(parts, wanted)
        if isinstance(chosen, Tensor):
            return chosen
        if key is not None:
            raise ModelContractError(
                f"output_key={key!r} names no tensor in what the model returned; it has "
                f"{_listed(parts)}"
            )
    tensors = {name: part for name, part in parts.items() if isinstance(part, Tensor)}
    able = {name: part for name, part in tensors.items() if _could_be(part, n)}
    if len({id(part) for part in able.values()}) > 1:
        raise ModelContractError(
            f"the model returned {_listed(able)}: more than one of them could be the scores of {n} "
            "rows; say which by output_key= (a name or a number), or wrap the model"
        )
    for part in (*able.values(), *tensors.values()):
        return part
    raise ModelContractError(
        f"the model returned {type(raw).__name__} without scores, expected a tensor (N, K), a "
        "tuple or dict with one, or an object with .logits; wrap the model"
    )


def _array_as_tensor(part: Any) -> Any:
    """A NumPy array of numbers (scikit-learn, onnxruntime) as a tensor, anything else as it is."""
    if isinstance(part, np.ndarray) and part.dtype.kind in "fiub":
        return torch.as_tensor(np.require(part, requirements=["C", "W"]))
    return part


def _parts(raw: Any) -> Iterator[tuple[str | int, Any]]:
    """What a tuple, a dict or an object with attributes holds; of a NamedTuple by name."""
    if isinstance(raw, Mapping):
        yield from raw.items()
    elif isinstance(raw, (tuple, list)):
        names = getattr(raw, "_fields", range(len(raw)))
        yield from zip(names, raw)
    elif hasattr(raw, "__dict__"):
        yield from vars(raw).items()
        if "logits" not in vars(raw) and hasattr(raw, "logits"):
            yield "logits", raw.logits


def _chosen(parts: Mapping[str | int, Any], key: str | int) -> Any:
    """By name, or by number where the parts have names."""
    if key in parts:
        return parts[key]
    listed = list(parts.values())
    number = isinstance(key, int) and -len(listed) <= key < len(listed)
    return listed[key] if number and isinstance(key, int) else None


def _could_be(part: Tensor, n: int) -> bool:
    """Floating, one row an image, nothing but ones beyond the classes."""
    if not part.is_floating_point() or not part.dim():
        return False
    try:
        _rows_of(part, n)
    except ModelContractError:
        return False
    return True


def _rows_of(scores: Tensor, n: int) -> Tensor:
    """The scores as (n, K), K >= 1."""
    flat = scores
    if flat.dim() > 2 and flat.shape[2:].numel() == 1:
        flat = flat.flatten(1)
    elif flat.dim() == 3 and flat.shape[1] == 1:
        flat = flat[:, 0]
    if flat.dim() < 2:
        if flat.numel() == n and not _are_classes(flat):  # .squeeze() made (n, 1) a row
            flat = flat.reshape(n, 1)
        elif n == 1 and flat.numel() > 1:  # and (1, K) a row as well
            flat = flat.reshape(1, -1)
    if flat.dim() != 2 or len(flat) != n or flat.shape[1] < 1 or _are_classes(flat):
        raise ModelContractError(_refusal(scores, n))
    return flat


def _are_classes(scores: Tensor) -> bool:
    """Whole numbers in one column: which class, and not how sure."""
    whole = not scores.is_floating_point() and not scores.is_complex()
    return whole and (scores.dim() < 2 or scores.shape[1] == 1)


def _refusal(scores: Tensor, n: int) -> str:
    shape = tuple(scores.shape)
    if _are_classes(scores) and scores.numel() == n:
        return (
            f"the model returned class numbers ({scores.dtype}, shape {shape}): which class, and "
            "not how sure; return scores (N, K), or wrap the labels as one-hot rows and read the "
            "numbers of a hard-label model only (models.HardLabel)"
        )
    hint = "wrap the model so that it returns one row of class scores an image"
    if scores.dim() == 4 and len(scores) == n:
        hint = "a segmentation or detection model needs a head that classifies"
    return f"the model returned scores of shape {shape} for {n} images, expected ({n}, K); {hint}"


def _listed(parts: Mapping[str | int, Any]) -> str:
    """Names and shapes, for a message."""
    return ", ".join(
        f"{name!r} {tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__}"
        for name, part in parts.items()
    )
