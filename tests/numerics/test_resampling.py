"""Do bootstrap intervals of a mean, a median and a log-mean hold what they promise?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.numerics import resampling
from torchattacks_ext.numerics.resampling import bootstrap


@pytest.mark.parametrize("statistic", resampling.STATISTICS)
def test_bootstrap_covers(statistic: Any) -> None:
    """Log-normal values, n = 100: mean e^.125, median 1, log-mean 0; 95 % intervals.

    Coverage below .90 or above .985 would be a mistake; fails by luck at most 1e-7 a side there.
    """
    truth = {"mean": math.exp(0.125), "median": 1.0, "log_mean": 0.0}[statistic]
    rng, repeats, hits = np.random.default_rng(6), 400, 0
    for seed in range(repeats):
        values = np.exp(0.5 * rng.standard_normal(100))
        low, high = bootstrap(values, statistic, n_resamples=400, seed=seed)
        hits += low <= truth <= high
    least, most = stats.binom.ppf([1e-7, 1 - 1e-7], repeats, [0.90, 0.985])
    assert least <= hits <= most


@pytest.mark.parametrize("statistic", resampling.STATISTICS)
@given(values=st.lists(st.floats(0.01, 50), min_size=2, max_size=12))
def test_bootstrap_stays_inside_and_ignores_nan(
    statistic: Any, values: list[float]
) -> None:
    low, high = bootstrap(values, statistic, n_resamples=50)
    inside = np.log(values) if statistic == "log_mean" else np.array(values)
    assert inside.min() - 1e-9 <= low <= high <= inside.max() + 1e-9
    mixed = [math.nan, *values, math.nan]
    assert bootstrap(mixed, statistic, n_resamples=50) == (low, high)


def test_each_tail_has_half_of_the_rest() -> None:
    found = np.random.default_rng(0).permutation(2001.0 - np.arange(2001))
    assert resampling.percentiles(found, 0.95) == (51.0, 1951.0)
    assert resampling.percentiles([math.nan, *found], 0.8) == (201.0, 1801.0)
    assert resampling.percentiles([7.0], 0.95) == (7.0, 7.0)
    assert all(map(math.isnan, resampling.percentiles([math.nan], 0.95)))


def test_bootstrap_of_odd_values() -> None:
    assert all(math.isnan(end) for end in bootstrap([]))
    assert all(math.isnan(end) for end in bootstrap([math.nan, 1.0]))
    assert all(math.isnan(end) for end in bootstrap([math.inf, -math.inf] * 40))
    assert bootstrap([math.inf] * 3, "median") == (math.inf, math.inf)
    low, high = bootstrap([1.0] * 99 + [math.inf])
    assert (low, high) == (1.0, math.inf)
    assert bootstrap([0.0, 0.0], "log_mean") == (-math.inf, -math.inf)
    assert bootstrap(np.full(9, 1e308))[1] > 1e307
    assert bootstrap(torch.ones(4, dtype=torch.bfloat16)) == (1.0, 1.0)


def test_rows_are_drawn_evenly() -> None:
    """6e5 draws of 6 rows: chi-square beyond its 1 - 1e-7 quantile is no luck."""
    drawn = np.concatenate(list(resampling.resamples(6, 100_000, seed=3)))
    assert drawn.shape == (100_000, 6) and drawn.min() == 0 and drawn.max() == 5
    seen = np.bincount(drawn.ravel(), minlength=6)
    assert ((seen - 1e5) ** 2 / 1e5).sum() < stats.chi2.ppf(1 - 1e-7, 5)


def test_what_is_refused() -> None:
    with pytest.raises(ConfigError, match="'mean', 'median', 'log_mean'"):
        bootstrap([1, 2], "mode")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="1 values are negative"):
        bootstrap([1.0, -1.0], "log_mean")
    with pytest.raises(InputError, match="rows are more than"):
        next(resampling.resamples(resampling.N_MAX + 1, 1, 0))
