"""Which dtypes, memory layouts and pixel ranges do models work in?"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from .case import ATTACK, NOISE, Case, digits, digits_net, kind, on_digits

HALF, COARSE = 0.02, 0.15
"""What rounding of half (11 bits) and bf16 (8 bits) may move log lambda by."""


class Rounded(nn.Module):
    """The digits net in float32 with the weights of its copy in a coarser dtype."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.net = digits_net().to(dtype).float()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K)."""
        found: Tensor = self.net(images)
        return found


class Autocast(nn.Module):
    """bf16 by autocast inside, float32 outside."""

    def __init__(self) -> None:
        super().__init__()
        self.net = digits_net()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) in bf16."""
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found: Tensor = self.net(images)
        return found


class InRange(nn.Module):
    """The digits net on pixels in [low, high], a channel or all; channels are averaged."""

    low: Tensor
    width: Tensor

    def __init__(self, low: Any, high: Any) -> None:
        super().__init__()
        self.net = digits_net()
        self.register_buffer(
            "low", torch.as_tensor(low, dtype=torch.float32).reshape(-1, 1, 1)
        )
        top = torch.as_tensor(high, dtype=torch.float32).reshape(-1, 1, 1)
        self.register_buffer("width", top - self.low)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K)."""
        found: Tensor = self.net(
            ((images - self.low) / self.width).mean(1, keepdim=True)
        )
        return found


def _in_range(low: Any, high: Any, n_channels: int = 1) -> Case:
    images, labels = digits()
    pixels, model, plain = (
        images.expand(-1, n_channels, -1, -1),
        InRange(low, high),
        InRange(0, 1),
    )
    width = float(model.width.max())
    bounds = (low, high)
    if n_channels > 1:
        bounds = (
            torch.as_tensor(low).reshape(-1, 1, 1),
            torch.as_tensor(high).reshape(-1, 1, 1),
        )
    return Case(
        model,
        plain,
        pixels * model.width + model.low,
        labels,
        {"bounds": bounds},
        plain_images=pixels.contiguous(),
        noise=NOISE,
        attack=ATTACK,
        scale=width,
        # the Fisher information is of the caller's pixels
        shift=-2 * math.log(width),
    )


@kind("half precision")
def half() -> Case:
    """.half() on the CPU; the plain net has its rounded weights in float32."""
    return on_digits(digits_net().half(), Rounded(torch.float16), allowed=HALF)


@kind("bfloat16")
def bfloat16() -> Case:
    """.bfloat16(); the plain net has its rounded weights in float32."""
    return on_digits(digits_net().bfloat16(), Rounded(torch.bfloat16), allowed=COARSE)


@kind("double precision")
def double() -> Case:
    """.double(): float64 throughout."""
    return on_digits(digits_net().double())


@kind("autocast to bf16 inside forward")
def autocast() -> Case:
    """float32 weights, bf16 products."""
    return on_digits(Autocast(), allowed=COARSE)


@kind("channels-last memory")
def channels_last() -> Case:
    """Other strides of weights and gradients."""
    model: nn.Module = digits_net().to(memory_format=torch.channels_last)
    return on_digits(model)


@kind("bounds (-1, 1)")
def plus_minus_one() -> Case:
    """Pixels in [-1, 1], eps twice as wide."""
    return _in_range(-1.0, 1.0)


@kind("bounds (0, 255)")
def bytes_range() -> Case:
    """Pixels in [0, 255], eps in grey levels."""
    return _in_range(0.0, 255.0)


@kind("bounds a channel")
def per_channel() -> Case:
    """Three channels with three origins and one width."""
    return _in_range([-1.0, 0.0, 2.0], [1.0, 2.0, 4.0], 3)


@kind("mean and std inside the model")
def normalised() -> Case:
    """Normalisation as a layer, the usual way of a deployed classifier."""
    import torchattacks_ext as tax

    model = tax.NormalizedModel(InRange(-0.25 / 0.5, 0.75 / 0.5), [0.25], [0.5])
    return on_digits(model)
