"""Are the bounds for many images exact, also where failure rates differ from image to image?"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from torchattacks_ext.errors import ConfigError
from torchattacks_ext.numerics.populations.bounds import (
    count_bound,
    mean_failure_bounds,
    population_bounds,
    pra_to_mean,
)
from torchattacks_ext.numerics.rates.binomial import lower_bound, upper_bound
from torchattacks_ext.numerics.rates.sil import sil_band

ERRORS = (0.25, 0.05, 1e-3)


def poisson_binomial(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """The law of a sum of independent Bernoulli(p_i), by convolution."""
    law = np.ones(1)
    for rate in p:
        law = np.convolve(law, [1 - rate, rate])
    return law


@lru_cache(maxsize=None)
def limits(n: int, error: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper bounds of 0..n failures."""
    bounds = [mean_failure_bounds(s, n, error) for s in range(n + 1)]
    return np.array(bounds)[:, 0], np.array(bounds)[:, 1]


def misses(p: NDArray[np.float64], error: float) -> tuple[float, float]:
    """Exact P(lower > mean) and P(upper < mean) for draws with the rates p."""
    law, mean = poisson_binomial(p), p.mean()
    lower, upper = limits(len(p), error)
    # A bound that equals the mean but for rounding does not miss it.
    return law[lower > mean + 1e-12].sum(), law[upper < mean - 1e-12].sum()


@pytest.mark.parametrize("significance, lost", [(0.01, 117), (1e-3, 15), (1e-4, 3)])
def test_count_bound_reference(significance: float, lost: int):
    assert count_bound(9063, 10_000, significance, 0.05) == 9063 - lost


@pytest.mark.parametrize("significance, low", [(0.01, 0.9003724), (1e-4, 0.9013589)])
def test_population_reference(significance: float, low: float):
    lower, _ = population_bounds(9063, 0, 10_000, significance, 0.05)
    assert abs(lower - low) < 1e-7


def test_a_printed_score_does_not_reach_the_first_band():
    assert round(pra_to_mean(0.9063, 0.01), 3) == 0.103
    assert sil_band(pra_to_mean(0.9063, 0.01)) is None


@given(
    m=st.integers(1, 500),
    share=st.floats(0, 1),
    significance=st.floats(1e-6, 0.5),
    error=st.floats(1e-9, 0.5),
)
def test_count_bound_is_certified_less_a_quantile(
    m: int, share: float, significance: float, error: float
):
    """Compared with scipy's quantile, except where its level is tied to within rounding."""
    certified = int(share * m)
    found = count_bound(certified, m, significance, error)
    assert 0 <= found <= certified and type(found) is int
    law = stats.binom(m, significance)
    lost = int(law.isf(error))
    if np.abs(law.sf([lost - 1, lost]) / error - 1).min() > 1e-9:
        assert found == max(certified - lost, 0)


def test_count_bound_keeps_the_digits_of_a_small_error():
    """1 - 1e-18 is 1: a quantile there is m, and the bound would always be 0."""
    assert stats.binom.ppf(1 - 1e-18, 100, 0.01) == 100
    lost = 100 - count_bound(100, 100, 0.01, 1e-18)
    above, at = stats.binom.sf([lost, lost - 1], 100, 0.01)
    assert above <= 1e-18 < at and lost == 18


@given(
    m=st.integers(1, 300),
    split=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    significance=st.floats(1e-6, 0.5),
    error=st.floats(1e-6, 0.5),
)
def test_population_bounds_solve_their_equations(
    m: int, split: tuple[float, float], significance: float, error: float
):
    """At the lower bound the count has probability `error`; the upper bound is its mirror."""
    certified = int(split[0] * m)
    refuted = int(split[1] * (m - certified))
    lower, upper = population_bounds(certified, refuted, m, significance, error)
    assert 0 <= lower <= 1 and 0 <= upper <= 1
    if lower > 0:
        rate = lower + (1 - lower) * significance
        chance = stats.binom.sf(certified - 1, m, rate)
        np.testing.assert_allclose(chance, error, rtol=1e-6)
    mirrored, _ = population_bounds(refuted, 0, m, significance, error)
    assert upper == 1 - mirrored


def test_population_ends():
    assert population_bounds(0, 0, 5, 0.01, 0.05) == (0.0, 1.0)
    assert population_bounds(0, 5, 5, 0.01, 0.05)[0] == 0.0
    lower, _ = population_bounds(10**6, 0, 10**6, 0.01, 0.05)
    assert 1 - 1e-5 < lower < 1


def test_population_takes_no_certificate_for_a_robust_image():
    """As many certificates as false ones explain: nothing is shown, not a negative share."""
    assert population_bounds(10, 0, 1000, 0.01, 0.05)[0] == 0.0


def test_mean_failure_is_clopper_pearson_inside():
    for s in (2, 3, 1000, 3197, 3198):
        lower, upper = mean_failure_bounds(s, 3200, 0.05)
        assert lower == float(lower_bound(s, 3200, 0.05))
        assert upper == float(upper_bound(s, 3200, 0.05))


