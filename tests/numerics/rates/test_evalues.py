"""Is log E what it is said to be, and do the bounds invert it without contradiction?"""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from torchattacks_ext._typing import Verdict
from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.numerics.rates.evalues import (
    bar_of,
    failure_bounds,
    log_e_high,
    log_e_low,
)
from torchattacks_ext.numerics.rates.sequential import boundaries

TOLERANCES = (0.9, 0.5, 0.1, 0.01, 1e-3, 1e-5, 1e-8)


def by_quadrature(n: int, s: int, tolerance: float, edge: float, *, low: bool) -> float:
    """ln E by its definition: two integrals over q, with singular ends, in 60 digits."""
    with mp.workdps(60):
        a, b, x = mp.mpf("0.25"), mp.mpf("0.25") / mp.mpf(tolerance), mp.mpf(edge)
        side = [0, x / 2, x] if low else [x, (1 + 3 * x) / 4, 1]

        def prior(q: mp.mpf) -> mp.mpf:
            return q ** (a - 1) * (1 - q) ** (b - 1)

        def ratio(q: mp.mpf) -> mp.mpf:
            return prior(q) * (q / x) ** s * ((1 - q) / (1 - x)) ** (n - s)

        return float(mp.log(mp.quad(ratio, side) / mp.quad(prior, side)))


def both(n: ArrayLike, s: ArrayLike, tolerance: float, edge: ArrayLike = None):
    low = log_e_low(n, s, tolerance, threshold=edge)
    return low, log_e_high(n, s, tolerance, threshold=edge)


@pytest.mark.parametrize(
    "n, s, expected",
    [
        (504, 0, 4.596604968),
        (505, 0, 4.606186708),
        (1000, 2, 3.580966538),
        (10_000, 50, 12.794685207),
    ],
)
def test_log_e_low_reference(n: int, s: int, expected: float):
    assert abs(float(log_e_low(n, s, 0.01)) - expected) < 1e-9


@pytest.mark.parametrize(
    "n, s, expected",
    [
        (6, 3, 4.691856898),
        (7, 3, 4.591900399),
        (33, 4, 4.615191128),
        (1000, 30, 11.628242303),
    ],
)
def test_log_e_high_reference(n: int, s: int, expected: float):
    assert abs(float(log_e_high(n, s, 0.01)) - expected) < 1e-9


@pytest.mark.parametrize(
    "n, s, tolerance, edge",
    [
        (1, 0, 0.01, 0.01),
        (1, 1, 0.01, 0.01),
        (12, 5, 0.1, 0.1),
        (50, 3, 0.05, 0.2),
        (50, 20, 0.05, 0.01),
        (300, 4, 0.01, 0.005),
        (20, 19, 0.9, 0.9),
        (20, 2, 0.6, 0.5),
    ],
)
def test_is_the_mixture_of_its_definition(
    n: int, s: int, tolerance: float, edge: float
):
    low, high = both(n, s, tolerance, edge)
    assert abs(float(low) - by_quadrature(n, s, tolerance, edge, low=True)) < 1e-11
    assert abs(float(high) - by_quadrature(n, s, tolerance, edge, low=False)) < 1e-11


def test_an_underflow_does_not_certify_a_failing_image():
    """log(betainc) is -inf here; a floor under it would make this +158."""
    assert abs(float(log_e_low(2000, 400, 0.01)) + 7.531725054) < 1e-9


@pytest.mark.parametrize(
    "n, s, tolerance, edge, expected",
    [
        (10**9, 8, 1e-8, None, -1.758010361),  # differences of gammaln: ...4213
        (10**7, 50, 1e-5, None, 12.668278086),  # scipy's betaln: ...125
    ],
)
def test_large_n_keeps_its_digits(n, s, tolerance, edge, expected: float):
    assert abs(float(log_e_low(n, s, tolerance, threshold=edge)) - expected) < 1e-9


def test_underflowing_complement_of_the_prior_is_finite():
    """For tolerance 1e-5 the prior mass above 1/2 is e^-17000; E only needs the ratio."""
    found = log_e_high([10, 10, 1000], [10, 9, 700], 1e-5, threshold=0.5)
    b = mp.mpf("0.25") / mp.mpf(1e-5)
    for value, n, s in zip(found, (10, 10, 1000), (10, 9, 700)):
        with mp.workdps(50):
            likelihood = mp.mpf(2) ** n

            def upper(
                p: mp.mpf, q: mp.mpf
            ) -> mp.mpf:  # int over t > 1/2, scaled by 2^-(p+q)
                return mp.hyp2f1(p + q, 1, q + 1, mp.mpf("0.5")) / q

            top, bottom = upper(s + mp.mpf("0.25"), b + n - s), upper(mp.mpf("0.25"), b)
            expected = mp.log(top / bottom * likelihood / mp.mpf(2) ** n)
        assert abs(value - float(expected)) < 1e-9


