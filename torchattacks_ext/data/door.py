"""What must images and labels be before a method touches them? One check each, one clear error each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, InputError

Bounds = tuple[float | Tensor, float | Tensor]
TOLERANCE = 1e-4
"""How far a pixel may lie outside the bounds (normalise and back costs 2e-7; a wrong scale far more)."""


def as_bounds(bounds: Any) -> Bounds | None:
    """`bounds` as (low, high), each a float or a per-channel tensor; None = no box (embeddings).

    Raises ConfigError if it is not a pair with low < high.
    """
    if bounds is None:
        return None
    try:
        low, high = bounds
    except (TypeError, ValueError):
        raise ConfigError(
            f"bounds={bounds!r} must be (low, high) or None (no box); images are (0, 1)"
        ) from None
    if not bool((torch.as_tensor(low) < torch.as_tensor(high)).all()):
        raise ConfigError(f"bounds={bounds!r} must have low < high; images are (0, 1)")
    sides = (
        side if isinstance(side, Tensor) else float(side) for side in (low, high)
    )
    return next(sides), next(sides)


def per_channel(side: float | Tensor, like: Tensor) -> float | Tensor:
    """A bound ready to broadcast against images (N, C, ...): (C,) becomes (1, C, 1, ...)."""
    if not isinstance(side, Tensor) or side.dim() == 0:
        return float(side)
    shape = (1, -1) + (1,) * (like.dim() - 2) if side.dim() == 1 else side.shape
    return side.to(like).reshape(shape)


def check_images(images: Any, bounds: Bounds | None, dtype: torch.dtype) -> Tensor:
    """Images (N, ...) as a contiguous float tensor of `dtype` inside `bounds`; a copy only where needed.

    Raises InputError for another type, integer or complex dtype, fewer than two dimensions, non-finite
    values and values more than 1e-4 outside the bounds; within that they are clipped. One host sync.
    """
    if not isinstance(images, Tensor):
        try:
            images = torch.as_tensor(images)
        except (TypeError, ValueError, RuntimeError):
            raise InputError(
                f"images are {type(images).__name__}, expected a float tensor (N, ...)"
            ) from None
    if images.dim() < 2:
        raise InputError(
            f"images have shape {tuple(images.shape)}, expected (N, ...) with a batch "
            "dimension; use images.unsqueeze(0) for one image"
        )
    _check_dtype(images)
    pixels: Tensor = images.detach().to(dtype).contiguous()
    if pixels.numel() == 0:
        return pixels
    return _check_range(pixels, bounds)


def _check_dtype(images: Tensor) -> None:
    if images.dtype == torch.uint8:
        raise InputError(
            "images are uint8 (0..255), expected floats in [0, 1]; use images.float() / 255"
        )
    if not images.dtype.is_floating_point:
        raise InputError(
            f"images are {images.dtype}, expected floats; integer tokens cannot be perturbed: "
            "give the embeddings and a model that maps embeddings to logits, with bounds=None"
        )


def _check_range(images: Tensor, bounds: Bounds | None) -> Tensor:
    if bounds is None:
        low_side, high_side = torch.aminmax(images)
        extremes = [0.0, 0.0, float(low_side), float(high_side)]
        low, high = -float("inf"), float("inf")
    else:
        lows, highs = (per_channel(side, images) for side in bounds)
        under, over = (images - lows).amin(), (images - highs).amax()
        minimum, maximum = torch.aminmax(images)
        extremes = torch.stack([under, over, minimum, maximum]).tolist()
        low, high = lows, highs  # type: ignore[assignment]
    under_by, over_by, least, most = extremes
    if not all(abs(value) < float("inf") for value in (least, most)):
        raise InputError(
            f"images hold NaN or infinite values (range {least:g} to {most:g}); "
            "replace them, for example by torch.nan_to_num"
        )
    if under_by < -TOLERANCE or over_by > TOLERANCE:
        raise InputError(_range_message(least, most, bounds))
    if under_by < 0 or over_by > 0:
        images = torch.minimum(
            torch.maximum(images, torch.as_tensor(low).to(images)),
            torch.as_tensor(high).to(images),
        )
    return images


def _range_message(least: float, most: float, bounds: Bounds | None) -> str:
    head = f"images lie in [{least:.4g}, {most:.4g}], expected bounds={bounds}"
    if least >= 0 and 1 < most <= 255:
        return f"{head}; this looks like 0..255: use images / 255"
    return (
        f"{head}; looks normalised? call set_normalization_used(mean, std), or give pixels in "
        "[0, 1] and a model that normalises by itself (NormalizedModel); for other data pass "
        "bounds=(low, high) or bounds=None"
    )


def check_labels(labels: Any, n: int) -> Tensor:
    """Labels as (N,) int64. (N, 1) is flattened, whole floats are cast.

    Raises InputError for another shape or length, one-hot rows and fractions.
    """
    labels = torch.as_tensor(labels).detach()
    if labels.dim() == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dim() != 1 or len(labels) != n:
        hint = "use labels.argmax(1) for one-hot rows" if labels.dim() == 2 else "one an image"
        raise InputError(
            f"labels have shape {tuple(labels.shape)}, expected ({n},) class numbers; {hint}"
        )
    if labels.dtype.is_floating_point and not torch.equal(labels, labels.round()):
        raise InputError("labels hold fractions, expected class numbers 0 .. K-1")
    found: Tensor = labels.long()
    return found


def check_label_range(labels: Tensor, n_classes: int) -> None:
    """Raises InputError unless all labels (N,) lie in [0, n_classes). One host sync."""
    if not len(labels):
        return
    least, most = (int(side) for side in torch.aminmax(labels))
    if least < 0 or most >= n_classes:
        raise InputError(
            f"labels run from {least} to {most}, but the model has {n_classes} classes "
            f"(0 .. {n_classes - 1}); map the labels or give the right model"
        )
