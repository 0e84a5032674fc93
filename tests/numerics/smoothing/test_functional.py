"""Smoothed numbers: reference values, attained bounds, and coverage of the lower bounds."""

import numpy as np
import pytest
from scipy import special, stats

from torchattacks_ext.errors import ConfigError
from torchattacks_ext.numerics.smoothing.functional import (
    bernstein_lower,
    functional_radius,
    hoeffding_shift,
    mean_distance,
    smoothed_lipschitz,
    vector_radius,
)


def test_reference_values():
    found = functional_radius([0.9, 0.5, 0.99], [0.0, 0.0, 0.2], 0.5)
    assert found == pytest.approx([0.82243, 0.33724, 1.16124], abs=5e-6)
    # the coarser form, of the distance to the threshold
    coarse = vector_radius([0.9, 0.5, 0.79], 0.5)
    assert coarse == pytest.approx([0.598, 0.319, 0.517], abs=5e-4)
    assert vector_radius([0.3, 1.0], 0.25) == pytest.approx(
        [0.09456, 0.33724], abs=5e-6
    )
    assert smoothed_lipschitz(0.25) == pytest.approx(3.19154, abs=5e-6)
    assert 0.3 / smoothed_lipschitz(0.25) == pytest.approx(0.0940, abs=5e-5)
    assert mean_distance(10_000, 0.001) == pytest.approx(0.0472, abs=5e-5)


def test_the_linear_form_is_attained_by_a_sign_and_never_the_larger_radius():
    # B sign(x): its mean B (2 Phi(x / sigma) - 1) has the slope B sqrt(2 / pi) / sigma at 0
    for sigma, bound in ((0.25, 1.0), (0.5, 3.0)):
        step = 1e-6
        slope = bound * (2 * special.ndtr(step / sigma) - 1) / step
        assert slope == pytest.approx(smoothed_lipschitz(sigma, bound), rel=1e-9)
        rho = np.linspace(0.01, 2, 50) * bound
        linear = rho / smoothed_lipschitz(sigma, bound)
        assert (vector_radius(rho, sigma, bound) >= linear * (1 - 1e-9)).all()
    assert vector_radius([2.0, 2.5, 0.0], 0.25).tolist() == [np.inf, np.inf, 0.0]


def test_the_mean_of_latents_is_as_near_as_it_says():
    # false alarm of this test: <= 1e-6
    n, level, runs, d = 50, 0.05, 4000, 6
    rng = np.random.default_rng(0)
    z = rng.normal(size=(runs, n, d))
    z /= np.linalg.norm(
        z, axis=2, keepdims=True
    )  # E f = 0, |f| = B: the widest there is
    wrong = int((np.linalg.norm(z.mean(1), axis=1) > mean_distance(n, level)).sum())
    assert wrong <= stats.binom.ppf(1 - 1e-6, runs, level)
    # nearer than the form of Pinelis, 2 B sqrt(2 ln(2 / a) / n)
    pinelis = 2 * np.sqrt(2 * np.log(2 / 0.001) / 10_000)
    assert pinelis == pytest.approx(0.0780, abs=5e-5)
    assert mean_distance(10_000, 0.001) < pinelis


def test_a_half_space_attains_the_functional_radius():
    # u = +-1 by the sign of the first pixel: E u(x) = 2 Phi(x / sigma) - 1, exactly
    sigma, x, tau = 0.5, np.array([0.1, 0.4, 0.9]), 0.2
    mean = 2 * special.ndtr(x / sigma) - 1
    edge = sigma * special.ndtri((1 + tau) / 2)  # where E u = tau
    assert functional_radius(mean, tau, sigma) == pytest.approx(
        np.maximum(x - edge, 0), abs=1e-9
    )
    assert (functional_radius(mean, tau, sigma) <= np.maximum(x - edge, 0)).all()


def test_thresholds_outside_the_range():
    found = functional_radius([0.5, 0.5, 1.0, 0.2], [-1.0, 1.0, 0.0, 0.2], 0.5)
    assert found.tolist()[:2] == [np.inf, 0.0]
    assert found[2] == np.inf and found[3] == 0.0


def test_the_functional_form_is_never_the_smaller_one():
    rng = np.random.default_rng(0)
    mean, tau = rng.uniform(-1, 1, (2, 2000))
    coarse = vector_radius(np.maximum(mean - tau, 0), 0.25)
    fine = functional_radius(mean, tau, 0.25)
    assert (fine[mean > tau] >= coarse[mean > tau] * (1 - 1e-9)).all()


@pytest.mark.parametrize("kind", ["hoeffding", "bernstein"])
def test_lower_bounds_miss_no_more_often_than_they_say(kind):
    # false alarm of this test: <= 1e-6
    n, level, runs, p = 200, 0.05, 4000, 0.95
    rng = np.random.default_rng(1)
    draws = np.where(rng.random((runs, n)) < p, 1.0, -1.0)
    mean, variance = draws.mean(1), draws.var(1, ddof=1)
    if kind == "hoeffding":
        lower = mean - hoeffding_shift(n, level)
    else:
        lower = bernstein_lower(mean, variance, n, level)
    wrong = int((lower > 2 * p - 1).sum())
    assert wrong <= stats.binom.ppf(1 - 1e-6, runs, level)
    assert (lower > -1).all() and (lower < mean).all()


def test_bad_settings():
    with pytest.raises(ConfigError, match="bound=0"):
        functional_radius(0.5, 0.0, 0.5, 0)
    with pytest.raises(ConfigError, match="n=1"):
        bernstein_lower(0.5, 0.0, 1, 0.01)
