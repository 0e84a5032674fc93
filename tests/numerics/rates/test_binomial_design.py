"""Are the one-sided p-values, the deciding counts and the fixed designs exact?"""

from __future__ import annotations

import time
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from torchattacks_ext.errors import ConfigError
from torchattacks_ext.numerics.rates.binomial import (
    binomial_p_value,
    clopper_pearson,
    fixed_design,
    greatest_s_to_certify,
    least_s_to_refute,
    lower_bound,
    upper_bound,
    zero_failure_n,
)

ONE_SIDED_P = [
    (0, 100, 0.1, 2.65613988876e-05),
    (5, 100, 0.1, 0.057576886487),
    (3, 1000, 0.01, 0.010072654772),
    (0, 2995, 1e-3, 0.0499617033974),
    (0, 2994, 1e-3, 0.0500117151125),
    (1, 4742, 1e-3, 0.049999680162),
    (40, 1000, 0.05, 0.0806365732567),
    (0, 10**5, 1e-4, 4.5377233959e-05),
]
GREATEST = [
    (100, 0.1, 0.05, 4),
    (1000, 0.1, 0.05, 84),
    (1000, 0.05, 0.01, 34),
    (1000, 0.01, 0.05, 4),
    (10**4, 0.01, 0.05, 83),
    (10**4, 1e-3, 0.01, 2),
    (10**5, 1e-3, 0.05, 83),
    (10**6, 1e-4, 0.01, 76),
    (10**7, 1e-6, 0.05, 4),
]
DESIGNS = [
    (0.1, 0.05, 0.01, (589, 42)),
    (0.05, 0.025, 0.01, (1233, 44)),
    (0.01, 0.005, 0.01, (6314, 45)),
    (0.001, 0.0005, 0.01, (63222, 45)),
    (0.01, 0.001, 0.01, (1157, 4)),
    (0.01, 0.005, 0.05, (3137, 22)),
]
probabilities = st.floats(1e-6, 1 - 1e-6)


def exact_tail(s: int, n: int, p: float, side: str) -> mp.mpf:
    """The sum of binomial terms, in 50 digits."""
    with mp.workdps(50):
        terms = range(s + 1) if side == "below" else range(s, n + 1)
        p = mp.mpf(p)
        return mp.fsum(mp.binomial(n, i) * p**i * (1 - p) ** (n - i) for i in terms)


@pytest.mark.parametrize("s, n, tolerance, expected", ONE_SIDED_P)
def test_p_value_reference(s: int, n: int, tolerance: float, expected: float):
    np.testing.assert_allclose(binomial_p_value(s, n, tolerance), expected, rtol=1e-9)


@pytest.mark.parametrize("p", [1e-9, 1e-3, 0.2, 0.5, 0.97, 1 - 1e-9])
def test_both_tails_keep_their_digits(p: float):
    """Down to 1e-180 and below, where 1 minus the other tail would be 0."""
    n = 20
    s = np.arange(n + 1)
    for side in ("below", "above"):
        exact = [float(exact_tail(int(i), n, p, side)) for i in s]
        found = binomial_p_value(s, n, p, side)  # type: ignore[arg-type]
        np.testing.assert_allclose(found, exact, rtol=1e-12)


def test_the_two_tails_share_one_term():
    s, n = np.arange(41), 40
    both = binomial_p_value(s, n, 0.3) + binomial_p_value(s, n, 0.3, "above")
    np.testing.assert_allclose(both, 1 + stats.binom.pmf(s, n, 0.3), rtol=1e-13)


@pytest.mark.parametrize(
    "side, limit", [("below", upper_bound), ("above", lower_bound)]
)
def test_p_value_is_the_level_of_its_limit(side: Any, limit: Any):
    """At tolerance = the Clopper-Pearson limit the p-value is the level."""
    for s, n, level in [(0, 9, 0.05), (3, 50, 1e-3), (40, 50, 1e-9), (50, 50, 0.2)]:
        edge = float(limit(s, n, level))
        if 0 < edge < 1:
            found = float(binomial_p_value(s, n, edge, side))
            np.testing.assert_allclose(found, level, rtol=1e-10)


def test_p_value_shapes_and_ends():
    found = binomial_p_value([[0], [3]], [3, 4], 0.1)
    assert found.shape == (2, 2) and found.dtype == np.float64
    assert found[1, 0] == 1 and float(binomial_p_value(0, 3, 0.1, "above")) == 1
    assert binomial_p_value(np.array([], dtype=np.int64), 3, 0.1).shape == (0,)


