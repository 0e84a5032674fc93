"""Are 8-bit draws rounded, on the grid, and still in the Linf ball?"""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from torchattacks_ext.engines.judge.active import keyed
from torchattacks_ext.errors import ConfigError
from torchattacks_ext.numerics.streams import uniform
from torchattacks_ext.samplers import (
    Affine,
    CallableSampler,
    EightBit,
    Gaussian,
    L2Ball,
    LinfUniform,
)

RATE = 1e-9  # chance that one of the random tests below fails although all is well
N = 20_000


def test_integer_steps_have_mean_zero_and_the_law_of_rounding() -> None:
    """Steps -8..8, the ends half as often; cutting off would shift the mean by -.504/255."""
    images = torch.full((N, 4), 100 / 255)
    law = EightBit(LinfUniform(8 / 255))
    found = law.sample(images, keyed(0, torch.arange(N), 0, law.name))
    steps = (found - images) * 255
    assert float((steps - steps.round()).abs().max()) < 1e-4
    counts = torch.bincount((steps.round() + 8).long().flatten(), minlength=17)
    assert len(counts) == 17
    share = torch.tensor([0.5] + [1.0] * 15 + [0.5]) / 16
    assert stats.chisquare(counts, share.double() * 4 * N).pvalue > RATE
    variance = float((share * torch.arange(-8.0, 9) ** 2).sum())
    limit = stats.norm.isf(RATE / 2) * (variance / (4 * N)) ** 0.5
    assert abs(float(steps.double().mean())) < limit < 0.12


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    eps=st.floats(1e-4, 1.0),
    on_grid=st.booleans(),
    double=st.booleans(),
    seed=st.integers(0, 2**40),
)
def test_draws_stay_in_the_ball_and_on_the_grid(
    eps: float, on_grid: bool, double: bool, seed: int
) -> None:
    ids = torch.arange(20)
    images = uniform(seed, ids, "images", 0, 30)
    if on_grid:
        images = (images * 255).round() / 255
    images = images.double() if double else images
    law = EightBit(LinfUniform(eps))
    found = law.sample(images, keyed(seed, ids, 0, law.name))
    far = (found.double() - images.double()).abs()
    assert float(far.max()) <= eps * (1 + 1e-6) + 5e-7
    level = found * 255
    stays = found == images
    assert bool((stays | ((level - level.round()).abs() < 1e-4)).all())
    assert float(found.min()) >= 0 and float(found.max()) <= 1


def test_whole_levels_reach_the_edge_of_the_ball() -> None:
    """k/255 +- m/255 in float32 is off by one rounding; it still counts as inside."""
    images = torch.arange(256.0).div(255).expand(2, 256)
    for m in range(1, 17):
        law = EightBit(LinfUniform(m / 255, bounds=None))
        for value, step in ((0.0, -m), (1 - 2**-24, m)):
            found = law.sample(images, lambda n, purpose="": torch.full((2, n), value))
            expected = (torch.arange(256.0) + step).clamp(0, 255)
            assert torch.equal((found * 255).round(), expected.expand(2, 256))


def test_a_level_outside_gives_way_to_the_outermost_inside() -> None:
    """x = 10.4/255, eps = 1.5/255 holds the levels 9, 10, 11 of [8.9, 11.9]."""
    images = torch.full((2, 1), 10.4 / 255)
    law = EightBit(LinfUniform(1.5 / 255))
    top = law.sample(images, lambda n, purpose="": torch.full((2, n), 1 - 2**-24))
    assert torch.equal((top * 255).round(), torch.full((2, 1), 11.0))
    found = law.sample(
        torch.full((4000, 1), 10.4 / 255), keyed(0, torch.arange(4000), 0, "x")
    )
    assert set((found * 255).round().int().flatten().tolist()) == {9, 10, 11}


def test_a_pixel_without_a_level_in_its_ball_stays() -> None:
    images = torch.tensor([[10.4 / 255, 10.0 / 255, 254.7 / 255]])
    law = EightBit(LinfUniform(0.2 / 255))
    for draw in range(20):
        found = law.sample(images, keyed(0, torch.arange(1), draw, law.name))
        assert torch.equal(found[:, 0], images[:, 0])
        assert torch.equal((found[:, 1] * 255).round(), torch.tensor([10.0]))
        assert torch.equal(found[:, 2], images[:, 2])


def test_other_laws_are_rounded_and_claim_no_ball() -> None:
    images, ids = uniform(0, torch.arange(50), "images", 0, 27), torch.arange(50)
    images = images.view(50, 3, 3, 3)
    for inner in (L2Ball(0.5), Gaussian(0.1), Affine(20), Gaussian(5.0, bounds=None)):
        law = EightBit(inner)
        assert law.norm is None and law.eps is None
        u = keyed(0, ids, 0, law.name)
        found, free = law.sample(images, u), inner.sample(images, u)
        torch.testing.assert_close(
            found, (free * 255).round().clamp(0, 255) / 255, rtol=0, atol=1e-7
        )


def test_from_latent_and_settings_are_those_of_the_law() -> None:
    law = EightBit(LinfUniform(8 / 255))
    assert law.has_latent and law.latent_size((3, 2)) == 6
    z = torch.linspace(-3, 3, 12).view(2, 6)
    images = torch.full((2, 3, 2), 50 / 255)
    found = law.from_latent(z, images) * 255
    expected = LinfUniform(8 / 255).from_latent(z, images) * 255
    torch.testing.assert_close(found, expected.round(), rtol=0, atol=1e-4)
    assert (law.norm, law.eps) == ("Linf", 8 / 255)
    settings = json.loads(json.dumps(law.settings()))
    assert settings["law"] == LinfUniform(8 / 255).settings()
    assert settings["name"] == "eight_bit" and settings["norm"] == "Linf"


def test_a_callable_keeps_its_claims() -> None:
    def law(images: torch.Tensor, u: object) -> torch.Tensor:
        return images

    ball = EightBit(CallableSampler(law, norm="Linf", eps=0.1))
    assert (ball.norm, ball.eps, ball.has_latent) == ("Linf", 0.1, False)
    assert ball.replayable is False
    with pytest.raises(ConfigError, match="sampler 'law' has no from_latent"):
        ball.from_latent(torch.zeros(1, 1), torch.zeros(1, 1))
    assert EightBit(CallableSampler(law, norm="Linf")).norm is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_images_are_rounded_to_levels_first(dtype: torch.dtype) -> None:
    images = uniform(0, torch.arange(6), "images", 0, 9).to(dtype)
    law = EightBit(LinfUniform(8 / 255))
    u = keyed(0, torch.arange(6), 0, law.name)
    assert torch.equal(law.sample(images, u), law.sample(images.float(), u).to(dtype))


def test_bad_laws_are_named() -> None:
    with pytest.raises(ConfigError, match="law='linf' is not a Sampler; give one"):
        EightBit("linf")  # type: ignore[arg-type]
    with pytest.raises(
        ConfigError, match=r"bounds=\(0, 255\) of the law are not \(0, 1\)"
    ):
        EightBit(LinfUniform(8, bounds=(0, 255)))
    low = torch.zeros(3)
    assert EightBit(LinfUniform(0.1, bounds=(low, low + 1))).bounds == (0.0, 1.0)
