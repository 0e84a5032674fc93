"""Is the noise of Gaussian normal, with each boundary, and are failure rates those on paper?"""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

from torchattacks_ext.engines.judge.active import keyed
from torchattacks_ext.errors import ConfigError
from torchattacks_ext.numerics.gaussian import normals
from torchattacks_ext.numerics.streams import uniform
from torchattacks_ext.samplers import Gaussian
from torchattacks_ext.testing import LinearGaussian

RATE = 1e-7  # chance that one of the random tests below fails although all is well
N = 4000
HOW = ("sample", "from_latent")


def draws(law: Gaussian, pixel: float, how: str = "sample") -> Tensor:
    """N x 3 draws around images of one grey, in float64."""
    images, ids = torch.full((N, 3), pixel), torch.arange(N)
    if how == "sample":
        return law.sample(images, keyed(0, ids, 0, law.name)).flatten().double()
    z = normals(uniform(5, ids, "z", 0, 4))[:, :3]
    return law.from_latent(z, images).flatten().double()


@pytest.mark.parametrize("how", HOW)
def test_free_noise_is_normal(how: str) -> None:
    for law in (Gaussian(0.2, boundary="none"), Gaussian(0.2, bounds=None)):
        values = draws(law, 0.9, how)
        assert stats.kstest(values, stats.norm(0.9, 0.2).cdf).pvalue > RATE


@pytest.mark.parametrize("how", HOW)
def test_clamped_noise_piles_its_mass_on_the_bound(how: str) -> None:
    values = draws(Gaussian(0.2), 0.9, how)
    on_bound = int((values == 1).sum())
    share = stats.norm.sf(0.5)
    low, high = stats.binom.ppf([RATE / 2, 1 - RATE / 2], len(values), share)
    assert low <= on_bound <= high
    inside = stats.norm(0.9, 0.2).cdf(values[values < 1]) / (1 - share)
    below = stats.norm(0.9, 0.2).cdf(0.0)
    assert below < 1e-5 and stats.kstest(inside, "uniform").pvalue > RATE


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("sigma", [0.01, 0.2, 3.0])
@pytest.mark.parametrize("pixel", [0.0, 0.1, 0.5, 1.0])
def test_truncated_noise_is_the_normal_law_inside(
    pixel: float, sigma: float, how: str
) -> None:
    values = draws(Gaussian(sigma, boundary="truncate"), pixel, how)
    law = stats.truncnorm(-pixel / sigma, (1 - pixel) / sigma, pixel, sigma)
    assert stats.kstest(values, law.cdf).pvalue > RATE
    # A draw on the very bound needs the rounding of one number in 2^24.
    assert int(((values == 0) | (values == 1)).sum()) < 5


@pytest.mark.parametrize("value", [0.0, 1 - 2**-24])
@pytest.mark.parametrize("boundary", ["clamp", "truncate", "none"])
def test_the_extreme_uniform_numbers_have_limits(boundary: Any, value: float) -> None:
    """Infinity would put an image 50 deviations away onto a bound."""
    law = Gaussian(0.01, boundary=boundary)
    images = torch.full((2, 4), 0.5)
    found = law.sample(images, lambda size, purpose="": torch.full((2, size), value))
    assert float((found - 0.5).abs().max()) < 5.78 * 0.01
    if boundary == "truncate":
        latent = law.from_latent(torch.full((2, 4), 40.0), images)
        assert float((latent - 0.5).abs().max()) < 5.43 * 0.01


def test_sample_follows_its_formula_in_float64() -> None:
    images = uniform(0, torch.arange(6), "images", 0, 5).double()
    u = keyed(3, torch.arange(6), 2, "twin")
    z = normals(u(6, "normal").double())[:, :5]
    found = Gaussian(0.3).sample(images, u)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, (images + 0.3 * z).clamp(0, 1), rtol=0, atol=1e-6)
    found = Gaussian(0.3, boundary="truncate").sample(images, u).numpy()
    a, b = -images.numpy() / 0.3, (1 - images.numpy()) / 0.3
    expected = stats.truncnorm.ppf(u(5).double().numpy(), a, b, images.numpy(), 0.3)
    assert abs(found - expected).max() < 1e-6


@pytest.mark.parametrize("p_fail", [0.3, 0.05, 0.002])
def test_failures_of_a_linear_model_are_those_on_paper(p_fail: float) -> None:
    """p = Phi(-margin / (sigma ||w||)); exact binomial limits, false alarm 1e-7."""
    sigma, n = 0.5, 20_000
    victim = LinearGaussian(torch.tensor([1.0, -2.0, 0.5, 3.0, 0.1]), 0.1)
    image = victim.images_at(p_fail, sigma, 1)
    assert float(victim.p_fail(image, sigma)[0]) == pytest.approx(p_fail, rel=1e-4)
    law = Gaussian(sigma, boundary="none")
    noise = keyed(1, torch.zeros(n, dtype=torch.int64), torch.arange(n), law.name)
    with torch.no_grad():
        failed = victim(law.sample(image.expand(n, -1), noise)).argmax(1) != 0
    low, high = stats.binom.ppf([RATE / 2, 1 - RATE / 2], n, p_fail)
    assert low <= int(failed.sum()) <= high


def test_bounds_of_each_channel() -> None:
    low, high = torch.tensor([-2.0, 0.0]), torch.tensor([-1.0, 4.0])
    images = low.add(high).div(2).view(2, 1).expand(N, 2, 3)
    for boundary in ("clamp", "truncate"):
        law = Gaussian(2.0, boundary=boundary, bounds=(low, high))  # type: ignore[arg-type]
        found = law.sample(images, keyed(0, torch.arange(N), 0, law.name))
        for c in range(2):
            assert low[c] <= found[:, c].min() and found[:, c].max() <= high[c]
    edges = (float(low[1]) - 2) / 2, (float(high[1]) - 2) / 2
    values = found[:, 1].flatten().double()
    assert stats.kstest(values, stats.truncnorm(*edges, 2, 2).cdf).pvalue > RATE


def test_settings_are_json() -> None:
    law = Gaussian(0.1, boundary="truncate")
    assert json.loads(json.dumps(law.settings())) == {
        "name": "gaussian",
        "norm": None,
        "eps": None,
        "sigma": 0.1,
        "boundary": "truncate",
        "bounds": [0.0, 1.0],
    }
    assert law.latent_size((3, 2, 2)) == 12


def test_bad_settings_are_named() -> None:
    for sigma in (0.0, -1.0, math.nan, math.inf, "much"):
        with pytest.raises(
            ConfigError, match="sigma=.* must be a positive number; it is the"
        ):
            Gaussian(sigma)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="boundary='wrap' is not one of"):
        Gaussian(0.1, boundary="wrap")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="lo < hi"):
        Gaussian(0.1, bounds=(1, 1))
