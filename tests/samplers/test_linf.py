"""Does LinfUniform draw the law it claims, at the bounds too, and nothing outside?"""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from torchattacks_ext.errors import ConfigError
from torchattacks_ext.numerics.streams import uniform
from torchattacks_ext.samplers import LinfUniform, Uniforms
from torchattacks_ext.samplers.linf import Boundary

RATE = 1e-7  # chance that one of the random tests below fails although all is well
N = 4000
BOUNDARIES: tuple[Boundary, ...] = ("truncate", "clamp")


def numbers(n: int, draw: int = 0) -> Uniforms:
    """Uniforms of n samples with ids 0..n-1, as an engine hands them out."""

    def u(size: int, purpose: str = "") -> Tensor:
        return uniform(0, torch.arange(n), f"linf {purpose}", draw, size)

    return u


def draws(
    law: LinfUniform, pixel: float, how: str, dtype: torch.dtype = torch.float32
) -> Tensor:
    """N x 5 draws around images of one grey, by ``sample`` or by ``from_latent``."""
    images = torch.full((N, 5), pixel, dtype=dtype)
    if how == "sample":
        return law.sample(images, numbers(N)).flatten()
    z = torch.randn(N, 5, generator=torch.Generator().manual_seed(1))
    return law.from_latent(z, images).flatten()


def fits(values: Tensor, low: float, high: float) -> bool:
    """Kolmogorov-Smirnov test of the uniform law on [low, high]."""
    shares = (values.double().numpy() - low) / (high - low)
    return bool(stats.kstest(shares, "uniform").pvalue > RATE)


@pytest.mark.parametrize("how", ["sample", "from_latent"])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_interior_pixels_are_uniform_on_the_ball(boundary: Boundary, how: str) -> None:
    law = LinfUniform(eps=8 / 255, boundary=boundary)
    assert fits(draws(law, 0.5, how), 0.5 - 8 / 255, 0.5 + 8 / 255)
    free = LinfUniform(eps=20.0, boundary=boundary, bounds=None)
    assert fits(draws(free, -7.0, how), -27.0, 13.0)


@pytest.mark.parametrize("how", ["sample", "from_latent"])
@pytest.mark.parametrize(
    "pixel, low, high", [(0.01, 0, 0.04), (0.98, 0.95, 1), (0.0, 0, 0.03)]
)
def test_truncate_is_uniform_on_ball_and_box(
    pixel: float, low: float, high: float, how: str
) -> None:
    values = draws(LinfUniform(eps=0.03), pixel, how)
    assert fits(values, low, high)
    # A draw on the very bound needs u = 0 (2^-24 a draw; five of them in N x 5: <
    # 1e-15).
    assert int(((values == 0) | (values == 1)).sum()) < 5


@pytest.mark.parametrize("how", ["sample", "from_latent"])
@pytest.mark.parametrize("pixel, bound", [(0.01, 0.0), (0.99, 1.0)])
def test_clamp_piles_its_mass_on_the_bound(
    pixel: float, bound: float, how: str
) -> None:
    """The bound has probability (eps - distance) / (2 eps) = 1/3; the rest is uniform."""
    values = draws(LinfUniform(eps=0.03, boundary="clamp"), pixel, how)
    on_bound = values == bound
    low, high = stats.binom.ppf([RATE / 2, 1 - RATE / 2], len(values), 1 / 3)
    assert low <= int(on_bound.sum()) <= high
    assert fits((values[~on_bound] - bound).abs(), 0, 0.04)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_sample_and_from_latent_have_one_law(boundary: Boundary) -> None:
    law = LinfUniform(eps=0.03, boundary=boundary)
    for pixel in (0.0, 0.01, 0.5, 0.99):
        both = [draws(law, pixel, how).numpy() for how in ("sample", "from_latent")]
        assert stats.ks_2samp(*both).pvalue > RATE


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("eps", [1e-4, 1 / 255, 8 / 255, 0.3, 1.0])
def test_draws_stay_in_the_ball_and_in_the_box(boundary: Boundary, eps: float) -> None:
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(50, 3, 8, 8, generator=generator)
    images[:10] = images[:10].round()
    law = LinfUniform(eps=eps, boundary=boundary)
    extreme = torch.tensor([0.0, 1 - 2**-24, 0.5]).repeat(64).expand(50, -1)
    for u in (numbers(50), numbers(50, draw=1), lambda size, purpose="": extreme):
        for found in (
            law.sample(images, u),
            law.from_latent(40 * (u(192) - 0.5), images),
        ):
            assert (
                float((found.double() - images.double()).abs().max())
                <= eps * (1 + 1e-6) + 1e-7
            )
            assert float(found.min()) >= 0 and float(found.max()) <= 1
            assert found.shape == images.shape and found.dtype == torch.float32


