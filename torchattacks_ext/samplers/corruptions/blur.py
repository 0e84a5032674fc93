"""How does a picture look out of focus, behind frosted glass, or smoothed?"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..base import Uniforms
from ..photometric import blurred
from .pictures import cut_off, mirrored

TRUNCATE = 4.0
"""Standard deviations at which the published Gaussian blur ends."""


def gaussian_blur(pictures: Tensor, u: Uniforms, sigma: float) -> Tensor:
    """A Gaussian of so many pixels, cut off at 4 sigma, edge pixels repeated."""
    radius = int(TRUNCATE * sigma + 0.5)
    if not radius:
        return pictures
    wide = torch.full((len(pictures),), sigma, dtype=pictures.dtype)
    return blurred(pictures, wide.to(pictures.device), radius)


def defocus_blur(
    pictures: Tensor, u: Uniforms, radius: float, smoothing: float
) -> Tensor:
    """The mean over a disk whose rim is smoothed by a Gaussian; mirrored at the edge pixels."""
    kernel = disk(radius, smoothing)
    reach = len(kernel) // 2
    height, width = pictures.shape[2:]
    rows, columns = (
        mirrored(
            torch.arange(-reach, n + reach, device=pictures.device), n, edge_twice=False
        )
        for n in (height, width)
    )
    wide = pictures.index_select(2, rows).index_select(3, columns)
    found = torch.zeros_like(pictures)
    for i, j in zip(*kernel.nonzero()):
        part = wide[:, :, i : i + height, j : j + width]
        found.add_(part, alpha=float(kernel[i, j]))
    return found


def disk(radius: float, smoothing: float) -> np.ndarray[Any, Any]:
    """The kernel of :func:`defocus_blur`: pixels within `radius`, smoothed over 3 or 5 pixels.

    The published one lies on a grid of -8 .. 8 (beyond radius 8 of -radius .. radius) that mirrors
    what the smoothing would push over its rim; where that happens the sum stays 1.

    >>> disk(1.0, 0.2).round(2).tolist()[2]
    [0.0, 0.2, 0.2, 0.2, 0.0]
    """
    rim = 8 if radius <= 8 else int(radius)
    line = np.arange(-rim, rim + 1)
    flat = (line[:, None] ** 2 + line**2 <= radius**2).astype(np.float64)
    flat /= flat.sum()
    reach = 1 if radius <= 8 else 2
    steps = np.arange(-reach, reach + 1)
    weights = np.exp(-(steps**2) / (2 * smoothing**2))
    weights /= weights.sum()
    for axis in (0, 1):
        padding = [(reach, reach) if a == axis else (0, 0) for a in (0, 1)]
        wide, size = np.pad(flat, padding, mode="reflect"), len(line)
        flat = sum(
            weight * wide.take(range(k, k + size), axis)
            for k, weight in enumerate(weights)
        )
    used = int(np.abs(line[(flat > 1e-12).any(0)]).max())
    return flat[rim - used : rim + used + 1, rim - used : rim + used + 1]


def glass_blur(
    pictures: Tensor, u: Uniforms, sigma: float, delta: int, times: int
) -> Tensor:
    """Blurred, pixels taken from up to `delta` away (`times` rounds), blurred again.

    Between, the picture has 8 bits. The published code means to swap two pixels at a time, from the
    last to the first; as both sides of its assignment are views, the first one is overwritten by
    the second and the second stays, in the published sets too: so it is here.
    """
    found = cut_off(gaussian_blur(pictures, u, sigma))
    for k in range(times):
        found = shuffled(found, u, delta, f"round {k}")
    return gaussian_blur(found, u, sigma)


def shuffled(pictures: Tensor, u: Uniforms, delta: int, purpose: str) -> Tensor:
    """One round of :func:`glass_blur`, all pixels at once: whose value each one has in the end.

    From the last pixel to the first, each takes the value that stands at its partner, by dx and dy
    in -delta .. delta - 1. A partner further on was written before: its own partner's value
    counts, and so on; the chain ends at a partner that was not.
    """
    height, width = pictures.shape[2:]
    rows = torch.arange(delta + 1, height - delta + 1, device=pictures.device)
    columns = torch.arange(delta + 1, width - delta + 1, device=pictures.device)
    n = len(rows) * len(columns)
    steps = (u(2 * n, purpose) * (2 * delta)).long() - delta
    across, down = steps[:, :n], steps[:, n:]
    own = (rows[:, None] * width + columns).flatten()
    partner = torch.arange(height * width, device=pictures.device)
    partner = partner.repeat(len(pictures), 1)
    partner[:, own] = own + down * width + across
    found, before = partner, torch.arange(height * width, device=pictures.device)
    moved_on = found > before
    while bool(moved_on.any()):
        onwards = partner.gather(1, found)
        found, moved_on = (
            torch.where(moved_on, onwards, found),
            moved_on & (onwards > found),
        )
    flat = pictures.flatten(2)
    place = found.unsqueeze(1).expand(-1, flat.shape[1], -1)
    return flat.gather(2, place).reshape(pictures.shape)
