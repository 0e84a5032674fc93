"""How does a picture look after few pixels, or after a JPEG file?"""

from __future__ import annotations

from io import BytesIO

import numpy as np
import torch
from torch import Tensor

from ...errors import MissingExtra
from ...numerics.quantise import LEVELS
from ..base import Uniforms
from .pictures import rounded


def pixelate(pictures: Tensor, u: Uniforms, share: float) -> Tensor:
    """Made smaller to int(share x side) pixels by means over boxes, and large again by repetition.

    Each of the two passes, along rows and along columns, rounds to 8 bits, as Pillow's BOX does.
    """
    sides = pictures.shape
    for dim in (3, 2):
        pictures = rounded(_boxes(pictures, dim, max(int(sides[dim] * share), 1)))
    for dim in (3, 2):
        n, size = sides[dim], pictures.shape[dim]
        place = ((torch.arange(n, dtype=torch.float64) + 0.5) * (size / n)).long()
        pictures = pictures.index_select(dim, place.to(pictures.device))
    return pictures


def _boxes(pictures: Tensor, dim: int, size: int) -> Tensor:
    """`size` means over boxes of neighbouring pixels, in place of all pixels along one side."""
    n = pictures.shape[dim]
    parts = [
        pictures.narrow(dim, low, high - low).mean(dim, keepdim=True)
        for low, high in (_box(k, n / size, n) for k in range(size))
    ]
    return torch.cat(parts, dim)


def _box(k: int, wide: float, n: int) -> tuple[int, int]:
    """First pixel and end of box k. A centre on the rim is decided by rounding, as in Pillow."""
    middle = (k + 0.5) * wide
    low, high = (int(middle + side * 0.5 * wide + 0.5) for side in (-1, 1))
    inside = [
        x
        for x in range(low, min(high, n))
        if -0.5 < (x - middle + 0.5) * (1 / wide) <= 0.5
    ]
    return inside[0], inside[-1] + 1


def jpeg_compression(pictures: Tensor, u: Uniforms, quality: int) -> Tensor:
    """Written as a JPEG file of this quality (Pillow's defaults: colour at half the resolution)
    and read again.

    One file a picture, so not vectorised. Raises MissingExtra without Pillow.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra(
            "'jpeg_compression' needs Pillow; pip install pillow, or leave it out"
        ) from error
    levels = rounded(pictures).mul_(LEVELS).round_().to(torch.uint8).cpu()
    found = []
    for one in levels.permute(0, 2, 3, 1).numpy():
        file = BytesIO()
        Image.fromarray(one[..., 0] if one.shape[2] == 1 else one).save(
            file, "JPEG", quality=quality
        )
        with Image.open(file) as read:
            found.append(np.asarray(read).reshape(one.shape))
    whole = torch.from_numpy(np.stack(found)) if found else levels.permute(0, 2, 3, 1)
    return whole.permute(0, 3, 1, 2).to(pictures) / LEVELS
