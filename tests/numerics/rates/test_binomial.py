"""Are the Clopper-Pearson limits exact, down to the digits that small levels lose?"""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from scipy import special, stats

from torchattacks_ext.errors import ConfigError
from torchattacks_ext.numerics.rates.binomial import (
    clopper_pearson,
    lower_bound,
    upper_bound,
    zero_failure_n,
)

TWO_SIDED = [
    (0, 10, 0.05, 0, 0.308497107819),
    (1, 100, 0.05, 0.000253146032977, 0.0544593853921),
    (5, 100, 0.05, 0.0164318791821, 0.112834911105),
    (50, 1000, 0.05, 0.0373353976047, 0.0653904879155),
    (10, 10, 0.05, 0.691502892181, 1),
    (0, 10**7, 0.05, 0, 3.68887877372e-07),
    (3, 10**7, 0.01, 3.37863416806e-08, 1.09774731167e-06),
]
ONE_SIDED = [
    (0, 100, 0.05, 0.029513049607),
    (0, 1000, 0.01, 0.00459458264847),
    (0, 10**7, 0.05, 2.99573182483e-07),
    (0, 10**9, 1e-10, 2.30258506648e-08),
    (3, 10**7, 0.01, 1.00451139764e-06),
]
TOLERANCES = (0.1, 0.05, 0.01, 1e-3, 1e-4, 1e-5, 1e-6)
ZERO_FAILURES = {
    0.1: (22, 45, 230, 2302, 23025, 230258, 2302584),
    0.05: (29, 59, 299, 2995, 29956, 299572, 2995731),
    0.01: (44, 90, 459, 4603, 46050, 460515, 4605168),
    0.001: (66, 135, 688, 6905, 69075, 690773, 6907752),
}


@pytest.mark.parametrize("s, n, level, low, high", TWO_SIDED)
def test_two_sided_reference(s: int, n: int, level: float, low: float, high: float):
    lower, upper = clopper_pearson(s, n, 1 - level)
    np.testing.assert_allclose([lower, upper], [low, high], rtol=1e-9)


@pytest.mark.parametrize("s, n, level, high", ONE_SIDED)
def test_one_sided_reference(s: int, n: int, level: float, high: float):
    np.testing.assert_allclose(upper_bound(s, n, level), high, rtol=1e-9)


def test_printed_scores_are_wide():
    """The same 90.63 % from 32, 128 and 10,000 images."""
    lower, upper = clopper_pearson([29, 116, 9063], [32, 128, 10_000])
    np.testing.assert_allclose(lower, [0.750, 0.842, 0.9004], atol=6e-4)
    np.testing.assert_allclose(upper, [0.980, 0.951, 0.9119], atol=6e-4)


def test_bounds_solve_their_equations():
    """P(X <= s | upper) = level = P(X >= s | lower), by summing binomials."""
    n = np.repeat([1, 2, 7, 40], [1, 2, 7, 40])
    s = np.concatenate([np.arange(k) for k in (1, 2, 7, 40)])
    for level in (0.2, 1e-2, 1e-6):
        upper, lower = upper_bound(s, n, level), lower_bound(s + 1, n, level)
        np.testing.assert_allclose(stats.binom.cdf(s, n, upper), level, rtol=1e-9)
        np.testing.assert_allclose(stats.binom.sf(s, n, lower), level, rtol=1e-9)


def test_upper_is_the_mirror_of_lower():
    s, n = np.arange(51), 50
    mirrored = 1 - lower_bound(n - s, n, 0.01)
    np.testing.assert_allclose(upper_bound(s, n, 0.01), mirrored, rtol=1e-12)


def test_small_levels_keep_their_digits():
    """1 - level loses 7e-7 at 1e-12; the complement does not."""
    level, n = 1e-12, 1000
    exact = float(1 - mp.mpf(level) ** (mp.mpf(1) / n))
    assert abs(float(upper_bound(0, n, level)) / exact - 1) < 1e-12
    assert abs(special.betaincinv(1, n, 1 - level) / exact - 1) > 1e-7


@pytest.mark.parametrize("p", [0.01, 0.3, 0.9])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_covers_exactly(p: float, confidence: float):
    n = 60
    s = np.arange(n + 1)
    lower, upper = clopper_pearson(s, n, confidence)
    chance = stats.binom.pmf(s, n, p)
    missed = 0.5 * (1 - confidence) + 1e-12
    assert chance[p > upper].sum() <= missed
    assert chance[p < lower].sum() <= missed


def test_shapes_and_ends():
    lower, upper = clopper_pearson(np.array([[0], [3]]), np.array([3, 4]))
    assert lower.shape == upper.shape == (2, 2)
    assert (lower[0] == 0).all() and upper[1, 0] == 1
    assert lower.dtype == upper.dtype == np.float64
    assert clopper_pearson(0, 3)[1].shape == ()
    assert upper_bound(np.array([], dtype=np.int64), 3, 0.1).shape == (0,)


@pytest.mark.parametrize("level", ZERO_FAILURES)
def test_zero_failure_reference(level: float):
    found = tuple(zero_failure_n(k, level) for k in TOLERANCES)
    assert found == ZERO_FAILURES[level]


@pytest.mark.parametrize("tolerance", [0.5, 0.9, 1e-2, 1e-9, 1e-14])
@pytest.mark.parametrize("level", [0.25, 0.125, 1e-2, 1e-12])
def test_zero_failure_n_is_least(tolerance: float, level: float):
    n = zero_failure_n(tolerance, level)
    with mp.workdps(60):
        success = 1 - mp.mpf(tolerance)
        assert success**n <= mp.mpf(level) * (1 + mp.mpf("1e-12"))
        assert n == 1 or success ** (n - 1) > mp.mpf(level) * (1 - mp.mpf("1e-12"))


@pytest.mark.parametrize(
    "s, n", [(-1, 5), (6, 5), (0, 0), (1.0, 5), (1, 5.0), (True, 5)]
)
def test_refuses_counts(s: float, n: float):
    with pytest.raises(ConfigError, match="counts|swapped"):
        clopper_pearson(s, n)


@pytest.mark.parametrize("level", [0, 1, -0.1, 95, float("nan")])
def test_refuses_levels(level: float):
    with pytest.raises(ConfigError, match=r"\(0, 1\)"):
        clopper_pearson(1, 5, level)
    with pytest.raises(ConfigError, match=r"\(0, 1\)"):
        upper_bound(1, 5, level)
    with pytest.raises(ConfigError, match=r"\(0, 1\)"):
        lower_bound(1, 5, level)
    with pytest.raises(ConfigError, match=r"\(0, 1\)"):
        zero_failure_n(0.1, level)
    with pytest.raises(ConfigError, match=r"\(0, 1\)"):
        zero_failure_n(level, 0.1)
