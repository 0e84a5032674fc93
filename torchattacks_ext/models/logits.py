"""How does whatever a model returns become logits (N, K)? One view, with the query meter inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelContractError
from .broken import PASSED_ON, model_raised
from .gradients import inference_tensors, refuse_untouched
from .loans import writes_of
from .meter import Meter
from .scores import Key
from .scores import Outputs as Outputs
from .scores import check_outputs, refuse_no_probs
from .scores import to_logits as to_logits
from .session import first_tensor, rounding_of
from .skeletons import loaded_only


class LogitsView(nn.Module):
    """`model` as a map from images to logits (N, K) in float32 (float64 for a double model).

    model: Module or callable. outputs: "logits" or "probs". meter: counts row-passes; a backward
    pass is counted when a gradient arrives at the logits. key: which part of the model's output the
    scores are. The input is cast to the dtype of the first parameter. Nothing of the caller's is
    written: a model that works in place gets copies, and logits are never the model's own memory.
    What the model raises is a ModelContractError with the original as its cause; a model that a
    gradient would break is a NoGradient before it is asked for one.

    >>> view, images = LogitsView(lambda x: x.sub_(0.5).flatten(1)), torch.ones(1, 2)
    >>> view(images).tolist(), view(images).tolist(), images.tolist()
    ([[0.5, 0.5]], [[0.5, 0.5]], [[1.0, 1.0]])
    """

    def __init__(
        self,
        model: Callable[..., Any],
        outputs: Outputs = "logits",
        meter: Meter | None = None,
        key: Key = None,
    ) -> None:
        super().__init__()
        check_outputs(outputs, key)
        self.model = model
        self.outputs, self.key = outputs, key
        self.meter = Meter() if meter is None else meter
        self.writes: bool | None = None
        """Whether the model writes on its input; None before its first forward."""
        self.safe: bool | None = None
        """Whether a gradient leaves the model whole; None before the first that is asked for."""
        self.probs = False
        """Whether an answer was seen that may be probabilities, where these were promised."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, ...). One forward row-pass a row."""
        n = len(images)
        if self.safe is None and images.requires_grad and torch.is_grad_enabled():
            refuse_untouched(self.model)
            self.safe = True
        sample = first_tensor(self.model)
        given = images.to(_input_dtype(sample))
        self.meter.forward += n
        raw = self._ask(given, given is images)
        logits = to_logits(raw, n, self.outputs, self.key)
        if self.outputs == "probs" and not self.probs:
            refuse_no_probs(logits.detach(), rounding_of(self.model))
            self.probs = True
        # the next answer may be written into the same memory; a hook must not hang on the caller's
        logits = logits.clone()
        if logits.requires_grad:
            hook: Any = logits.register_hook
            hook(self._count_backward)
        return logits

    def _ask(self, given: Tensor, callers: bool) -> Any:
        """What the model returns; callers: whether `given` is the caller's own tensor."""
        own = given.clone() if callers and self.writes is not False else given
        before = writes_of(own)
        try:
            with loaded_only(self.model):
                raw = self.model(own)
        except PASSED_ON:
            raise
        except Exception as error:
            made = inference_tensors(self.model)
            raise model_raised(error, given, made, self.model) from error
        moved = writes_of(own) != before
        if self.writes is None and callers:
            # a write through .data or NumPy moves no version
            self.writes = moved or not torch.equal(own, given)
        elif moved and callers and self.writes is False:
            self.writes = True
            raise ModelContractError(
                "the model wrote on its input, which it had not done before: let it work on a copy "
                "(images = images.clone() at its start)"
            )
        return raw

    def train(self, mode: bool = True) -> LogitsView:
        """Only this view's flag: the modes of a model are its session's."""
        self.training = mode
        return self

    def _count_backward(self, gradient: Tensor) -> None:
        self.meter.backward += len(gradient)


def _input_dtype(sample: Tensor | None) -> torch.dtype:
    """That of the model; float32 where it has none in which something can be computed."""
    if sample is None or sample.element_size() < 2:
        return torch.float32
    return sample.dtype


def working_dtype(model: object) -> torch.dtype:
    """float64 for a double model, else float32: the dtype of images, noise and projections."""
    sample = first_tensor(model)
    double = sample is not None and sample.dtype == torch.float64
    return torch.float64 if double else torch.float32


def full_dtype(model: object) -> torch.dtype:
    """The dtype of images that a model's own modules are given, past every view of it.

    Raises ModelContractError for a model in half precision: its modules take no such images.

    >>> full_dtype(nn.Linear(2, 2).double())
    torch.float64
    """
    sample, found = first_tensor(model), working_dtype(model)
    if sample is not None and sample.dtype != found:
        raise ModelContractError(
            f"the model has weights in {sample.dtype}, and here its parts are called with images "
            f"in {found}: give model.float()"
        )
    return found


def class_name(model: object) -> str:
    """The class of the model itself, below DataParallel, DDP and torch.compile."""
    inner = getattr(model, "_orig_mod", None)
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        inner = model.module
    if isinstance(inner, nn.Module):
        return class_name(inner)
    return str(getattr(model, "__name__", type(model).__name__))
