"""What is inside the ball, and which point of it is nearest? Norms, projections and the box.

All norms run over every dimension from 1 on, so rows may have any shape. Images are
assumed to lie in the box; then the ball and the box meet, and clipping to the box can
only shorten the way from an image to a candidate, coordinate by coordinate.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .._typing import NORMS, Norm
from ..errors import ConfigError, InputError

Bounds = tuple["float | Tensor", "float | Tensor"]
"""Lowest and highest pixel value: floats, or tensors with one value a channel."""

_SLACK = 5e-7  # relative; a norm may exceed eps by so much before a candidate counts as outside


def per_row(values: Tensor, like: Tensor) -> Tensor:
    """``values`` (N,) as (N, 1, ...), which broadcasts against ``like`` (N, ...).

    >>> per_row(torch.ones(2), torch.zeros(2, 3, 4)).shape
    torch.Size([2, 1, 1])
    """
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def check_norm(norm: str) -> None:
    """Raise ConfigError unless ``norm`` is "Linf", "L2" or "L1" (spelled so).

    >>> check_norm("L2")
    """
    if norm not in NORMS:
        hint = {name.lower(): name for name in NORMS}.get(str(norm).lower())
        fix = f"; did you mean {hint!r}?" if hint else ""
        raise ConfigError(f"norm={norm!r} is not one of {NORMS}{fix}")


def bounds_for(bounds: Bounds, images: Tensor) -> tuple[Tensor, Tensor]:
    """``bounds`` as two tensors that broadcast against ``images`` (N, ...), same dtype and device.

    A bound is a float, a tensor of one value a channel (C,), which is laid along
    dimension 1, or anything else that broadcasts as it is. Raises InputError when it
    does not fit.

    >>> lo, hi = bounds_for((0.0, torch.tensor([1.0, 2.0, 3.0])), torch.zeros(5, 3, 8, 8))
    >>> lo.shape, hi.shape
    (torch.Size([]), torch.Size([3, 1, 1]))
    """

    def fit(bound: float | Tensor) -> Tensor:
        if not isinstance(bound, Tensor):
            return torch.full((), bound, dtype=images.dtype, device=images.device)
        bound = bound.to(images)
        if bound.ndim == 1 and images.ndim > 2 and len(bound) in (1, images.shape[1]):
            bound = bound.view(-1, *(1,) * (images.ndim - 2))
        try:
            bound.expand(images.shape)
        except RuntimeError:
            raise InputError(
                f"a bound of shape {tuple(bound.shape)} does not fit images of shape "
                f"{tuple(images.shape)}; give a float or one value a channel"
            ) from None
        return bound

    return fit(bounds[0]), fit(bounds[1])


def clip_(values: Tensor, bounds: Bounds | None) -> Tensor:
    """Clip ``values`` (N, ...) to the bounds in place and return them; None = no bounds.

    Raises InputError when the bounds do not fit.

    >>> clip_(torch.tensor([[-0.5, 0.5, 1.5]]), (0.0, 1.0))
    tensor([[0.0000, 0.5000, 1.0000]])
    """
    if bounds is None:
        return values
    low, high = bounds
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        low, high = bounds_for(bounds, values)
        return values.clamp_(min=low).clamp_(
            max=high
        )  # 4 times as fast as both at once
    return values.clamp_(low, high)


def norm_of(delta: Tensor, norm: Norm) -> Tensor:
    """Norm of every row over all dimensions from 1 on: (N, ...) -> (N,), dtype of ``delta``.

    "Linf" max|d|, "L2" (sum d^2)^(1/2), "L1" sum|d|. Sums are taken in float64 (in
    float32 the L1 norm of a picture is off by 1e-5), except on devices without it. NaN
    gives NaN. Raises ConfigError for another norm. Cost: one pass, 0.3 (Linf) to 4 us
    for 3072 float32 numbers.

    >>> norm_of(torch.tensor([[[3.0, -4.0]]]), "L2"), norm_of(torch.tensor([[3.0, -4.0]]), "L1")
    (tensor([5.]), tensor([7.]))
    """
    return _measure(delta, norm).to(delta.dtype)


def beyond(
    images: Tensor,
    candidates: Tensor,
    eps: float | Tensor,
    norm: Norm,
    share: float = 1e-5,
    roundings: float = 1.0,
) -> Tensor:
    """(N,) bool: candidates farther than ``eps`` (1 + share) by more than their pixels' rounding.

    images, candidates: (N, ...) of one float dtype; eps: a float or (N,). roundings: how many units
    in the last place (1.2e-7 of the pixel in float32, 2.2e-16 in float64) each pixel may be off;
    one is twice what the sum image + step loses. No absolute slack: a radius of 1e-6 is held as one
    of 0.1 is, as far as the dtype can tell. Cost: three passes.

    >>> x = torch.full((1, 4), 0.5, dtype=torch.float64)
    >>> beyond(x, x + 1.5e-6, 1e-6, "Linf"), beyond(x, x + 1e-6, 1e-6, "Linf")
    (tensor([True]), tensor([False]))
    """
    # before any subtraction in half precision: it would be rounded once more
    wide = torch.promote_types(images.dtype, torch.float32)
    there, here = candidates.to(wide), images.to(wide)
    largest = torch.maximum(there.abs(), here.abs())
    slack = roundings * torch.finfo(images.dtype).eps * _measure(largest, norm)
    radius = torch.as_tensor(eps, device=slack.device).to(slack.dtype)
    return _measure(there - here, norm) > radius * (1 + share) + slack


def _measure(delta: Tensor, norm: str) -> Tensor:
    check_norm(norm)
    rows = delta.flatten(1)
    if norm == "Linf":
        return rows.abs().amax(1)
    dtype = torch.float32 if delta.device.type == "mps" else torch.float64
    order = 2.0 if norm == "L2" else 1.0
    measured: Tensor = torch.linalg.vector_norm(rows, order, dim=1, dtype=dtype)
    return measured


def project(
    images: Tensor,
    candidates: Tensor,
    eps: float | Tensor,
    norm: Norm,
    bounds: Bounds | None = (0.0, 1.0),
) -> Tensor:
    """Candidates moved into the ball of radius ``eps`` around their images, then into the box.

    images, candidates: (N, ...), float32 or float64, images in the box; eps: a float or
    (N,), >= 0; bounds None = no box. Returns (N, ...) with norm <= eps (1 + 1e-6)
    whatever the rounding, and exactly in the box. A candidate inside both comes back
    bit for bit, so projecting twice changes nothing. Linf: clamp, the Euclidean
    projection onto ball and box. L2: the nearest point of the sphere. L1: the Euclidean
    projection onto the ball, soft thresholding at the level of Duchi et al. 2008
    ("Efficient projections onto the l1-ball", ICML). For L2 and L1 the clip to the box
    comes after: the result is in the ball and the box, but not always their nearest
    point. A NaN stays NaN (L2, L1: also an infinity). Raises InputError when shapes
    differ, ConfigError for another norm or a negative radius. Cost: about ten passes
    (L1: one sort in float64 more).

    >>> x = torch.tensor([[0.5, 0.5]])
    >>> project(x, x + torch.tensor([[0.3, -0.4]]), 0.25, "L2")
    tensor([[0.6500, 0.3000]])
    """
    check_norm(norm)
    if candidates.shape != images.shape or candidates.dtype != images.dtype:
        raise InputError(
            f"candidates {tuple(candidates.shape)} {candidates.dtype} must be like images "
            f"{tuple(images.shape)} {images.dtype}"
        )
    if images.dtype not in (torch.float32, torch.float64):
        raise InputError(f"images are {images.dtype}; project in float32 or float64")
    if not isinstance(eps, Tensor) and not eps >= 0:
        raise ConfigError(f"eps={eps!r} must be >= 0")
    radius = torch.as_tensor(eps, dtype=images.dtype, device=images.device)
    if radius.ndim > 1 or (radius.ndim == 1 and radius.shape != images.shape[:1]):
        raise InputError(
            f"eps must be a float or (N,), got shape {tuple(radius.shape)}"
        )
    radius = per_row(radius, images)
    if norm == "Linf":
        inside = _into_cube(images, candidates, radius)
    else:
        inside = _into_ball(images, candidates, radius, norm)
    return clip_(inside, bounds)


def _into_cube(images: Tensor, candidates: Tensor, radius: Tensor) -> Tensor:
    delta = candidates - images
    edge = images + torch.maximum(torch.minimum(delta, radius), -radius)
    # images + eps may round away from the image: one float back towards it is inside
    # again.
    edge = torch.where(
        (edge - images).abs() > radius, torch.nextafter(edge, images), edge
    )
    return torch.where(delta.abs() <= radius, candidates, edge)


def _into_ball(
    images: Tensor, candidates: Tensor, radius: Tensor, norm: Norm
) -> Tensor:
    def size(step: Tensor) -> Tensor:
        return per_row(_measure(step, norm), images)

    tiny = torch.finfo(images.dtype).tiny
    limit = radius.to(size(images).dtype) * (1 + _SLACK)
    delta = candidates - images
    length = size(delta)
    if norm == "L2":
        step = delta * (radius / length.clamp_min(tiny)).to(delta.dtype)
    else:
        step = _soft_threshold(delta, radius)
    near = images + step
    # Adding the step rounds every coordinate by up to half a unit of its last place.
    # For radii near that unit the sum may leave the ball: then the step is shortened by
    # the worst such error.
    unit = torch.finfo(images.dtype).eps / 2
    error = size((images.abs() + step.abs()) * (step != 0)) * unit
    shorter = ((radius - error).clamp_min(0) / size(step).clamp_min(tiny)).clamp_max(1)
    near = torch.where(
        size(near - images) > limit, images + step * shorter.to(step.dtype), near
    )
    return torch.where(length <= limit, candidates, near)


def _soft_threshold(delta: Tensor, radius: Tensor) -> Tensor:
    """Duchi et al. 2008, Fig. 1: the nearest point to delta with sum|d| <= radius, when outside."""
    rows = delta.flatten(1)
    if delta.device.type != "mps":
        rows = rows.double()
    eps = radius.to(rows).view(-1, 1)
    sizes = rows.abs()
    ordered = sizes.sort(dim=1, descending=True).values
    excess = ordered.cumsum(1) - eps
    ranks = torch.arange(1, rows.shape[1] + 1, dtype=rows.dtype, device=rows.device)
    n_kept = (ordered * ranks > excess).sum(1, keepdim=True).clamp_min(1)
    level = excess.gather(1, n_kept - 1) / n_kept
    return ((sizes - level).clamp_min(0) * rows.sign()).to(delta.dtype).view_as(delta)
