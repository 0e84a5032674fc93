"""Is what PRTest claims true as often as it says? Error rates by simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from torchattacks_ext import (
    ConfigError,
    LinfUniform,
    PRTest,
    ReliabilityWarning,
    Verdict,
)
from torchattacks_ext.testing import LinearGaussian, RateVictim

GREY = torch.full((1, 1, 4, 4), 0.5)
ZERO = torch.zeros(1, dtype=torch.long)


def greys(n: int) -> tuple[Tensor, Tensor, np.ndarray]:
    return GREY.expand(n, 1, 4, 4), ZERO.expand(n), np.arange(n)


# ---------------------------------------------------------------- truth
def test_verdict_and_interval_never_disagree() -> None:
    images, labels, ids = greys(300)
    for p_fail in (0.0, 0.03, 0.1, 0.3):
        test = PRTest(RateVictim(p_fail), eps=0.1, tolerance=0.1, n_max=500)
        result = test.measure(images, labels, ids=ids)
        lower, upper = result.p_fail_lower, result.p_fail_upper
        expected = torch.where(lower > 0.1, 2, torch.where(upper <= 0.1, 1, 0))
        assert torch.equal(expected.to(torch.int8), result.verdict)
        assert bool((lower <= result.p_fail).all() and (result.p_fail <= upper).all())
        small = result.p_value_robust <= 1e-3
        assert torch.equal(small, result.verdict == int(Verdict.ROBUST))


@pytest.mark.slow
@pytest.mark.parametrize("tolerance", [0.1, 0.05])
def test_wrong_certificates_stay_below_the_level(tolerance: float) -> None:
    """At p_fail = tolerance both claims are wrong: each may come with probability <= significance.

    2,000 images; the bound is the count that Bin(2000, significance) passes once in 1e7.
    """
    images, labels, ids = greys(2000)
    level = 0.05
    test = PRTest(
        RateVictim(tolerance),
        eps=0.1,
        tolerance=tolerance,
        significance=level,
        n_max=600,
    )
    result = test.measure(images, labels, ids=ids)
    most = stats.binom.isf(1e-7, 2000, level)
    assert 0 < result.count(Verdict.ROBUST) <= most
    assert 0 < result.count(Verdict.NOT_ROBUST) <= most


def test_bounds_cover_the_true_rate_at_any_stop() -> None:
    images, labels, ids = greys(2000)
    test = PRTest(
        RateVictim(0.02), eps=0.1, tolerance=0.1, significance=0.05, n_max=300
    )
    result = test.measure(images, labels, ids=ids)
    most = stats.binom.isf(1e-7, 2000, 0.05)
    assert int((result.p_fail_upper < 0.02).sum()) <= most
    assert int((result.p_fail_lower > 0.02).sum()) <= most


def test_counts_follow_the_closed_form_of_a_linear_model_under_gaussian_noise() -> None:
    """A caller's own sampler.

    Box-Muller on the keyed uniforms; exact rate Phi(-margin / (sigma |w|)).
    """
    sigma = 0.5

    def gaussian(images: Tensor, u: Any) -> Tensor:
        size = images[0].numel()
        radius = (-2 * torch.log1p(-u(size, "radius"))).sqrt()
        normal = radius * torch.cos(2 * torch.pi * u(size, "angle"))
        return images + sigma * normal.reshape(images.shape)

    victim = LinearGaussian(torch.tensor([1.0, -2.0, 0.5, 3.0]), 0.1)
    for p_fail in (0.3, 0.05):
        image = victim.images_at(p_fail, sigma, 1)
        test = PRTest(
            victim,
            sampler=gaussian,
            bounds=None,
            tolerance=p_fail,
            significance=1e-6,
            n_max=20_000,
        )
        result = test.measure(image, ZERO)
        n, s = int(result.n_samples), int(result.n_failures)
        low, high = stats.binom.ppf([5e-8, 1 - 5e-8], n, p_fail)
        assert n > 5000 and low <= s <= high
        assert "not_replayable" not in [flag.code for flag in result.flags]


def test_a_sampler_that_draws_elsewhere_is_flagged() -> None:
    generator = torch.Generator().manual_seed(0)

    def elsewhere(images: Tensor, u: Any) -> Tensor:
        return images + 0.01 * torch.rand(images.shape, generator=generator)

    with pytest.warns(ReliabilityWarning, match="not_replayable"):
        PRTest(RateVictim(0.0), eps=0.1, sampler=elsewhere, n_max=800).measure(
            GREY, ZERO
        )


@pytest.mark.parametrize(
    "options",
    [
        dict(sampler=LinfUniform(0.2), eps=0.1),
        dict(sampler=LinfUniform(0.1), eps=0.1, norm="L2"),
        dict(norm="L3", eps=0.5),
        dict(sampler="gaussian"),
        dict(reference="majority"),
        dict(tolerance=0.0),
        dict(tolerance=1.0),
        dict(significance=0.5),
        dict(significance=-1),
    ],
)
def test_contradictions_and_wrong_domains_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError):
        PRTest(RateVictim(0.0), **options)
