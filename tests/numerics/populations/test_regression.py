"""Paired exact tests: closed forms, error rates of plants and of no change, coverage."""

import math

import numpy as np
import pytest
from scipy import stats

from torchattacks_ext.errors import ConfigError
from torchattacks_ext.numerics.populations.regression import (
    drop_interval,
    drop_p_value,
    paired_counts,
    smallest_drop,
)


def test_the_p_value_is_the_one_sided_binomial_one():
    for lost, gained in [(0, 0), (1, 0), (45, 15), (15, 45), (7, 7)]:
        n = lost + gained
        exact = stats.binomtest(lost, n, 0.5, "greater").pvalue if n else 1.0
        assert drop_p_value(lost, gained) == pytest.approx(exact, rel=1e-9)


def test_power_and_false_alarms():
    # 400 plants of 45 : 15 in mean, and 200 pairs without a change; both by the law of the counts
    rng = np.random.default_rng(0)
    m = rng.binomial(1000, 0.06, 400)
    plants = rng.binomial(m, 0.75)
    found = np.mean(
        [drop_p_value(int(b), int(k - b)) <= 0.05 for b, k in zip(plants, m)]
    )
    assert found >= 0.95
    m = rng.binomial(1000, 0.05, 200)
    same = rng.binomial(m, 0.5)
    alarms = sum(drop_p_value(int(b), int(k - b)) <= 0.05 for b, k in zip(same, m))
    assert alarms <= 21  # the binomial 99.9 % quantile


def test_the_smallest_drop_is_found_with_its_power_and_no_smaller_one():
    for changed, n in [(20, 400), (60, 1000), (500, 10_000)]:
        share = smallest_drop(changed, n, power=0.9).share
        q = (share * n / changed + 1) / 2
        limit = next(
            c
            for c in range(changed + 2)
            if drop_p_value(c, max(changed - c, 0)) <= 0.05
        )
        assert stats.binom.sf(limit - 1, changed, q) == pytest.approx(0.9, abs=1e-9)
    assert math.isnan(smallest_drop(4, 100).share)
    assert math.isnan(smallest_drop(0, 100).share)


def test_the_interval_covers():
    # false alarm of this test: <= 1e-6
    rng, runs, level = np.random.default_rng(1), 2000, 0.1
    b, c = 0.04, 0.02
    counts = rng.multinomial(300, [b, c, 1 - b - c], runs)
    wrong = 0
    for lost, gained, _ in counts.tolist():
        low, high = drop_interval(lost, gained, 300, 1 - level)
        wrong += not low <= b - c <= high
    assert wrong <= stats.binom.ppf(1 - 1e-6, runs, level)


def test_counts_and_bad_ones():
    old = np.array([True, True, False, False])
    assert paired_counts(old, ~old) == (2, 2)
    with pytest.raises(ConfigError, match="lost=-1"):
        drop_p_value(-1, 0)
    with pytest.raises(ConfigError, match="n=3"):
        drop_interval(2, 2, 3)
