"""How does whatever a model returns become logits (N, K)? One view, with the query meter inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ..errors import ConfigError, ModelContractError
from .meter import Meter
from .session import first_tensor

Outputs = Literal["logits", "probs"]
OUTPUTS: tuple[Outputs, ...] = get_args(Outputs)


def _scores(raw: Any) -> Tensor:
    """The tensor of scores inside a tensor, tuple, dict or an object with `.logits`."""
    if isinstance(raw, Tensor):
        return raw
    inner = (
        raw.get("logits") if isinstance(raw, Mapping) else getattr(raw, "logits", None)
    )
    if isinstance(inner, Tensor):
        return inner
    values = list(raw.values()) if isinstance(raw, Mapping) else raw
    if isinstance(values, (tuple, list)):
        tensors = [v for v in values if isinstance(v, Tensor)]
        if tensors:
            return tensors[0]
    raise ModelContractError(
        f"the model returned {type(raw).__name__} without scores, expected a tensor (N, K), a "
        "tuple or dict that starts with one, or an object with .logits; wrap the model"
    )


def to_logits(raw: Any, n: int, outputs: Outputs = "logits") -> Tensor:
    """Scores of `n` rows as logits (n, K), K >= 2, float32 (float64 stays).

    A single score z becomes the two columns (0, z), so that softmax gives the model's sigmoid. With
    outputs="probs" the logarithm is taken (clamped at the smallest normal number).
    Raises ModelContractError for another shape.
    """
    scores = _scores(raw)
    # before 1 - p and log: half floats have neither the range nor the digits
    scores = scores if scores.dtype == torch.float64 else scores.float()
    if scores.dim() < 2 and scores.numel() == n:  # .squeeze() makes one row a number
        scores = scores.reshape(n, 1)
    if scores.dim() != 2 or len(scores) != n or scores.shape[1] < 1:
        raise ModelContractError(
            f"the model returned scores of shape {tuple(scores.shape)} for {n} images, expected "
            f"({n}, K); detection and segmentation models need a head that classifies"
        )
    if scores.shape[1] == 1:
        single = scores
        other = 1 - single if outputs == "probs" else torch.zeros_like(single)
        scores = torch.cat([other, single], dim=1)
    if outputs == "probs":
        scores = scores.clamp_min(torch.finfo(scores.dtype).tiny).log()
    return scores


class LogitsView(nn.Module):
    """`model` as a map from images to logits (N, K) in float32 (float64 for a double model).

    model: Module or callable. outputs: "logits" or "probs". meter: counts row-passes; a backward
    pass is counted when a gradient arrives at the logits. The input is cast to the dtype of the
    first parameter.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        outputs: Outputs = "logits",
        meter: Meter | None = None,
    ) -> None:
        super().__init__()
        if outputs not in OUTPUTS:
            raise ConfigError(f"outputs={outputs!r} is not one of {OUTPUTS}")
        self.model = model
        self.outputs = outputs
        self.meter = Meter() if meter is None else meter

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, ...). One forward row-pass a row."""
        n = len(images)
        sample = first_tensor(self.model)
        dtype = torch.float32 if sample is None else sample.dtype
        self.meter.forward += n
        logits = to_logits(self.model(images.to(dtype)), n, self.outputs)
        if (
            logits.is_leaf
        ):  # a model may return its input: no hook on the caller's tensor
            logits = logits.view_as(logits)
        if logits.requires_grad:
            hook: Any = logits.register_hook
            hook(self._count_backward)
        return logits

    def train(self, mode: bool = True) -> LogitsView:
        """Only this view's flag: the modes of a model are its session's, whoever is handed a view."""
        self.training = mode
        return self

    def _count_backward(self, gradient: Tensor) -> None:
        self.meter.backward += len(gradient)


def working_dtype(model: object) -> torch.dtype:
    """float64 for a double model, else float32: the dtype of images, noise and projections."""
    sample = first_tensor(model)
    double = sample is not None and sample.dtype == torch.float64
    return torch.float64 if double else torch.float32


def class_name(model: object) -> str:
    """The class of the model itself, below DataParallel, DDP and torch.compile."""
    inner = getattr(model, "_orig_mod", None)
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        inner = model.module
    if isinstance(inner, nn.Module):
        return class_name(inner)
    return str(getattr(model, "__name__", type(model).__name__))