@given(
    tolerance=st.sampled_from(TOLERANCES),
    n=st.integers(0, 10**6),
    part=st.floats(0, 1),
    times=st.floats(0.1, 10),
)
def test_e_is_a_martingale_at_its_edge(
    tolerance: float, n: int, part: float, times: float
):
    """E(n, s) is the mean of its two successors where p_fail is the threshold."""
    edge = min(times * tolerance, 0.99)
    s = round(part * n) if part > 0.5 else min(n, round(2 * part * edge * n * 2))
    for now, safe, bad in zip(
        both(n, s, tolerance, edge),
        both(n + 1, s, tolerance, edge),
        both(n + 1, s + 1, tolerance, edge),
    ):
        mean = np.logaddexp(np.log1p(-edge) + safe, np.log(edge) + bad)
        assert abs(mean - now) < 1e-12 * (100 + abs(now))


@pytest.mark.parametrize("tolerance", TOLERANCES)
def test_no_evidence_on_the_wrong_side(tolerance: float):
    """Never above 0 where the observed rate is not beyond the threshold, exact ties included."""
    n = np.unique(np.geomspace(1, 1e6, 60).astype(np.int64))[:, None]
    s = (n * np.linspace(0, 1, 41)).astype(np.int64)
    s = np.concatenate(
        [s, np.minimum(n, np.round(n * tolerance).astype(np.int64))], axis=1
    )
    low, high = both(n, s, tolerance)
    assert (low[s >= n * tolerance] < 1e-12).all()
    assert (high[s <= n * tolerance] < 1e-12).all()
    assert not ((low > 0.7) & (high > 0.7)).any()
    assert np.isfinite(low).all() and np.isfinite(high).all()


@pytest.mark.parametrize("tolerance", [0.1, 0.01, 1e-3])
def test_monotone_in_failures_and_draws(tolerance: float):
    s = np.arange(301)
    low, high = both(300, s, tolerance)
    assert (np.diff(low) < 0).all() and (np.diff(high) > 0).all()
    n = np.arange(60, 3000)
    low, high = both(n, 60, tolerance)
    assert (np.diff(low) > 0).all() and (np.diff(high) < 0).all()


def test_bounds_reference():
    lower, upper = failure_bounds([505, 5000, 33], [0, 20, 4], 0.01, 0.01)
    assert [f"{v:.5f}" for v in (upper[0], upper[1], lower[2])] == [
        "0.01000",
        "0.00825",
        "0.01003",
    ]
    assert upper[0] <= 0.01 < lower[2]


def test_bounds_ends():
    lower, upper = failure_bounds([0, 7, 7, 7], [0, 0, 7, 3], 0.01, 0.01)
    assert lower.tolist()[:2] == [0, 0] and upper[0] == 1 == upper[2]
    assert 0 < lower[3] < 3 / 7 < upper[3] < 1
    assert 0 < lower[2] < 1 and 0 < upper[1] < 1


@pytest.mark.parametrize("significance", [0.49, 0.05, 1e-3, 1e-10])
@pytest.mark.parametrize("tolerance", TOLERANCES)
def test_bounds_are_where_log_e_reaches_the_bar(tolerance: float, significance: float):
    """On the reached side, and no further from the bar than 1e-9 or a few floats of p."""
    rng = np.random.default_rng(0)
    n = np.tile(np.exp(rng.uniform(0, np.log(1e9), 100)).astype(np.int64), 4)
    few = np.minimum(n[:100], rng.integers(0, 6, 100))
    middle = [rng.integers(0, n[:100] + 1), rng.binomial(n[:100], tolerance)]
    s = np.concatenate([*middle, few, n[:100] - few])
    lower, upper = failure_bounds(n, s, tolerance, significance)
    assert ((0 <= lower) & (lower <= s / n) & (s / n <= upper) & (upper <= 1)).all()
    for bound, f in ((upper, log_e_low), (lower, log_e_high)):
        inside = (bound > 0) & (bound < 1)
        m, k, p = n[inside], s[inside], bound[inside]
        excess = f(m, k, tolerance, threshold=p) - bar_of(significance)
        one_float = (k + m * p) * np.spacing(p) / (p * (1 - p))
        exact = p != np.nextafter(tolerance, 1)
        assert (excess[exact] >= 0).all()
        rounding = 1e-16 / tolerance * np.maximum(1, -np.log1p(-p))  # of the prior
        assert (excess <= 1.01e-9 + 16 * one_float + rounding).all()


