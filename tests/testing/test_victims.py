"""Do the closed-form victims fail exactly as they say?"""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from torchattacks_ext import ConfigError
from torchattacks_ext.engines.judge.active import keyed
from torchattacks_ext.samplers import LinfUniform
from torchattacks_ext.testing import HalfSpace, LinearGaussian, RateVictim, small_net


def count_bounds(n: int, p: float, alarm: float = 1e-7) -> tuple[float, float]:
    """Counts that a Bin(n, p) leaves with probability at most `alarm`."""
    low, high = stats.binom.ppf([alarm / 2, 1 - alarm / 2], n, p)
    return float(low), float(high)


@pytest.mark.parametrize("p_fail", [0.0, 0.01, 0.3, 1.0])
def test_rate_victim_fails_at_its_rate(p_fail: float) -> None:
    n = 20_000
    images = torch.full((n, 1, 2, 2), 0.5)
    noise = keyed(3, torch.zeros(n, dtype=torch.int64), torch.arange(n), "linf")
    drawn = LinfUniform(0.1).sample(images, noise)
    failures = int((RateVictim(p_fail)(drawn).argmax(1) != 0).sum())
    low, high = count_bounds(n, p_fail)
    assert low <= failures <= high
    assert int(RateVictim(p_fail)(images).argmax(1).sum()) == 0


@pytest.mark.parametrize("wrong", [dict(p_fail=1.5), dict(p_fail=0.1, eps=0.7)])
def test_rate_victim_refuses_what_it_cannot_do(wrong: dict) -> None:
    with pytest.raises(ConfigError, match="must"):
        RateVictim(**wrong)


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
def test_half_space_radius_is_attained_and_never_beaten(norm: str) -> None:
    weight = torch.tensor([3.0, -1.0, 0.5, 2.0], dtype=torch.float64)
    victim = HalfSpace(weight, 0.2)
    images = torch.tensor(
        [[0.3, 0.9, 0.4, 0.5], [0.9, 0.1, 0.2, 0.8]], dtype=torch.float64
    )
    radius = victim.radius(images, norm)
    sign = victim.score(images).sign()[:, None]
    if norm == "Linf":
        direction = weight.sign().expand(2, -1)
    elif norm == "L2":
        direction = (weight / weight.norm()).expand(2, -1)
    else:
        direction = (
            torch.nn.functional.one_hot(weight.abs().argmax(), 4).double()
            * weight.sign()
        )
        direction = direction.expand(2, -1)
    for factor, crossed in ((0.999, False), (1.001, True)):
        moved = images - factor * sign * direction * radius[:, None]
        assert bool(((victim.score(moved) * sign[:, 0] < 0) == crossed).all())


def test_linear_gaussian_rate_by_counting() -> None:
    victim = LinearGaussian(torch.tensor([1.0, -2.0, 0.5]), 0.1)
    for p_fail in (0.2, 0.03):
        image = victim.images_at(p_fail, sigma=0.3, n=1)
        assert float(victim.p_fail(image, 0.3)[0]) == pytest.approx(p_fail, rel=1e-4)
        generator = torch.Generator().manual_seed(5)
        n = 50_000
        noise = torch.randn(n, 3, generator=generator) * 0.3
        failures = int((victim(image + noise).argmax(1) != 0).sum())
        low, high = count_bounds(n, p_fail)
        assert low <= failures <= high


def test_small_net_is_the_same_everywhere_and_draws_nothing() -> None:
    state = torch.get_rng_state()
    one, two, other = small_net(), small_net(), small_net(seed=1)
    assert torch.equal(state, torch.get_rng_state())
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, two.state_dict()[name])
    assert not torch.equal(one[0].weight, other[0].weight)
    logits = one.eval()(
        torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    )
    assert logits.shape == (4, 3) and math.isfinite(float(logits.detach().abs().sum()))
