"""What must images and labels be before a method touches them? One check, one clear error each."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, InputError
from ..numerics.norms import Bounds as Bounds
from ..numerics.norms import bounds_for
from .batches import PIL_REMEDY, is_pil, unequal

TOLERANCE = 1e-4
"""How far a pixel may be out of bounds (normalise and back costs 2e-7; a wrong scale far more)."""


def as_bounds(bounds: Any) -> Bounds | None:
    """`bounds` as (low, high), each a float or a per-channel tensor; None = no box (embeddings).

    Raises ConfigError if it is not a pair of finite sides with low < high.
    """
    if bounds is None:
        return None
    try:
        low, high = (torch.as_tensor(side) for side in bounds)
        ordered = bool((low < high).all())
    except (TypeError, ValueError, RuntimeError):
        raise ConfigError(
            f"bounds={bounds!r} must be (low, high) or None (no box); images are (0, 1)"
        ) from None
    if not ordered or not bool(low.isfinite().all() & high.isfinite().all()):
        raise ConfigError(
            f"bounds={bounds!r} must be finite with low < high; images are (0, 1), and None means "
            "no box"
        )
    return low if low.dim() else float(low), high if high.dim() else float(high)


def as_tensor(values: Any, what: str) -> Tensor:
    """`values` as a tensor; an array that torch cannot share (read-only, reversed) is copied.

    Raises InputError, naming `what`, for what is no array of numbers.
    """
    if isinstance(values, Tensor):
        return values
    try:
        if hasattr(values, "__array__"):
            values = np.require(np.asarray(values), requirements=["C", "W"])
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(_no_array(values, what)) from None


def _no_array(values: Any, what: str) -> str:
    """Why `values` are no array of numbers, and what to do."""
    rows = list(values) if isinstance(values, (list, tuple)) else []
    if any(is_pil(row) for row in rows):
        return PIL_REMEDY
    shapes = sorted({tuple(getattr(row, "shape", ())) for row in rows})
    if len(shapes) > 1:
        return unequal(*shapes[:2])
    if shapes and shapes[0]:
        return f"{what} are a list of tensors; stack them: torch.stack(images)"
    return (
        f"{what} are {type(values).__name__}, expected a tensor or an array of numbers"
    )


def check_images(images: Any, bounds: Bounds | None, dtype: torch.dtype) -> Tensor:
    """Images (N, ...) as a contiguous float tensor of `dtype` inside `bounds`; copied if need be.

    Raises InputError for another type, integer or complex dtype, fewer than two dimensions,
    non-finite values, values more than 1e-4 outside the bounds (within that they are clipped) and
    bounds that do not fit the channels. One host sync.
    """
    images = as_tensor(images, "images")
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
    if images.dtype.is_floating_point and images.element_size() < 2:
        raise InputError(
            f"images are {images.dtype}, in which nothing can be computed; use images.float()"
        )
    if not images.dtype.is_floating_point:
        raise InputError(
            f"images are {images.dtype}, expected floats; integer tokens cannot be perturbed: "
            "give the embeddings and a model that maps embeddings to logits, with bounds=None"
        )


def _check_range(images: Tensor, bounds: Bounds | None) -> Tensor:
    minimum, maximum = torch.aminmax(images)
    under = over = torch.zeros_like(minimum)
    if bounds is not None:
        low, high = bounds_for(bounds, images)
        if low.dim() or high.dim():  # each channel has its own
            under, over = (images - low).amin(), (images - high).amax()
        else:
            under, over = minimum - low, maximum - high
    seen = torch.stack([under, over, minimum, maximum]).tolist()
    under_by, over_by, least, most = seen
    if not all(abs(value) < float("inf") for value in (least, most)):
        raise InputError(
            f"images hold NaN or infinite values (range {least:g} to {most:g}); "
            "replace them, for example by torch.nan_to_num"
        )
    if under_by < -TOLERANCE or over_by > TOLERANCE:
        raise InputError(_range_message(least, most, bounds))
    if under_by < 0 or over_by > 0:
        return torch.minimum(torch.maximum(images, low), high)
    return images


def _range_message(least: float, most: float, bounds: Bounds | None) -> str:
    shown = bounds and tuple(torch.as_tensor(side).tolist() for side in bounds)
    head = f"images lie in [{least:.4g}, {most:.4g}], expected bounds={shown}"
    if least >= 0 and 1 < most <= 255:
        return f"{head}; this looks like 0..255: use images / 255"
    return (
        f"{head}; looks normalised? call set_normalization_used(mean, std), or give pixels in "
        "[0, 1] and a model that normalises by itself (NormalizedModel); for other data pass "
        "bounds=(low, high) or bounds=None"
    )


def check_labels(labels: Any, n: int) -> Tensor:
    """Labels as (N,) int64. (N, 1) is flattened, whole floats are cast.

    Raises InputError for what is no array of numbers, another shape or length, one-hot rows,
    fractions and non-finite values.
    """
    labels = as_tensor(labels, "labels").detach()
    if labels.dim() == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dim() != 1 or len(labels) != n:
        hint = "one an image"
        if labels.dim() == 2:
            hint = "use labels.argmax(1) for one-hot rows"
        raise InputError(
            f"labels have shape {tuple(labels.shape)}, expected ({n},) class numbers; {hint}"
        )
    if labels.dtype.is_complex:
        raise InputError(f"labels are {labels.dtype}, expected class numbers 0 .. K-1")
    if labels.dtype.is_floating_point:
        wide = labels.to(torch.promote_types(labels.dtype, torch.float32))
        if not bool((wide.frac() == 0).all()):  # the fraction of NaN and inf is NaN
            raise InputError(
                "labels hold fractions, NaN or infinities, expected class numbers 0 .. K-1"
            )
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
