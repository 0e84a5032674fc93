"""What do the corruptions share? Levels of 8 bits, pixels taken from elsewhere, places outside."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...errors import InputError
from ...numerics.gaussian import normals
from ...numerics.quantise import LEVELS
from ..base import Uniforms

SLACK = 1e-3
"""Part of a level below which a number is that level: float32 holds k/255 to 2e-5 of a level."""
TIE = 1e-7
"""Part of a level by which a half may be missed in float64."""
SMALLEST = 4
"""Pixels a side that a picture has at least."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey value (ITU-R BT.601)."""


def as_pictures(images: Tensor) -> Tensor:
    """The images in float64 (float32 on mps), those of 8 bits exactly at k/255.

    Raises InputError unless they are (B, C, H, W) with one or three channels, at least 4 pixels a
    side, in [0, 1].

    >>> bool((as_pictures(torch.full((1, 1, 8, 8), 0.1 * 2)) == 51 / 255).all())
    True
    """
    shape = tuple(images.shape)
    if images.ndim != 4 or shape[1] not in (1, 3) or min(shape[2:]) < SMALLEST:
        raise InputError(
            f"images have shape {shape}, expected (B, C, H, W) with C = 1 or 3 and at least "
            f"{SMALLEST} pixels a side: corruptions are defined for grey and colour pictures"
        )
    wide = images.to(torch.float32 if images.device.type == "mps" else torch.float64)
    if images.numel() and not bool(((wide >= 0) & (wide <= 1)).all()):
        low, high = float(images.min()), float(images.max())
        raise InputError(
            f"pixels from {low:g} to {high:g} are not in [0, 1], for which corruptions are "
            "defined; give images before normalisation"
        )
    levels = wide * LEVELS
    near = levels.round()
    return torch.where((levels - near).abs() < SLACK, near, levels).div_(LEVELS)


def cut_off(pictures: Tensor) -> Tensor:
    """Clipped to [0, 1] and cut off to 8 bits, as the published sets are stored.

    >>> cut_off(torch.tensor([-1.0, 1.9 / 255, 2.0])) * 255
    tensor([  0.,   1., 255.])
    """
    levels = pictures.clamp(0, 1).mul_(LEVELS).add_(SLACK).floor_()
    return levels.div_(LEVELS)


def rounded(pictures: Tensor) -> Tensor:
    """Clipped to [0, 1] and rounded to 8 bits, halves upwards.

    >>> rounded(torch.tensor([-1.0, 1.9 / 255, 2.0])) * 255
    tensor([  0.,   2., 255.])
    """
    return pictures.clamp(0, 1).mul_(LEVELS).add_(0.5 + TIE).floor_().div_(LEVELS)


def noise_like(pictures: Tensor, u: Uniforms, purpose: str) -> Tensor:
    """One standard normal number a feature, as :func:`~.numerics.gaussian.normals` makes them."""
    size = math.prod(pictures.shape[1:])
    z = normals(u(size + size % 2, purpose))[:, :size]
    return z.to(pictures.dtype).reshape(pictures.shape)


def uniform_like(pictures: Tensor, u: Uniforms, purpose: str) -> Tensor:
    """One uniform number in [0, 1) a feature."""
    found = u(math.prod(pictures.shape[1:]), purpose)
    return found.to(pictures.dtype).reshape(pictures.shape)


def mirrored(places: Tensor, n: int, *, edge_twice: bool) -> Tensor:
    """Places (int64, any) folded into 0 .. n - 1 by mirrors at both ends.

    edge_twice: the mirror stands outside the edge pixel (c b a a b c), else on it (c b a b c).

    >>> mirrored(torch.arange(-2, 5), 3, edge_twice=True).tolist()
    [1, 0, 0, 1, 2, 2, 1]
    >>> mirrored(torch.arange(-2, 5), 3, edge_twice=False).tolist()
    [2, 1, 0, 1, 2, 1, 0]
    """
    period = 2 * n if edge_twice else max(2 * n - 2, 1)
    place = places.remainder(period)
    return torch.minimum(place, period - edge_twice - place).clamp_max_(n - 1)


def taken(pictures: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Pixels (B, C, ...) of each picture (B, C, H, W) at rows and columns (B, ...), int64."""
    height, width = pictures.shape[2:]
    place = (rows * width + columns).flatten(1)
    flat = pictures.flatten(2)
    found = flat.gather(2, place.unsqueeze(1).expand(-1, flat.shape[1], -1))
    return found.reshape(*pictures.shape[:2], *rows.shape[1:])


def interpolated(
    pictures: Tensor, rows: Tensor, columns: Tensor, *, edge_twice: bool
) -> Tensor:
    """Bilinear values at real rows and columns (B, H', W'), mirrored beyond the edges.

    >>> image = torch.arange(3.0).view(1, 1, 1, 3)
    >>> at = torch.zeros(1, 1, 1), torch.full((1, 1, 1), -0.5)
    >>> interpolated(image, *at, edge_twice=True), interpolated(image, *at, edge_twice=False)
    (tensor([[[[0.]]]]), tensor([[[[0.5000]]]]))
    """
    top, left = rows.floor(), columns.floor()
    down, across = (rows - top).unsqueeze(1), (columns - left).unsqueeze(1)
    found = torch.zeros_like(down)
    for i, by_row in ((0, 1 - down), (1, down)):
        row = mirrored(top.long() + i, pictures.shape[2], edge_twice=edge_twice)
        for j, by_column in ((0, 1 - across), (1, across)):
            column = mirrored(left.long() + j, pictures.shape[3], edge_twice=edge_twice)
            found = found + by_row * by_column * taken(pictures, row, column)
    return found