@pytest.mark.parametrize("significance", [0.05, 0.001])
@pytest.mark.parametrize("tolerance", [0.1, 0.01, 1e-3])
def test_a_verdict_and_its_interval_never_disagree(
    tolerance: float, significance: float
):
    """All looks, all counts of failures, up to n = 2,000."""
    table = boundaries(tolerance, significance, 2000)
    for i, look in enumerate(table.looks):
        s = np.arange(look + 1)
        lower, upper = failure_bounds(look, s, tolerance, significance)
        by_bounds = np.where(
            lower > tolerance,
            Verdict.NOT_ROBUST,
            np.where(upper <= tolerance, Verdict.ROBUST, Verdict.UNDECIDED),
        )
        np.testing.assert_array_equal(by_bounds, table.decide(i, s))
        assert (np.diff(lower) > 0).all() and (np.diff(upper) >= 0).all()


def test_a_tie_with_the_bar_follows_the_table():
    """Where log E at the tolerance is the bar itself, the verdicts still agree."""
    for n, s in ((505, 0), (6, 3), (33, 4)):
        at_bar = max(float(v) for v in both(n, s, 0.01))
        for nudge in (-1e-9, -1e-12, 0, 1e-12, 1e-9):
            significance = float(np.exp(-(at_bar - 1e-6 + nudge)))
            low, high = both(n, s, 0.01)
            lower, upper = failure_bounds(n, s, 0.01, significance)
            assert (lower > 0.01) == (high >= bar_of(significance))
            assert (upper <= 0.01) == (low >= bar_of(significance))


def test_bounds_narrow_with_more_draws():
    n = np.arange(30, 3000)
    lower, upper = failure_bounds(n, 30, 0.01, 0.01)
    assert (np.diff(lower) < 0).all() and (np.diff(upper[1:]) < 0).all()


@pytest.mark.parametrize("tolerance", [0.1, 0.01, 1e-5])
def test_every_rate_beyond_a_bound_is_rejected(tolerance: float):
    """The rejected rates are an interval: the bound speaks for all of them."""
    rng = np.random.default_rng(1)
    n = rng.integers(10, 20_000, 60)
    s = np.concatenate([rng.binomial(n[:30], tolerance), rng.integers(0, n[30:])])
    lower, upper = failure_bounds(n, s, tolerance, 0.01)
    steps = np.linspace(1e-6, 1 - 1e-6, 400)[:, None]
    some = upper < 1 - 1e-9
    above = (upper + (1 - upper) * steps)[:, some]
    low = log_e_low(n[some], s[some], tolerance, threshold=above)
    assert (low >= bar_of(0.01)).all()
    some = lower > 0
    below = (lower * steps)[:, some]
    high = log_e_high(n[some], s[some], tolerance, threshold=below)
    assert (high >= bar_of(0.01)).all()


def test_rows_do_not_depend_on_their_company():
    rng = np.random.default_rng(2)
    n = rng.integers(1, 5000, (8, 4))
    s = rng.binomial(n, 0.02)
    lower, upper = failure_bounds(n, s, 0.01, 0.001)
    alone = [
        failure_bounds(int(a), int(b), 0.01, 0.001) for a, b in zip(n.flat, s.flat)
    ]
    assert lower.shape == upper.shape == (8, 4)
    np.testing.assert_allclose(lower.ravel(), [float(v[0]) for v in alone], rtol=1e-12)
    np.testing.assert_allclose(upper.ravel(), [float(v[1]) for v in alone], rtol=1e-12)
    assert failure_bounds([], [], 0.01, 0.01)[0].shape == (0,)


@pytest.mark.parametrize("n, s", [(5, 6), (5, -1), (5.0, 1), (5, 1.0), (-1, -1)])
def test_refuses_counts(n: float, s: float):
    for call in (
        lambda: failure_bounds(n, s, 0.01, 0.01),
        lambda: log_e_low(n, s, 0.01),
    ):
        with pytest.raises(InputError, match="integers|swapped"):
            call()


@pytest.mark.parametrize("edge", [0.0, 1.0, -0.1, float("nan")])
def test_refuses_rates(edge: float):
    with pytest.raises(ConfigError, match=r"threshold=.*\(0, 1\)"):
        log_e_low(5, 1, 0.01, threshold=edge)
    with pytest.raises(ConfigError, match=r"tolerance=.*\(0, 1\)"):
        log_e_high(5, 1, edge)
    with pytest.raises(ConfigError, match=r"significance=.*\(0, 0.5\)"):
        failure_bounds(5, 1, 0.01, edge)
