"""How does an image look after several laws, one after the other?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError
from .base import Sampler, Uniforms, widened


class Compose(Sampler):
    """Laws applied in their order, each to what the one before it gave, independently drawn.

    laws (iterable): one or more samplers; the same one may come twice and then draws other
        numbers.

    Law i of name "x" gets the numbers of the purposes "i:x/...". norm and eps are None: each
    law keeps to its ball around what it was given, which bounds nothing around the image.
    Replayable if all of them are. Raises ConfigError for no law, and for anything that is
    not a Sampler. Cost: the sum.

    >>> from torchattacks_ext.samplers import Affine, Gaussian
    >>> law = Compose([Affine(rotation=10), Gaussian(0.1)])
    >>> law.latent_size((3, 8, 8)), law.has_latent
    (196, True)
    """

    name = "compose"

    def __init__(self, laws: Iterable[Sampler]) -> None:
        self.laws = tuple(laws)
        for law in self.laws:
            if not isinstance(law, Sampler):
                raise ConfigError(
                    f"laws holds {law!r}, expected samplers; wrap a function f(images, u) in "
                    "CallableSampler"
                )
        if not self.laws:
            raise ConfigError(
                "laws is empty; give at least one, as in Compose([Affine(rotation=10)])"
            )
        self.replayable = all(law.replayable for law in self.laws)

    def sample(self, images: Tensor, u: Uniforms) -> Tensor:
        """One draw an image from the numbers of every law: (B, ...) -> (B, ...)."""
        drawn = widened(images)
        for i, law in enumerate(self.laws):
            drawn = law.sample(drawn, _own(u, f"{i}:{law.name}"))
        return drawn.to(images.dtype)

    def from_latent(self, z: Tensor, images: Tensor) -> Tensor:
        """The same law from z (B, latent_size), cut into the parts of the laws, in their order.

        Raises ConfigError where one of them has no from_latent.

        >>> from torchattacks_ext.samplers import Gaussian
        >>> law = Compose([Gaussian(0.1), Gaussian(0.2)])
        >>> law.from_latent(torch.tensor([[1.0, 2.0]]), torch.zeros(1, 1))
        tensor([[0.5000]])
        """
        self.check_latent(z, images)
        sizes = [law.latent_size(tuple(images.shape[1:])) for law in self.laws]
        drawn = widened(images)
        for law, part in zip(self.laws, torch.split(z, sizes, dim=1)):
            drawn = law.from_latent(part, drawn)
        return drawn.to(images.dtype)

    @property
    def has_latent(self) -> bool:
        """Whether every law has it."""
        return all(law.has_latent for law in self.laws)

    def latent_size(self, shape: tuple[int, ...]) -> int:
        """The sum over the laws."""
        return sum(law.latent_size(shape) for law in self.laws)

    def settings(self) -> dict[str, Any]:
        """Name and the settings of the laws, in their order (norm and eps are None)."""
        return super().settings() | {"laws": [law.settings() for law in self.laws]}


def _own(u: Uniforms, prefix: str) -> Uniforms:
    def numbers(size: int, purpose: str = "") -> Tensor:
        return u(size, f"{prefix}/{purpose}")

    return numbers
