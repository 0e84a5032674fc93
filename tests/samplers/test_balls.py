"""Are the draws of L2Ball and L1Ball uniform in their balls, and never outside?"""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from torchattacks_ext.engines.judge.active import keyed
from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.numerics.gaussian import normals
from torchattacks_ext.numerics.norms import norm_of
from torchattacks_ext.numerics.streams import uniform
from torchattacks_ext.samplers import L1Ball, L2Ball

RATE = 1e-7  # chance that one of the random tests below fails although all is well
N = 4000
EPS = 0.5
BALLS = (L2Ball, L1Ball)
HOW = ("sample", "from_latent")


def latents(law: Any, shape: tuple[int, ...], n: int) -> Tensor:
    """Standard normal numbers for n images of one shape."""
    size = law.latent_size(shape)
    return normals(uniform(5, torch.arange(n), "z", 0, size + size % 2))[:, :size]


def steps(kind: Any, shape: tuple[int, ...], how: str, n: int = N) -> Tensor:
    """n steps (n, D) in float64, away from the rounding of an image."""
    law, images = kind(EPS, boundary="none"), torch.zeros(n, *shape)
    if how == "sample":
        drawn = law.sample(images, keyed(0, torch.arange(n), 0, law.name))
    else:
        drawn = law.from_latent(latents(law, shape, n), images)
    return drawn.double().flatten(1)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", BALLS)
@pytest.mark.parametrize("shape", [(1,), (3,), (3, 4, 4)])
def test_the_length_has_the_law_of_the_ball(kind: Any, shape: Any, how: str) -> None:
    """(r / eps)^D ~ U(0, 1)."""
    step = steps(kind, shape, how)
    share = (norm_of(step, kind.norm) / EPS) ** math.prod(shape)
    assert stats.kstest(share.clamp(0, 1), "uniform").pvalue > RATE


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("d", [1, 2, 5, 48])
@pytest.mark.parametrize("kind", BALLS)
def test_the_second_moment_is_the_closed_form(kind: Any, d: int, how: str) -> None:
    """E x_1^2 = eps^2 / (d + 2) in the L2 ball, 2 eps^2 / ((d + 1)(d + 2)) in the L1 ball."""
    exact = EPS**2 / (d + 2) if kind is L2Ball else 2 * EPS**2 / (d + 1) / (d + 2)
    squares = steps(kind, (d,), how)[:, 0] ** 2
    error = float(squares.std()) / N**0.5
    assert abs(float(squares.mean()) - exact) < stats.norm.isf(RATE / 2) * error


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("d", [2, 5, 48])
@pytest.mark.parametrize("kind", BALLS)
def test_the_direction_is_uniform(kind: Any, d: int, how: str) -> None:
    """(x_i / r)^2 ~ Beta(1/2, (d-1)/2) on the sphere, |x_i| / r ~ Beta(1, d-1) on the L1 one."""
    step = steps(kind, (d,), how)
    unit = step / norm_of(step, kind.norm)[:, None]
    for i in (0, d // 2, d - 1):
        if kind is L2Ball:
            found, law = unit[:, i] ** 2, stats.beta(0.5, (d - 1) / 2)
        else:
            found, law = unit[:, i].abs(), stats.beta(1, d - 1)
        assert stats.kstest(found.clamp(0, 1), law.cdf).pvalue > RATE
        low, high = stats.binom.ppf([RATE / 2, 1 - RATE / 2], N, 0.5)
        assert low <= int((step[:, i] > 0).sum()) <= high


@pytest.mark.parametrize("kind", BALLS)
def test_the_norm_runs_over_all_channels(kind: Any) -> None:
    """A norm of each channel would allow 1.73 (L2) or 3 (L1) times as much."""
    step = steps(kind, (3, 8, 8), "sample", 200)
    far = norm_of(step, kind.norm)
    assert float(far.max()) <= EPS * (1 + 1e-6) and float(far.min()) > 0.9 * EPS
    channel = norm_of(step.view(600, 64), kind.norm)
    assert float(channel.mean()) < 0.65 * EPS


def test_in_many_dimensions_all_of_the_ball_is_near_its_sphere() -> None:
    """D = 3072: the mean length is eps D / (D + 1) = .99967 eps, its deviation 3.3e-4 eps."""
    far = norm_of(steps(L2Ball, (3, 32, 32), "sample", 500), "L2") / EPS
    limit = stats.norm.isf(RATE / 2) * 3.3e-4 / 500**0.5 + 1e-6
    assert abs(float(far.mean()) - 0.99967) < limit + 5e-6


def test_sample_follows_its_formula_in_float64() -> None:
    ids, images = torch.arange(9), torch.full((9, 5), 0.25, dtype=torch.float64)
    u = keyed(3, ids, 2, "twin")
    z = normals(u(6, "normal").double())[:, :5]
    radius = u(1, "radius").double() ** (1 / 5)
    expected = 0.25 + 0.1 * radius * z / z.norm(dim=1, keepdim=True)
    found = L2Ball(0.1, bounds=None).sample(images, u)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)

    v = 2 * u(5, "exponential").double() - 1 + 2.0**-24
    sizes, extra = -torch.log1p(-v.abs()), -torch.log1p(-u(1, "radius").double())
    total = sizes.sum(1, keepdim=True) + extra
    expected = 0.25 + 0.1 * v.sign() * sizes / total
    found = L1Ball(0.1, bounds=None).sample(images, u)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)


