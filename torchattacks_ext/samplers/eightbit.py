"""How do the draws of a law look as 8-bit images? Its own draws, rounded to levels k/255."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError
from ..numerics.quantise import LEVELS, SLACK
from .base import Sampler, Uniforms, widened


class EightBit(Sampler):
    """A law whose draws are rounded (not cut off) to the levels k/255 of 8-bit images in [0, 1].

    law (Sampler): the law that is rounded. Its bounds, if it has any, must be [0, 1].

    A law with norm "Linf" stays in its ball: a level beyond x +- eps (by more than 3e-7, the
    rounding of k/255) gives way to the outermost level inside; where no level is so near,
    the clean pixel stays. For other norms rounding may leave the ball (by up to 0.5/255 a
    pixel), so norm and eps are None. For 8-bit images, LinfUniform and eps = m/255 every
    step -m..m occurs and the mean change is 0; cutting off would shift it by half a level.
    float16 and bfloat16 hold k/255 to their own digits. Raises ConfigError for anything but
    a Sampler and for other bounds. Cost beside the law: 3 us for 3072 pixels, in a ball 9 us.

    >>> from torchattacks_ext.samplers import LinfUniform
    >>> u = lambda size, purpose="": torch.tensor([[0.0, 0.49, 0.99]])
    >>> (EightBit(LinfUniform(2 / 255)).sample(torch.full((1, 3), 100 / 255), u) * 255).round()
    tensor([[ 98., 100., 102.]])
    """

    name = "eight_bit"

    def __init__(self, law: Sampler) -> None:
        if not isinstance(law, Sampler):
            raise ConfigError(
                f"law={law!r} is not a Sampler; give one, as in EightBit(LinfUniform(8 / 255)), "
                "or wrap a function f(images, u) in CallableSampler"
            )
        bounds = getattr(law, "bounds", None)
        if bounds is not None:
            low, high = (torch.as_tensor(bound) for bound in bounds)
            if not bool((low == 0).all() and (high == 1).all()):
                raise ConfigError(
                    f"bounds={bounds!r} of the law are not (0, 1), the range of 8-bit images; "
                    "give the law these bounds, or None"
                )
        self.law, self.replayable = law, law.replayable
        if law.norm == "Linf" and law.eps is not None:
            self.norm, self.eps = law.norm, law.eps
        self.bounds = (0.0, 1.0)

    def sample(self, images: Tensor, u: Uniforms) -> Tensor:
        """One draw of the law, from its numbers, rounded: (B, ...) in [0, 1] -> (B, ...)."""
        exact = widened(images)
        return self._rounded(exact, self.law.sample(exact, u)).to(images.dtype)

    def from_latent(self, z: Tensor, images: Tensor) -> Tensor:
        """The same law from the z of the rounded one.

        Raises ConfigError where it has no from_latent.

        >>> from torchattacks_ext.samplers import LinfUniform
        >>> EightBit(LinfUniform(0.1)).from_latent(torch.zeros(1, 1), torch.ones(1, 1)) * 255
        tensor([[242.]])
        """
        exact = widened(images)
        return self._rounded(exact, self.law.from_latent(z, exact)).to(images.dtype)

    @property
    def has_latent(self) -> bool:
        """Whether the rounded law has it."""
        return self.law.has_latent

    def latent_size(self, shape: tuple[int, ...]) -> int:
        """That of the rounded law."""
        return self.law.latent_size(shape)

    def settings(self) -> dict[str, Any]:
        """Name, norm, eps and the settings of the rounded law."""
        return super().settings() | {"law": self.law.settings()}

    def _rounded(self, images: Tensor, draw: Tensor) -> Tensor:
        level = (draw * LEVELS).round_()
        if self.eps is None:
            return level.clamp_(0, LEVELS).div_(LEVELS)
        low = ((images - self.eps) * LEVELS).sub_(SLACK * LEVELS).ceil_()
        high = ((images + self.eps) * LEVELS).add_(SLACK * LEVELS).floor_()
        level = level.clamp_(min=low).clamp_(max=high).clamp_(0, LEVELS).div_(LEVELS)
        return torch.where(low <= high, level, images)