@pytest.mark.parametrize("n, tolerance, level, expected", GREATEST)
def test_greatest_s_reference(n: int, tolerance: float, level: float, expected: int):
    assert greatest_s_to_certify(n, tolerance, level) == expected


@given(n=st.integers(1, 400), tolerance=probabilities, level=probabilities)
def test_deciding_counts_are_the_edges(n: int, tolerance: float, level: float):
    """Naive twin: all p-values, counted."""
    s = np.arange(n + 1)
    c = greatest_s_to_certify(n, tolerance, level)
    r = least_s_to_refute(n, tolerance, level)
    assert c + 1 == (binomial_p_value(s, n, tolerance) <= level).sum()
    assert n + 1 - r == (binomial_p_value(s, n, tolerance, "above") <= level).sum()
    assert type(c) is type(r) is int
    if level < 0.5:
        assert c < r


@pytest.mark.parametrize("n", [1, 2, 3, 10, 30, 52])
def test_ties_belong_to_the_level(n: int):
    """P(X <= 0) = P(X >= n) = 2^-n exactly, and one ulp less is not enough."""
    level = 0.5**n
    assert greatest_s_to_certify(n, 0.5, level) == 0
    assert greatest_s_to_certify(n, 0.5, np.nextafter(level, 0)) == -1
    assert least_s_to_refute(n, 0.5, level) == n
    assert least_s_to_refute(n, 0.5, np.nextafter(level, 0)) == n + 1
    assert zero_failure_n(0.5, level) == n


def test_no_count_is_cut_from_n_times_tolerance():
    """int(100 * 0.29) is 28: a start there must not become the answer."""
    assert int(100 * 0.29) == 28
    for level in (0.6, 0.5, 0.4):
        exact = [exact_tail(s, 100, 0.29, "below") <= level for s in range(100)]
        assert greatest_s_to_certify(100, 0.29, level) == sum(exact) - 1


@pytest.mark.parametrize("tolerance", [0.3, 0.01, 1e-4])
@pytest.mark.parametrize("level", [0.05, 1e-3])
def test_zero_failure_n_is_where_certifying_begins(tolerance: float, level: float):
    n = zero_failure_n(tolerance, level)
    assert greatest_s_to_certify(n, tolerance, level) == 0
    assert n == 1 or greatest_s_to_certify(n - 1, tolerance, level) == -1


@pytest.mark.parametrize("tolerance, alternative, level, expected", DESIGNS)
def test_fixed_design_reference(
    tolerance: float, alternative: float, level: float, expected: tuple[int, int]
):
    start = time.process_time()
    assert fixed_design(tolerance, alternative, level, level) == expected
    assert time.process_time() - start < 1


@given(
    tolerance=st.floats(0.05, 0.95),
    ratio=st.floats(0, 0.6),
    level=st.floats(0.01, 0.9),
    miss=st.floats(0.02, 0.9),
)
def test_fixed_design_is_least(
    tolerance: float, ratio: float, level: float, miss: float
):
    """Naive twin: n = 1, 2, ... until one has the power; the saw-tooth is walked through."""
    alternative = ratio * tolerance
    n, c = fixed_design(tolerance, alternative, level, miss)
    every = np.arange(1, n + 1)
    edge = np.array([greatest_s_to_certify(int(i), tolerance, level) for i in every])
    missed = np.where(edge < 0, 1.0, stats.binom.sf(edge, every, alternative))
    assert edge[-1] == c >= 0
    assert (missed[:-1] > miss * (1 - 1e-12)).all() and missed[-1] <= miss * (1 + 1e-12)


@pytest.mark.parametrize("alternative", [0.0, 1e-300])
def test_fixed_design_against_nothing_is_zero_failures(alternative: float):
    expected = (zero_failure_n(0.01, 0.01), 0)
    assert fixed_design(0.01, alternative, 0.01, 0.01) == expected


@pytest.mark.parametrize("tolerance, alternative", [(0.5, 0.499), (0.9, 0.895)])
def test_near_alternatives_step_over_the_saw_tooth(
    tolerance: float, alternative: float
):
    """One step of n costs more power than one of c gains; the 500 counts below all miss."""
    n, c = fixed_design(tolerance, alternative, 0.05, 0.05)
    assert greatest_s_to_certify(n, tolerance, 0.05) == c
    assert binomial_p_value(c + 1, n, alternative, "above") <= 0.05
    before = np.arange(n - 500, n)
    edge = np.array([greatest_s_to_certify(int(i), tolerance, 0.05) for i in before])
    assert (binomial_p_value(edge + 1, before, alternative, "above") > 0.05).all()