def test_from_latent_follows_its_formula_in_float64() -> None:
    images = torch.zeros(4, 3, dtype=torch.float64)
    z = torch.linspace(-6, 6, 16, dtype=torch.float64).view(4, 4)
    sizes = torch.from_numpy(-(math.log(2) + stats.norm.logcdf(-z[:, :3].abs())))
    extra = torch.from_numpy(-stats.norm.logcdf(z[:, 3:]))
    expected = z[:, :3].sign() * sizes / (sizes.sum(1, keepdim=True) + extra)
    found = L1Ball(1.0, boundary="none").from_latent(z, images)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    z = torch.linspace(-2, 3, 20, dtype=torch.float64).view(4, 5)
    found = L2Ball(2.0, boundary="none").from_latent(z, images)
    torch.testing.assert_close(found, 2 * z[:, :3] / z.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("kind", BALLS)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    eps=st.floats(1e-4, 40.0),
    shape=st.sampled_from([(1,), (7,), (3, 8, 8), (2, 3, 1, 2)]),
    seed=st.integers(0, 2**40),
)
def test_clamped_draws_stay_in_ball_and_box(
    kind: Any, eps: float, shape: tuple[int, ...], seed: int
) -> None:
    law, ids, size = kind(eps), torch.arange(6), math.prod(shape)
    images = uniform(seed, ids, "images", 0, size).reshape(6, *shape)
    images[:2] = images[:2].round()
    found = law.sample(images, keyed(seed, ids, 0, law.name))
    limit = eps * (1 + 1e-6) + 1e-7 * (size**0.5 if kind is L1Ball else 1)
    assert float(norm_of(found.double() - images.double(), law.norm).max()) <= limit
    assert float(found.min()) >= 0 and float(found.max()) <= 1


@pytest.mark.parametrize("kind", BALLS)
@pytest.mark.parametrize("value", [0.0, 0.5, 1 - 2**-24])
@pytest.mark.parametrize("size", [1, 3, 192])
def test_the_extreme_uniform_numbers_stay_inside(
    kind: Any, value: float, size: int
) -> None:
    """0 occurs once in 2^24 numbers: once in 5,461 images of 3,072."""
    images = torch.full((2, size), 0.5)
    found = kind(0.3).sample(
        images, lambda size, purpose="": torch.full((2, size), value)
    )
    assert bool(found.isfinite().all())
    far = norm_of(found.double() - 0.5, kind.norm)
    assert float(far.max()) <= 0.3 * (1 + 1e-6) + 1e-7 * size**0.5


def test_large_steps_are_clipped_and_boundary_none_is_not() -> None:
    images, u = torch.ones(50, 4), keyed(0, torch.arange(50), 0, "l2")
    clamped, free = L2Ball(3.0).sample(images, u), L2Ball(3.0, boundary="none")
    assert float(clamped.max()) == 1 and float(clamped.min()) == 0
    assert torch.equal(free.sample(images, u).clamp(0, 1), clamped)
    assert free.bounds is None and L2Ball(3.0, bounds=None).bounds is None


def test_bounds_of_each_channel() -> None:
    low, high = torch.tensor([-2.0, 0.0]), torch.tensor([-1.0, 1.0])
    images = low.add(high).div(2).view(2, 1).expand(60, 2, 9)
    for kind in BALLS:
        law = kind(9.0, bounds=(low, high))
        found = law.sample(images, keyed(0, torch.arange(60), 0, law.name))
        for c in range(2):
            assert low[c] <= found[:, c].min() and found[:, c].max() <= high[c]


@pytest.mark.parametrize("kind", BALLS)
def test_settings_are_json(kind: Any) -> None:
    law = kind(0.5, bounds=(torch.tensor([0.0, -1.0]), 1.0))
    assert json.loads(json.dumps(law.settings())) == {
        "name": kind.name,
        "norm": kind.norm,
        "eps": 0.5,
        "boundary": "clamp",
        "bounds": [[0.0, -1.0], 1.0],
    }
    assert kind(0.5, boundary="none").settings()["bounds"] is None
    assert law.replayable and law.has_latent


def test_latent_sizes() -> None:
    assert L2Ball(1.0).latent_size((3, 2, 2)) == 14
    assert L1Ball(1.0).latent_size((3, 2, 2)) == 13
    for kind in BALLS:
        with pytest.raises(InputError, match=r"z has shape \(2, 3\), expected \(2, "):
            kind(1.0).from_latent(torch.zeros(2, 3), torch.zeros(2, 3))


@pytest.mark.parametrize("kind", BALLS)
def test_bad_settings_are_named(kind: Any) -> None:
    for eps in (0.0, -1.0, math.nan, math.inf, "8 of 255", None, True, [1]):
        with pytest.raises(
            ConfigError, match="eps=.* must be a positive number; eps is the"
        ):
            kind(eps)
    with pytest.raises(ConfigError, match="boundary='truncate' is not one of"):
        kind(0.1, boundary="truncate")
    for bounds in ((1.0, 0.0), (0.0, math.nan), 1.0, (0.0,), "ab"):
        with pytest.raises(ConfigError, match=r"must be \(lo, hi\) with lo < hi"):
            kind(0.1, bounds=bounds)
