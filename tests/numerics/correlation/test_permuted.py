"""Is an interval honest where an outcome is rare? Permutations against scipy, doubts, coverage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from torchattacks_ext.numerics.correlation.columns import (
    COEFFICIENTS,
    Coefficient,
    compare,
    correlate,
)
from torchattacks_ext.numerics.correlation.permuted import is_rare, permuted, rows_apart
from torchattacks_ext.results.correlation import correlate_columns

RNG = np.random.default_rng(3)
X = np.round(RNG.standard_normal(30), 1)  # with ties
RARE = np.zeros(30)
RARE[[2, 9, 17, 28]] = 1.0, 1.0, -2.0, 3.0
RECORD = (
    Path(__file__).parents[3] / "benchmarks" / "results" / "bootstrap_coverage.json"
)


def by_scipy(x: np.ndarray, y: np.ndarray, coefficient: str) -> float:
    found = {
        "spearman": stats.spearmanr,
        "kendall": stats.kendalltau,
        "pearson": stats.pearsonr,
    }[coefficient](x, y)
    return float(found.statistic)


@pytest.mark.parametrize("coefficient", COEFFICIENTS)
def test_every_permutation_has_the_coefficient_that_scipy_gives(
    coefficient: Coefficient,
) -> None:
    """Of one row apart all N places are known, so all N coefficients are."""
    one = np.where(np.arange(30) == 4, 5.0, 1.0)
    known = [by_scipy(X, np.roll(one, k), coefficient) for k in range(30)]
    drawn = permuted(X, one, coefficient, 300, seed=1)
    near = np.abs(drawn[:, None] - np.array(known)[None, :]).min(axis=1)
    assert near.max() < 1e-9 and len(np.unique(drawn.round(9))) > 10


@pytest.mark.parametrize("coefficient", COEFFICIENTS)
def test_permutations_have_the_law_of_shuffled_columns(
    coefficient: Coefficient,
) -> None:
    """Mean 0 and the spread of 2,000 shuffles; limits of false alarm 1e-6 (5 and 6 sigma)."""
    drawn = permuted(X, RARE, coefficient, 4000, seed=2)
    rng = np.random.default_rng(5)
    slow = [by_scipy(X, rng.permutation(RARE), coefficient) for _ in range(500)]
    spread = float(np.std(slow))
    assert abs(drawn.mean()) < 5 * spread / 4000**0.5
    assert abs(drawn.std() / spread - 1) < 6 * (0.5 / 500 + 0.5 / 4000) ** 0.5


def test_what_is_rare() -> None:
    assert rows_apart(RARE) == 4 and is_rare(RARE)
    assert not is_rare(X) and not is_rare(np.zeros(9)) and not is_rare(np.zeros(0))
    assert not is_rare(np.arange(60) < 20) and is_rare(np.arange(60) < 19)


@pytest.mark.parametrize("coefficient", COEFFICIENTS)
def test_an_interval_of_a_rare_outcome_is_wider_and_doubted(
    coefficient: Coefficient,
) -> None:
    found = correlate(X, RARE, coefficient, n_resamples=400)
    drawn = permuted(X, RARE, coefficient, 400, 0)
    reach = np.quantile(drawn, [0.05, 0.95])
    assert found.low < found.value - reach[1] and found.high > found.value - reach[0]
    assert found.doubt.startswith("only 4 of 30 rows of y have another value")
    usual = correlate(X, X**2, coefficient, n_resamples=400)
    assert usual.doubt == ""
    turned = correlate(RARE, X, coefficient, n_resamples=400)  # a rare predictor
    assert turned.doubt.startswith("only 4 of 30 rows of x")
    assert -1 <= turned.low < turned.value < turned.high <= 1


def test_a_difference_with_a_rare_outcome_is_doubted_as_well() -> None:
    found = compare(X, -X, RARE, n_resamples=400)
    assert "of outcome have another value" in found.doubt
    assert found.low <= found.difference <= found.high
    assert compare(X, X**2, X**3, n_resamples=400).doubt == ""


def test_a_table_says_which_intervals_to_doubt() -> None:
    import torch

    x, rare = torch.from_numpy(X), torch.from_numpy(RARE)
    table = correlate_columns({"lam": x}, rare, n_resamples=100)
    assert [flag.code for flag in table.flags] == ["rare_outcome"]
    assert "only 4 of 30 rows" in table.flags[0].message
    assert "flags=['rare_outcome']" in repr(table)
    assert "only 4 of 30 rows" in table._repr_html_()
    back = type(table).from_json(table.to_json())
    assert back.flags == table.flags
    assert correlate_columns({"lam": x}, x**3, n_resamples=100).flags == ()


def test_the_measured_coverage_is_what_the_words_say() -> None:
    """The committed record: .95 nominal; what is doubted, and what repairs it."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    for case in record["spearman"]:
        assert case["given"] >= 0.93, case
        assert case["percentile"] >= 0.92 or case["doubted"] > 0.9, case
    worst = min(case["percentile"] for case in record["spearman"])
    assert worst < 0.7  # the trouble was there
    for case in record["mean_of_lognormal"]:
        assert case["bootstrap_t"] >= case["percentile"] - 0.02, case
        assert case["median"] >= 0.91, case
        assert case["bootstrap_t"] >= 0.88 or case["doubted"] > 0.9, case
