"""How does a picture look in other light, or with other colours?"""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import InputError
from ..base import Uniforms
from .pictures import LUMA


def brightness(pictures: Tensor, u: Uniforms, more: float) -> Tensor:
    """The value V of HSV (the largest channel) raised by `more`, at most to 1; hue and S stay.

    All channels are multiplied by V' / V; black, which has no hue, becomes grey.
    """
    value = pictures.amax(1, keepdim=True)
    raised = (value + more).clamp(0, 1)
    share = raised / torch.where(value > 0, value, 1.0)
    return torch.where(value > 0, pictures * share, raised)


def saturate(pictures: Tensor, u: Uniforms, factor: float, more: float) -> Tensor:
    """The saturation S of HSV becomes factor S + more, clipped to [0, 1]; hue and V stay.

    What is grey has no hue, and takes that of red. Raises InputError for pictures of one channel.
    """
    if pictures.shape[1] != 3:
        raise InputError(
            "'saturate' needs three channels: a grey picture has no colour to change; leave it out"
        )
    value = pictures.amax(1, keepdim=True)
    depth = value - pictures.amin(1, keepdim=True)
    old = depth / torch.where(value > 0, value, 1.0)
    new = (old * factor + more).clamp(0, 1)
    red = torch.tensor([0.0, 1.0, 1.0]).to(pictures).view(1, 3, 1, 1)
    away = (value - pictures) / torch.where(depth > 0, depth, 1.0)
    return value * (1 - new * torch.where(depth > 0, away, red))


def contrast(pictures: Tensor, u: Uniforms, factor: float) -> Tensor:
    """Each channel drawn together around its mean m: m + factor (x - m)."""
    mean = pictures.mean((2, 3), keepdim=True)
    return (pictures - mean) * factor + mean


def grey(pictures: Tensor) -> Tensor:
    """(B, 1, H, W) grey values; one channel stays as it is."""
    if pictures.shape[1] == 1:
        return pictures
    red, green, blue = pictures.unbind(1)
    mixed = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return mixed.unsqueeze(1)
