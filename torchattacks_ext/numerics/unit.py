"""How do images in any finite bounds look to attacks that clip to [0, 1]? Moved and scaled.

One scale for all pixels, the widest range: so a ball stays a ball, in every norm. Channels of
narrower range end below 1, and what lies above is read as their end.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from .norms import Bounds, bounds_for

ROUNDING = 1e-6
"""Of numbers in [0, 1] that come from pixels and go back."""
Radius = TypeVar("Radius", bound="float | Tensor")


@dataclass(frozen=True, eq=False)
class Unit:
    """The map of pixels in `bounds` onto [0, 1]: u = (x - low) / width, and back.

    bounds: finite (low, high), floats or one value a channel; None: no box, pixels are left alone.

    >>> unit = Unit((-1.0, 1.0))
    >>> unit.width, unit.radius(0.5), unit.of(torch.tensor([[-1.0, 0.0]])).tolist()
    (2.0, 0.25, [[0.0, 0.5]])
    >>> unit.back(torch.tensor([[0.25]])).tolist(), Unit((0.0, 1.0)).plain
    ([[-0.5]], True)
    """

    bounds: Bounds | None

    @cached_property
    def plain(self) -> bool:
        """Whether nothing is moved or scaled: images come back as the same tensor."""
        if self.bounds is None:
            return True
        low, high = (torch.as_tensor(side) for side in self.bounds)
        return bool((low == 0).all() & (high == 1).all())

    @cached_property
    def width(self) -> float:
        """Of the widest range of any channel."""
        if self.bounds is None:
            return 1.0
        low, high = (torch.as_tensor(side) for side in self.bounds)
        return float((high - low).max())

    def of(self, images: Tensor) -> Tensor:
        """Pixels (N, ...) as numbers in [0, 1]."""
        if self.bounds is None or self.plain:
            return images
        low, _ = bounds_for(self.bounds, images)
        return ((images - low) / self.width).clamp(0, 1)

    def back(self, units: Tensor) -> Tensor:
        """Numbers in [0, 1] as pixels (N, ...) in the box.

        With a gradient: `width` in the box, its ends included, 0 above the end of a channel.
        """
        if self.bounds is None or self.plain:
            return units
        low, high = bounds_for(self.bounds, units)
        scaled = low + self.width * units
        clip: Any = _Clipped.apply
        found: Tensor = clip(scaled, low, high, ROUNDING * self.width)
        return found

    def radius(self, eps: Radius) -> Radius:
        """A radius of pixels as one of the numbers in [0, 1]."""
        scaled: Any = eps if self.plain else eps / self.width
        found: Radius = scaled
        return found


class _Clipped(torch.autograd.Function):
    """x.clamp(low, high), of which torch takes half the gradient at the very ends.

    Half the pixels of a picture may lie there. Beyond them by rounding is at them.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, low: Tensor, high: Tensor, slack: float) -> Tensor:
        return x.clamp(low, high)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, low, high, slack = inputs
        ctx.save_for_backward((x >= low - slack) & (x <= high + slack))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (inside,) = ctx.saved_tensors
        return torch.where(inside, gradient, 0.0), None, None, None


class OnUnit(nn.Module):
    """A model of pixels, asked about images on [0, 1].

    >>> OnUnit(nn.Flatten(), Unit((-1.0, 1.0)))(torch.tensor([[0.5]])).tolist()
    [[0.0]]
    """

    def __init__(self, model: nn.Module, unit: Unit) -> None:
        super().__init__()
        self.model, self.unit = model, unit

    def forward(self, images: Tensor) -> Tensor:
        """What the model returns."""
        found: Tensor = self.model(self.unit.back(images))
        return found


def check_box(bounds: object, who: str) -> None:
    """Raises ConfigError where there are no bounds and the attack `who` clips to some.

    >>> check_box((-1, 1), "PGD")
    """
    if bounds is None:
        raise ConfigError(
            f"bounds=None: {who} clips to a pixel range; give finite bounds (low, high), as wide "
            "as any image may be, or leave it out"
        )
