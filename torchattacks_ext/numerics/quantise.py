"""How do perturbed images become 8-bit images without leaving their ball?"""

from __future__ import annotations

import torch
from torch import Tensor

LEVELS = 255
SLACK = 3e-7
"""Rounding of k/255 and of its distance to another one, in float32; counts as no change."""


def quantise_towards(images: Tensor, perturbed: Tensor) -> Tensor:
    """`perturbed` (N, ...) in [0, 1] on the grid k/255, no pixel farther from `images` than before.

    The nearest grid value is taken where it is not farther from the clean pixel, else the next one
    towards it. With 8-bit clean images every Lp norm of the change can only fall (each pixel within
    3e-7, the rounding of float32); off the grid a pixel may end at most 0.5/255 from the clean one
    when its own change was smaller. Same dtype; half floats hold k/255 to their own digits.

    >>> clean = torch.tensor([[100 / 255]])
    >>> quantise_towards(clean, clean - 1.6 / 255) * 255
    tensor([[99.]])
    """
    wide = torch.promote_types(perturbed.dtype, torch.float32)
    clean, moved = images.to(wide), perturbed.to(wide)
    budget = (moved - clean).abs() + SLACK
    scaled = moved * LEVELS
    # half of the slack: a value put onto the grid from so near stays inside the budget
    step = SLACK / 2 * LEVELS
    inward = torch.where(
        moved >= clean, (scaled + step).floor(), (scaled - step).ceil()
    )
    found = (clean * LEVELS).round()
    for grid in (inward, scaled.round()):
        found = torch.where((grid / LEVELS - clean).abs() <= budget, grid, found)
    return (found.clamp(0, LEVELS) / LEVELS).to(perturbed.dtype)
