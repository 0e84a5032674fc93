"""Does `check_sampler` pass what is right, and does it catch each kind of broken law?"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from torchattacks_ext.samplers import (
    CallableSampler,
    EightBit,
    Gaussian,
    LinfUniform,
    Sampler,
)
from torchattacks_ext.testing import check_sampler

NAMES = (
    "settings",
    "draws",
    "numbers",
    "rows",
    "generators",
    "bounds",
    "ball",
    "dtypes",
    "modes",
    "eight_bit",
    "latent",
)


def test_it_names_its_checks() -> None:
    assert check_sampler(LinfUniform(0.1), shape=(6,)) == NAMES
    assert check_sampler(Gaussian(0.1), n=2) == NAMES


def test_a_callers_own_law_passes() -> None:
    def brighter(images: Tensor, u: Any) -> Tensor:
        share = u(1).to(images.dtype).view(-1, *(1,) * (images.ndim - 1))
        return images + 0.1 * share

    assert check_sampler(CallableSampler(brighter, norm="Linf", eps=0.1)) == NAMES


class Base(LinfUniform):
    """A law that is right, to be broken below; without the argument `bounds`."""

    def __init__(self) -> None:
        super().__init__(0.1)


class HasNoName(Base):
    name = None  # type: ignore[assignment]


class HasTensorsInItsSettings(Base):
    def settings(self) -> Any:
        return super().settings() | {"bounds": torch.zeros(1)}


class ForgetsAnArgument(Base):
    def __init__(self, strength: float = 1.0) -> None:
        super().__init__()
        self.strength = strength


class WritesIntoItsInput(Base):
    def sample(self, images: Tensor, u: Any) -> Tensor:
        return images.copy_(super().sample(images, u))


class GivesItsInputBack(Base):
    def sample(self, images: Tensor, u: Any) -> Tensor:
        return images


class ChangesTheShape(Base):
    def sample(self, images: Tensor, u: Any) -> Tensor:
        return super().sample(images, u).flatten(1)


class ChangesTheType(Base):
    def sample(self, images: Tensor, u: Any) -> Tensor:
        return super().sample(images, u).double()


class NarrowsDoubles(Base):
    def sample(self, images: Tensor, u: Any) -> Tensor:
        return super().sample(images.float(), u)


class GivesNaN(Base):
    def sample(self, images: Tensor, u: Any) -> Tensor:
        found = super().sample(images, u)
        return torch.where(u(images[0].numel()).view_as(found) < 0.01, torch.nan, found)


class DrawsFromTorch(Base):
    def sample(self, images: Tensor, u: Any) -> Tensor:
        noise = torch.rand_like(images) - 0.5
        return (images + 0.1 * noise).clamp(0, 1)


class TouchesTorch(Base):
    def sample(self, images: Tensor, u: Any) -> Tensor:
        torch.rand(1)
        return super().sample(images, u)


class TouchesNumpy(Base):
    def sample(self, images: Tensor, u: Any) -> Tensor:
        np.random.rand(1)
        return super().sample(images, u)


class TouchesPython(Base):
    def sample(self, images: Tensor, u: Any) -> Tensor:
        random.random()
        return super().sample(images, u)


class DrawsOnlyOnce(Base):
    def sample(self, images: Tensor, u: Any) -> Tensor:
        return images + 0.0


class SharesOneDraw(Base):
    def sample(self, images: Tensor, u: Any) -> Tensor:
        first = u(images[0].numel())[:1].expand(len(images), -1)
        return super().sample(images, lambda size, purpose="": first)


class SubtractsTheMeanOfTheBatch(Base):
    def sample(self, images: Tensor, u: Any) -> Tensor:
        found = super().sample(images, u)
        mean = (found - images).mean(0) if len(images) else 0.0
        return (found - 0.1 * mean).clamp(0, 1).to(images.dtype)


class LeavesTheBall(Base):
    def sample(self, images: Tensor, u: Any) -> Tensor:
        found = super().sample(images, u)
        return (images + 1.01 * (found - images)).clamp(0, 1)


class LeavesTheBounds(Base):
    def sample(self, images: Tensor, u: Any) -> Tensor:
        return images + 0.1 * (2 * u(images[0].numel()).view_as(images) - 1).to(images)


class HasNoRadius(Base):
    def __init__(self) -> None:
        super().__init__()
        self.eps = None  # type: ignore[assignment]

    def sample(self, images: Tensor, u: Any) -> Tensor:
        return LinfUniform(0.1).sample(images, u)


class NeedsRows(Base):
    def sample(self, images: Tensor, u: Any) -> Tensor:
        found = super().sample(images, u)
        return found if len(found) else found.new_zeros(1)


class CutsOff(EightBit):
    """floor(255 x) instead of round: what .to(uint8) does."""

    def __init__(self) -> None:
        super().__init__(LinfUniform(8 / 255))

    def _rounded(self, images: Tensor, draw: Tensor) -> Tensor:
        return super()._rounded(images, ((draw * 255 + 1e-4).floor() / 255))


class HasAnotherLatentLaw(Base):
    def from_latent(self, z: Tensor, images: Tensor) -> Tensor:
        return super().from_latent(0.8 * z, images)


class HasALatentLawInTheWrongOrder(Base):
    """Same law in each pixel, but all pixels move together."""

    def from_latent(self, z: Tensor, images: Tensor) -> Tensor:
        return super().from_latent(z[:, :1].expand_as(z), images)


class ItsLatentLawWrites(Base):
    def from_latent(self, z: Tensor, images: Tensor) -> Tensor:
        return images.copy_(super().from_latent(z, images))


class ItsLatentLawIsWide(Base):
    def from_latent(self, z: Tensor, images: Tensor) -> Tensor:
        return super().from_latent(z, images).double()


@pytest.mark.parametrize(
    "kind, claim",
    [
        (HasNoName, "name is a string"),
        (HasTensorsInItsSettings, "settings are JSON types"),
        (ForgetsAnArgument, r"every argument, but not \['strength'\]"),
        (WritesIntoItsInput, "leaves its input"),
        (GivesItsInputBack, "shares no memory"),
        (ChangesTheShape, "keeps the shape"),
        (ChangesTheType, "keeps the dtype"),
        (NarrowsDoubles, "keeps the dtype torch.float64"),
        (GivesNaN, "draws are finite"),
        (DrawsFromTorch, "same numbers, same draw"),
        (TouchesTorch, "generators are untouched"),
        (TouchesNumpy, "generators are untouched"),
        (TouchesPython, "generators are untouched"),
        (DrawsOnlyOnce, "another draw number"),
        (SharesOneDraw, "other ids, other draws"),
        (SubtractsTheMeanOfTheBatch, "rows are independent"),
        (LeavesTheBall, "stay in the ball: Linf 0.10"),
        (LeavesTheBounds, "stay in the bounds"),
        (HasNoRadius, "a norm comes with an eps"),
        (NeedsRows, "an empty batch is empty"),
        (CutsOff, "rounded, not cut off: mean change -0.5"),
        (HasAnotherLatentLaw, "law of sample: .* differs"),
        (HasALatentLawInTheWrongOrder, "law of sample: the mean change differs"),
        (ItsLatentLawWrites, "from_latent leaves its input"),
        (ItsLatentLawIsWide, "from_latent keeps shape and dtype"),
    ],
)
def test_a_broken_law_is_caught(kind: Any, claim: str) -> None:
    law: Sampler = kind()
    with pytest.raises(
        AssertionError, match=f"contract of a sampler is broken: .*{claim}"
    ):
        check_sampler(law)
