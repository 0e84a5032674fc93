"""How does a picture look in fog, snow or frost?"""

from __future__ import annotations

import torch
from torch import Tensor

from ..base import Uniforms
from .light import grey
from .motion import smeared, zoomed
from .pictures import cut_off, noise_like, rounded

TINT = (0.85, 0.93, 1.0)
"""Red, green and blue of the procedural frost."""


def fog(pictures: Tensor, u: Uniforms, density: float, decay: float) -> Tensor:
    """A cloud of heights 0 .. 1 times `density` is added, and the brightest pixel kept."""
    height, width = pictures.shape[2:]
    cloud = plasma(u, max(height, width), decay, "fog")[:, None, :height, :width]
    brightest = pictures.amax((1, 2, 3), keepdim=True)
    return (pictures + cloud.to(pictures.dtype) * density) * (
        brightest / (brightest + density)
    )


def plasma(u: Uniforms, side: int, decay: float, purpose: str) -> Tensor:
    """(B, m, m) float64 heights in [0, 1], m the power of two from `side` on; periodic.

    The diamond-square algorithm from one corner of height 0: at each of its scales the middle of a
    square, then of its sides, is the mean of its four neighbours and a number uniform in +-w^2;
    w = 100 at first, divided by `decay` from scale to scale.
    """
    size = 1 << max(side - 1, 1).bit_length()
    rows = u(1, f"{purpose} 0")
    wide = torch.float32 if rows.device.type == "mps" else torch.float64
    grid = torch.zeros(len(rows), size, size, dtype=wide, device=rows.device)
    step, reach = size, 100.0
    while step > 1:
        half = step // 2
        corners = grid[:, ::step, ::step]
        n = corners.shape[1]
        noise = u(3 * n * n, f"{purpose} {step}").to(wide).view(-1, 3, n, n)
        noise = (noise * 2 - 1) * reach**2
        pair = corners + corners.roll(-1, 1)
        middle = (pair + pair.roll(-1, 2)) / 4 + noise[:, 0]
        grid[:, half::step, half::step] = middle
        beside = corners + corners.roll(-1, 2)
        above = corners + corners.roll(-1, 1)
        grid[:, ::step, half::step] = (middle + middle.roll(1, 1) + beside) / 4 + noise[
            :, 1
        ]
        grid[:, half::step, ::step] = (middle + middle.roll(1, 2) + above) / 4 + noise[
            :, 2
        ]
        step, reach = half, reach / decay
    grid -= grid.amin((1, 2), keepdim=True)
    return grid / grid.amax((1, 2), keepdim=True).clamp_min(1e-300)


def snow(
    pictures: Tensor,
    u: Uniforms,
    mean: float,
    sigma: float,
    zoom: float,
    threshold: float,
    radius: float,
    blur: float,
    kept: float,
) -> Tensor:
    """Flakes smeared at -135 .. -45 degrees, once as they are and once turned round, on a paled
    picture: kept x + (1 - kept) max(x, 1.5 grey + 0.5).
    """
    layer = noise_like(pictures[:, :1], u, "flakes") * sigma + mean
    layer = zoomed(layer, zoom)
    layer = cut_off(torch.where(layer < threshold, 0.0, layer))
    degrees = u(1, "angle").to(pictures.dtype).flatten() * 90 - 135
    layer = rounded(smeared(layer, degrees, radius, blur))
    pale = torch.maximum(pictures, grey(pictures) * 1.5 + 0.5)
    return kept * pictures + (1 - kept) * pale + layer + layer.flip(2, 3)


def frosted(
    pictures: Tensor, u: Uniforms, kept: float, share: float, textures: list[Tensor]
) -> Tensor:
    """kept x + share t, t a place of one of the textures (C, h, w), both drawn at random."""
    height, width = pictures.shape[2:]
    drawn = u(3, "texture").to(torch.float64)
    which = (drawn[:, 0] * len(textures)).long()
    layer = torch.zeros_like(pictures)
    rows = torch.arange(height, device=pictures.device)
    columns = torch.arange(width, device=pictures.device)
    for k, texture in enumerate(textures):
        mine = (which == k).nonzero().flatten()
        room = torch.tensor([texture.shape[1] - height, texture.shape[2] - width])
        start = (drawn[mine, 1:] * room.to(drawn.device)).long()
        row, column = start[:, :1] + rows, start[:, 1:] + columns
        part = texture.to(pictures)[:, row[:, :, None], column[:, None, :]]
        layer[mine] = part.transpose(0, 1)
    return kept * pictures + share * layer


def frost_procedural(
    pictures: Tensor, u: Uniforms, kept: float, share: float
) -> Tensor:
    """Frost of a made-up texture: ridges of one :func:`plasma` on the haze of another, bluish.

    It mixes as the published frost does, but is not it: that one blends photographs.
    """
    height, width = pictures.shape[2:]
    side = max(height, width)
    ridges = plasma(u, side, 1.8, "ridges")[:, None, :height, :width]
    haze = plasma(u, side, 2.5, "haze")[:, None, :height, :width]
    sharp = (1 - (ridges * 2 - 1).abs()).square().square()
    layer = (0.3 + 0.4 * haze + 0.5 * sharp).clamp_max(1).to(pictures.dtype)
    if pictures.shape[1] == 3:
        layer = layer * torch.tensor(TINT).to(pictures).view(1, 3, 1, 1)
    return kept * pictures + share * layer
