"""How does a picture look when the camera moves, or comes nearer, while the shutter is open?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..base import Uniforms
from .pictures import rounded, taken


def motion_blur(pictures: Tensor, u: Uniforms, radius: float, sigma: float) -> Tensor:
    """:func:`smeared` at an angle uniform in -45 .. 45 degrees, rounded to 8 bits."""
    degrees = u(1, "angle").to(pictures.dtype).flatten() * 90 - 45
    return rounded(smeared(pictures, degrees, radius, sigma))


def smeared(pictures: Tensor, degrees: Tensor, radius: float, sigma: float) -> Tensor:
    """Each picture smeared along its own angle (B,): half a Gaussian, edge pixels repeated.

    With width n = 2 ceil(radius) + 1, the value at (x, y) is the sum over i = 0 .. n - 1 of
    w_i P(x + ceil(i cos a - 1/2), y + ceil(i sin a - 1/2)), w_i proportional to exp(-i^2 / (2
    sigma^2)): ImageMagick's motion blur, with which the published sets were made. n passes.
    """
    height, width = pictures.shape[2:]
    steps = torch.arange(2 * math.ceil(radius) + 1, dtype=pictures.dtype)
    weights = (steps.square() / (-2 * sigma**2)).exp()
    weights /= weights.sum()
    angle = torch.deg2rad(degrees)
    cos, sin = angle.cos(), angle.sin()
    rows = torch.arange(height, device=pictures.device).view(1, -1, 1)
    columns = torch.arange(width, device=pictures.device).view(1, 1, -1)
    found = torch.zeros_like(pictures)
    for i, weight in enumerate(weights.tolist()):
        right, down = (
            (i * way - 0.5).ceil().long().view(-1, 1, 1) for way in (cos, sin)
        )
        row = (rows + down).clamp_(0, height - 1).expand(-1, -1, width)
        column = (columns + right).clamp_(0, width - 1).expand(-1, height, -1)
        found.add_(taken(pictures, row, column), alpha=weight)
    return found


def zoom_blur(pictures: Tensor, u: Uniforms, stop: float, step: float) -> Tensor:
    """The mean of the picture and of it enlarged by 1, 1 + step, ... (below `stop`)."""
    factors = np.arange(1, stop, step)
    found = pictures.clone()
    for factor in factors:
        found += zoomed(pictures, float(factor))
    return found / (len(factors) + 1)


def zoomed(pictures: Tensor, factor: float) -> Tensor:
    """The middle of each picture enlarged by factor >= 1, linearly, in its old size.

    >>> zoomed(torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 4, 4), 2.0)[0, 0, 0]
    tensor([1.0000, 1.3333, 1.6667, 2.0000])
    """
    for dim in (2, 3):
        low, share = _from(pictures.shape[dim], factor)
        place = torch.tensor(low, device=pictures.device)
        weight = torch.tensor(share, device=pictures.device).to(pictures.dtype)
        weight = weight.view(-1, 1) if dim == 2 else weight
        near = pictures.index_select(dim, place)
        far = pictures.index_select(dim, (place + 1).clamp_max(pictures.shape[dim] - 1))
        pictures = near * (1 - weight) + far * weight
    return pictures


def _from(n: int, factor: float) -> tuple[Sequence[int], Sequence[float]]:
    """Where each of n new pixels comes from: the pixel before it, and how far behind that.

    Of the middle ceil(n / factor) pixels, whose outermost keep their places, round(that x factor)
    are made, of which the middle n stay.
    """
    part = math.ceil(n / factor)
    size = round(part * factor)
    trim = (size - n) // 2
    steps = np.arange(trim, trim + n) * ((part - 1) / max(size - 1, 1))
    low = np.floor(steps).astype(np.int64)
    return ((n - part) // 2 + low).tolist(), (steps - low).tolist()