def test_a_design_that_is_too_near_is_refused():
    with pytest.raises(ConfigError, match=r"too near .*smaller alternative"):
        fixed_design(0.01, 0.01 - 1e-12, 0.01, 0.01)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: binomial_p_value(1, 2, 0), r"tolerance=0 .*\(0, 1\)"),
        (lambda: binomial_p_value(1, 2, 1.0), r"tolerance=1.0 .*\(0, 1\)"),
        (lambda: binomial_p_value(3, 2, 0.1), "swapped"),
        (lambda: binomial_p_value(1.0, 2, 0.1), "integers"),
        (lambda: binomial_p_value(1, 2, 0.1, "less"), "side='less' .*'below'"),
        (lambda: greatest_s_to_certify(0, 0.1, 0.1), "n >= 1"),
        (lambda: greatest_s_to_certify(9.0, 0.1, 0.1), "integers"),
        (lambda: least_s_to_refute(9, float("nan"), 0.1), "tolerance=nan"),
        (lambda: least_s_to_refute(9, 0.1, 0), "significance=0"),
        (lambda: fixed_design(0.1, 0.1, 0.1, 0.1), r"alternative=0.1 .*\[0, 0.1\)"),
        (lambda: fixed_design(0.1, -0.1, 0.1, 0.1), "alternative=-0.1"),
        (lambda: fixed_design(0.1, float("nan"), 0.1, 0.1), "alternative=nan"),
        (lambda: fixed_design(0.1, 0.01, 0.1, 1), "miss=1"),
    ],
)
def test_refuses(call: Any, message: str):
    with pytest.raises(ConfigError, match=message):
        call()


@pytest.mark.parametrize("level, loss", [(1e-10, 1e-9), (1e-12, 1e-7)])
def test_trap_the_level_is_not_turned_into_its_complement(level: float, loss: float):
    """betaincinv(..., 1 - level) has lost its digits, betainccinv has them."""
    s, n = 3, 1000
    bad = special.betaincinv(s + 1, n - s, 1 - level)
    found = float(upper_bound(s, n, level))
    with mp.workdps(50):
        exact = mp.findroot(
            lambda p: mp.betainc(s + 1, n - s, p, 1, regularized=True) / level - 1,
            found,
        )
        assert abs(found / exact - 1) < 1e-12
        assert abs(bad / exact - 1) > loss / 10


def test_trap_log1p():
    """log(1 - k) is 0 for k = 1e-17, and 11 % wrong for 3e-16."""
    assert np.log(1 - 1e-17) == 0 and abs(np.log(1 - 3e-16) / -3e-16 - 1) > 0.05
    for tolerance in (3e-16, 1e-17):
        least = mp.ceil(mp.log(mp.mpf(0.05)) / mp.log1p(-mp.mpf(tolerance)))
        assert abs(zero_failure_n(tolerance, 0.05) / least - 1) < 1e-15


@pytest.mark.parametrize("n, least_error", [(10**7, 1e-6), (10**9, 1e-5)])
def test_trap_proportion_ci_is_inaccurate(n: int, least_error: float):
    """scipy's root finder stops at an absolute error; ours agrees with 50 digits."""
    lower, _ = clopper_pearson(3, n, 0.99)
    with mp.workdps(50):
        level = (1 - mp.mpf(0.99)) / 2
        above = 1 - exact_tail(2, n, float(lower), "below")
        assert abs(above / level - 1) < 1e-9
    theirs = stats.binomtest(3, n).proportion_ci(0.99).low
    assert abs(theirs / float(lower) - 1) > least_error


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_trap_small_integers_do_not_wrap(dtype: type):
    """n + 1 and n - s are computed in int64, whatever the counts came as."""
    top = min(int(np.iinfo(dtype).max), 2**40)
    s, n = np.array([0, top - 1, top], dtype), np.array([top] * 3, dtype)
    wide = s.astype(np.int64), n.astype(np.int64)
    for found, expected in [
        (upper_bound(s, n, 0.05), upper_bound(*wide, 0.05)),
        (lower_bound(s, n, 0.05), lower_bound(*wide, 0.05)),
        (binomial_p_value(s, n, 0.5), binomial_p_value(*wide, 0.5)),
    ]:
        assert np.isfinite(found).all()
        np.testing.assert_array_equal(found, expected)
    assert (np.diff(upper_bound(s, n, 0.05)) > 0).all()


def test_counts_beyond_int32_decide():
    n = 3 * 10**9
    assert greatest_s_to_certify(n, 1e-9, 0.2) == 1  # 4 exp(-3) = 0.199
    assert least_s_to_refute(n, 1e-9, 0.2) == 5
    assert abs(greatest_s_to_certify(n, 0.9, 0.05) / (0.9 * n) - 1) < 1e-4