@pytest.mark.parametrize("draws", [1, 2, 3, 4, 50])
def test_mean_failure_ends_and_mirror(draws: int):
    for s in range(draws + 1):
        lower, upper = mean_failure_bounds(s, draws, 0.1)
        other_lower, other_upper = mean_failure_bounds(draws - s, draws, 0.1)
        np.testing.assert_allclose([lower, upper], [1 - other_upper, 1 - other_lower])
        assert (lower == 0) == (s <= 1) and (upper == 1) == (s >= draws - 1)


@pytest.mark.parametrize("n", [*range(2, 60), 200, 1000, 10_000])
def test_hoeffding_condition(n: int):
    """P(Bin(N, (c + 1) / N) <= c) >= 1/4 up to c = N - 2, and its mirror for the other tail.

    So U(c) >= (c + 1) / N and L(c) <= (c - 1) / N at each error up to 1/4; 1/4 is attained.
    """
    c = np.arange(n - 1)
    level = stats.binom.cdf(c, n, (c + 1) / n)
    assert level.min() >= 0.25 * (1 - 1e-12)
    assert (n == 2) == bool(np.isclose(level.min(), 0.25))
    slack = 1 + 1e-12
    assert (upper_bound(c, n, 0.25) * slack >= (c + 1) / n).all()
    assert (lower_bound(n - c, n, 0.25) <= (n - c - 1) / n * slack).all()
    assert float(upper_bound(n - 1, n, 0.25)) < 1


@given(
    rates=st.lists(
        st.one_of(st.sampled_from([0.0, 1.0, 0.5, 0.99, 0.01]), st.floats(0, 1)),
        min_size=1,
        max_size=12,
    ),
    each=st.integers(1, 5),
)
def test_mean_failure_covers_exactly(rates: list[float], each: int):
    """Any images, up to 60 draws; the law of the failures is enumerated, nothing is random."""
    p = np.repeat(rates, each)
    for error in ERRORS:
        low, high = misses(p, error)
        assert low <= error * (1 + 1e-9) and high <= error * (1 + 1e-9)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("draws", [2, 5, 20, 60])
def test_mean_failure_covers_images_that_always_or_never_fail(draws: int, error: float):
    """The corners: some draws are certain, the others share one rate near a bound."""
    for certain in range(draws):
        free = draws - certain
        for edge in limits(draws, error)[1][:-1]:
            rate = (edge * draws - certain) / free + 1e-9
            if 0 < rate < 1:
                p = np.append(np.ones(certain), np.full(free, rate))
                assert max(misses(p, error)) <= error * (1 + 1e-6)
                assert max(misses(1 - p, error)) <= error * (1 + 1e-6)


def test_plain_clopper_pearson_misses_near_one():
    """Why the upper bound is 1 from N - 1 failures on: N - 1 sure failures and one rare one."""
    n, error = 60, 0.05
    plain = float(upper_bound(n - 1, n, error))
    rate = n * plain - (n - 1) + 1e-9
    p = np.append(np.ones(n - 1), rate)
    assert plain < p.mean() and 1 - rate > error  # it misses with probability 1 - rate
    assert misses(p, error) == (0, 0)


def test_pra_to_mean():
    assert pra_to_mean(1, 0.01) == 0.01 and pra_to_mean(0, 0.01) == 1
    assert pra_to_mean(0.9, 0) == pytest.approx(0.1)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: count_bound(11, 10, 0.1, 0.1), "certified=11 is more than m=10"),
        (lambda: count_bound(-1, 10, 0.1, 0.1), "certified=-1 .*at least 0"),
        (lambda: count_bound(1.0, 10, 0.1, 0.1), "certified=1.0 .*integer"),
        (lambda: count_bound(True, 10, 0.1, 0.1), "certified=True .*integer"),
        (lambda: count_bound(0, 0, 0.1, 0.1), "m=0 is not at least 1"),
        (lambda: count_bound(1, 10, 0, 0.1), "significance=0"),
        (lambda: count_bound(1, 10, 0.1, 1), "error=1"),
        (lambda: population_bounds(6, 5, 10, 0.1, 0.1), "more than all m=10"),
        (lambda: population_bounds(1, 11, 10, 0.1, 0.1), "refuted=11"),
        (lambda: population_bounds(1, 1, 10, 1.0, 0.1), "significance=1.0"),
        (lambda: population_bounds(1, 1, 10, 0.1, float("nan")), "error=nan"),
        (lambda: mean_failure_bounds(5, 4, 0.1), "failures=5 .*draws=4"),
        (lambda: mean_failure_bounds(5, 9, 0.2500001), r"error=.*\(0, 0.25\]"),
        (lambda: mean_failure_bounds(5, 9, 0), r"error=0 .*\(0, 0.25\]"),
        (lambda: pra_to_mean(1.1, 0.1), r"pra=1.1 .*\[0, 1\]"),
        (lambda: pra_to_mean(0.5, float("nan")), r"tolerance=nan .*\[0, 1\]"),
    ],
)
def test_refuses(call: Any, message: str):
    with pytest.raises(ConfigError, match=message):
        call()


def test_accepts_numpy_counts():
    """Counts of a result are numpy or torch integers."""
    m = np.int64(100)
    assert count_bound(np.int64(90), m, 0.01, 0.05) == count_bound(90, 100, 0.01, 0.05)
    assert population_bounds(np.int32(90), np.int64(5), m, 0.01, 0.05)[0] > 0.8
    assert mean_failure_bounds(np.int64(0), m, 0.05)[0] == 0
