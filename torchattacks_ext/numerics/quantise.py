"""How do perturbed images become 8-bit images without leaving their ball?"""

from __future__ import annotations

import torch
from torch import Tensor

LEVELS = 255


def quantise_towards(images: Tensor, perturbed: Tensor) -> Tensor:
    """`perturbed` (N, ...) in [0, 1] on the grid k/255, no pixel farther from `images` than before.

    The nearest grid value is taken where it is not farther from the clean pixel, else the next
    one towards it. With 8-bit clean images every Lp norm of the change can only fall; off the
    grid a pixel may end at most 0.5/255 from the clean one when its own change was smaller.
    Same dtype.

    >>> clean = torch.tensor([[100 / 255]])
    >>> quantise_towards(clean, clean - 1.6 / 255) * 255
    tensor([[99.]])
    """
    budget = (perturbed - images).abs() + 1e-6
    scaled = perturbed * LEVELS
    inward = torch.where(
        perturbed >= images, (scaled + 1e-3).floor(), (scaled - 1e-3).ceil()
    )
    found = (images * LEVELS).round()
    for grid in (inward, scaled.round()):
        found = torch.where((grid / LEVELS - images).abs() <= budget, grid, found)
    return found.clamp(0, LEVELS) / LEVELS
