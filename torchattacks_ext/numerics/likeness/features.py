"""What stays of a picture after a shift, a change of light and lossy saving? Low frequencies.

A picture becomes a small grey copy t of at most 32 x 32, standardised, so that light and contrast
are gone. Two things are read off it. The spectrum

    s(u, v) = |(u, v)| |FFT t|(u, v),   |u|, |v| <= 8,

does not change under a cyclic shift at all (the weight makes up for the fall of natural spectra),
and is compared for all pairs. The band, the 16 x 16 lowest DCT coefficients without the mean, is
where pictures are the same if they are: lossy saving spends its errors above.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

SIDE, BAND, SPECTRUM = 32, 16, 8
_FLAT = 1e-4
"""Pictures whose grey copy has a smaller standard deviation show nothing to compare."""


def grey_copies(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images (N, C, H, W) as standardised grey copies (N, h, w) float16; flat ones are zero.

    >>> grey_copies(torch.rand(2, 3, 64, 64), (32, 32)).shape
    torch.Size([2, 32, 32])
    """
    grey = images.float().mean(1, keepdim=True)
    if tuple(grey.shape[2:]) != size:
        grey = functional.adaptive_avg_pool2d(grey, size)
    grey = grey[:, 0] - grey.mean((1, 2, 3))[:, None, None]
    spread = grey.square().mean((1, 2), keepdim=True).sqrt()
    return torch.where(spread > _FLAT, grey / spread, 0.0).half()


def copy_size(height: int, width: int) -> tuple[int, int]:
    """Of the grey copies of pictures of this size.

    >>> copy_size(28, 28), copy_size(224, 180)
    ((28, 28), (32, 32))
    """
    return min(height, SIDE), min(width, SIDE)


def spectra(copies: Tensor) -> Tensor:
    """Grey copies (N, h, w) as weighted magnitudes (N, D) float32, rows of length 1 or 0."""
    _, height, width = copies.shape
    up, across = min(SPECTRUM, (height - 1) // 2), min(SPECTRUM, (width - 1) // 2)
    rows = torch.arange(-up, up + 1)
    found = torch.fft.rfft2(copies.float())[:, rows, : across + 1].abs()
    weight = torch.hypot(rows[:, None].float(), torch.arange(across + 1.0))
    return functional.normalize((found * weight).flatten(1), dim=1)


def bands(copies: Tensor) -> Tensor:
    """Grey copies (N, h, w) as low-frequency DCT coefficients (N, D), rows of length 1 or 0."""
    _, height, width = copies.shape
    found = _cosines(height) @ copies.float() @ _cosines(width).T
    found[:, 0, 0] = 0
    return functional.normalize(found.flatten(1), dim=1)


def shifted_bands(copies: Tensor) -> Tensor:
    """The bands (N, 9, D) of copies moved by up to one pixel each way; the edge is repeated."""
    n, height, width = copies.shape
    wide = functional.pad(copies.float()[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    moved = [wide[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return bands(torch.stack(moved, 1).flatten(0, 1)).view(n, 9, -1)


@lru_cache(maxsize=8)
def _cosines(n: int) -> Tensor:
    """The first rows (min(BAND, n), n) of the orthonormal DCT-II."""
    place = torch.arange(n) + 0.5
    waves = torch.arange(min(BAND, n))[:, None]
    found = torch.cos(math.pi * waves * place / n) * math.sqrt(2 / n)
    found[0] /= math.sqrt(2)
    return found
