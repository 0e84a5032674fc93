"""Are composed laws applied in their order, with numbers of their own?"""

from __future__ import annotations

import json

import pytest
import torch
from scipy import stats
from torch import Tensor

from torchattacks_ext.engines.judge.active import keyed
from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.numerics.streams import uniform
from torchattacks_ext.samplers import (
    Affine,
    CallableSampler,
    Compose,
    EightBit,
    Gaussian,
    L2Ball,
    LinfUniform,
    Sampler,
    Uniforms,
)

RATE = 1e-7  # chance that one of the random tests below fails although all is well


class Doubled(Sampler):
    """Twice the image; no numbers."""

    name = "doubled"

    def sample(self, images: Tensor, u: Uniforms) -> Tensor:
        return 2 * images


def test_laws_are_applied_in_their_order() -> None:
    images, ids = torch.full((5, 3), 0.2), torch.arange(5)
    noise = LinfUniform(0.1)
    u = keyed(0, ids, 0, "compose")
    first = Compose([Doubled(), noise]).sample(images, u)
    assert torch.equal(
        first, noise.sample(2 * images, lambda n, purpose="": u(n, f"1:linf/{purpose}"))
    )
    last = Compose([noise, Doubled()]).sample(images, u)
    assert not torch.allclose(first, last)
    assert torch.equal(Compose([Doubled()]).sample(images, u), 2 * images)


def test_equal_laws_draw_different_numbers() -> None:
    """Two Gaussians are one of sqrt(2) sigma; with equal numbers it would be 2 sigma."""
    n, one = 4000, Gaussian(0.1, boundary="none")
    law = Compose([one, one])
    found = law.sample(torch.zeros(n, 2), keyed(0, torch.arange(n), 0, law.name))
    whole = stats.norm(0, 0.1 * 2**0.5).cdf
    assert stats.kstest(found.flatten().double(), whole).pvalue > RATE


def test_an_outer_law_keeps_the_numbers_of_the_inner_ones_apart() -> None:
    asked: list[tuple[int, str]] = []

    def u(size: int, purpose: str = "") -> Tensor:
        asked.append((size, purpose))
        return uniform(0, torch.arange(2), purpose, 0, size)

    inner = Compose([L2Ball(0.5), L2Ball(0.5)])
    Compose([inner, EightBit(inner)]).sample(torch.zeros(2, 3), u)
    assert len(asked) == 8 == len(set(asked))


def test_from_latent_is_cut_into_parts() -> None:
    images = torch.full((4, 1, 3, 3), 0.5)
    laws = [L2Ball(0.1), Affine(10), Gaussian(0.1)]
    law = Compose(laws)
    assert law.latent_size((1, 3, 3)) == 11 + 4 + 9 and law.has_latent
    z = torch.linspace(-2, 2, 4 * 24).view(4, 24)
    expected = images
    for one, part in zip(laws, (z[:, :11], z[:, 11:15], z[:, 15:])):
        expected = one.from_latent(part, expected)
    assert torch.equal(law.from_latent(z, images), expected)
    with pytest.raises(InputError, match=r"expected \(4, 24\): sampler 'compose'"):
        law.from_latent(z[:, 1:], images)
    partial = Compose([Gaussian(0.1), Doubled()])
    assert not partial.has_latent
    with pytest.raises(ConfigError, match="sampler 'doubled' has no from_latent"):
        partial.from_latent(torch.zeros(2, 6), torch.zeros(2, 3))


def test_half_images_are_rounded_once() -> None:
    law, ids = Compose([Gaussian(0.1), Gaussian(0.1)]), torch.arange(6)
    images = uniform(0, ids, "images", 0, 9).half()
    u = keyed(0, ids, 0, law.name)
    assert torch.equal(law.sample(images, u), law.sample(images.float(), u).half())


def test_replayable_is_that_of_all() -> None:
    images, u = torch.rand(2, 3), keyed(0, torch.arange(2), 0, "compose")
    assert Compose([Gaussian(0.1), LinfUniform(0.1)]).replayable
    law = Compose([Gaussian(0.1), CallableSampler(lambda images, u: images + u(1))])
    assert not law.replayable
    assert law.check_replayable(images, u) and law.replayable
    fresh = Compose([CallableSampler(lambda images, u: images + torch.rand(2, 1))])
    assert not fresh.check_replayable(images, u)


def test_it_claims_no_ball_and_its_settings_are_json() -> None:
    law = Compose([LinfUniform(0.1), Gaussian(0.2)])
    assert law.norm is None and law.eps is None
    settings = json.loads(json.dumps(law.settings()))
    assert [one["name"] for one in settings["laws"]] == ["linf", "gaussian"]
    assert settings["name"] == "compose" and "laws=[" in repr(law)


def test_bad_laws_are_named() -> None:
    with pytest.raises(ConfigError, match="laws is empty; give at least one"):
        Compose([])
    with pytest.raises(ConfigError, match="laws holds 'linf', expected samplers"):
        Compose(["linf"])  # type: ignore[list-item]