def test_bounds_of_each_channel() -> None:
    low, high = torch.tensor([-2.0, 0.0, 0.5]), torch.tensor([-1.0, 1.0, 2.5])
    images = (low + high).div(2).view(3, 1, 1).expand(N // 10, 3, 4, 4)
    for boundary in BOUNDARIES:
        found = LinfUniform(2.0, boundary=boundary, bounds=(low, high)).sample(
            images, numbers(N // 10)
        )
        for c in range(3):
            values = found[:, c].flatten()
            assert low[c] <= values.min() and values.max() <= high[c]
            if boundary == "truncate":
                assert fits(values, float(low[c]), float(high[c]))


@pytest.mark.parametrize("shape", [(6,), (4, 5), (3, 2, 2), (1, 2, 3, 4)])
def test_any_shape_gets_the_same_numbers(shape: tuple[int, ...]) -> None:
    images = torch.rand(7, *shape, generator=torch.Generator().manual_seed(3))
    law = LinfUniform(0.1)
    found = law.sample(images, numbers(7))
    assert torch.equal(found.flatten(1), law.sample(images.flatten(1), numbers(7)))
    assert law.sample(images[:0], numbers(0)).shape == (0, *shape)


def test_memory_order_does_not_matter() -> None:
    images = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(4))
    law = LinfUniform(0.1)
    last = law.sample(images.to(memory_format=torch.channels_last), numbers(4))
    assert torch.equal(last, law.sample(images, numbers(4)))


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_double_images_stay_double(boundary: Boundary) -> None:
    """Same float32 numbers, formed in float64: within 2^-53 of the exact sum."""
    images = torch.full((9, 4), 1 / 3, dtype=torch.float64)
    found = LinfUniform(0.1, boundary=boundary).sample(images, numbers(9))
    assert found.dtype == torch.float64
    torch.testing.assert_close(
        found, images + 0.1 * (2 * numbers(9)(4).double() - 1), rtol=0, atol=1e-15
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_half_images_are_rounded_once(boundary: Boundary, dtype: torch.dtype) -> None:
    images = torch.rand(20, 9, generator=torch.Generator().manual_seed(5)).to(dtype)
    law = LinfUniform(8 / 255, boundary=boundary)
    found = law.sample(images, numbers(20))
    assert found.dtype == dtype and float(found.min()) >= 0 and float(found.max()) <= 1
    assert torch.equal(found, law.sample(images.float(), numbers(20)).to(dtype))


def test_nothing_global_is_touched_and_the_input_stays() -> None:
    images = torch.rand(5, 4)
    before = images.clone()
    states = torch.get_rng_state(), str(np.random.get_state()), random.getstate()
    for boundary in BOUNDARIES:
        u = numbers(5)(4)
        kept = u.clone()
        LinfUniform(0.1, boundary=boundary).sample(images, lambda size, purpose="": u)
        assert torch.equal(u, kept)
    assert torch.equal(images, before) and torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (str(np.random.get_state()), random.getstate())


def test_settings_are_json() -> None:
    law = LinfUniform(0.1, bounds=(torch.tensor([0.0, -1.0]), 1.0))
    assert json.loads(json.dumps(law.settings())) == {
        "name": "linf",
        "norm": "Linf",
        "eps": pytest.approx(0.1),
        "boundary": "truncate",
        "bounds": [[0.0, -1.0], 1.0],
    }
    assert LinfUniform(0.1, bounds=None).settings()["bounds"] is None
    assert law.replayable and "boundary='truncate'" in repr(law)


def test_bad_settings_are_named() -> None:
    for eps in (0.0, -1.0, float("nan"), float("inf"), "8 of 255"):
        with pytest.raises(ConfigError, match="must be a positive number; say 8/255"):
            LinfUniform(eps)  # type: ignore[arg-type]
    with pytest.raises(
        ConfigError, match="eps=8 is larger than the range 1.*8/255, not 8"
    ):
        LinfUniform(8)
    with pytest.raises(ConfigError, match="boundary='reflect' is not one of"):
        LinfUniform(0.1, boundary="reflect")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="lo < hi"):
        LinfUniform(0.1, bounds=(1.0, 0.0))
    assert (
        LinfUniform(8, bounds=(0, 255)).eps == 8
        and LinfUniform(8, bounds=None).eps == 8
    )
