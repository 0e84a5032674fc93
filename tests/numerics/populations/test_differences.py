"""Do the intervals of a difference agree with their tests, published numbers and simulation?"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from torchattacks_ext.errors import ConfigError
from torchattacks_ext.numerics.populations.differences import (
    mcnemar,
    paired_interval,
    unpaired_interval,
)


def test_no_change_at_all_has_the_closed_form() -> None:
    """With b = c = 0 Tango's equation is n d^2 = z^2 (|d| - d^2)."""
    z2 = stats.norm.ppf(0.975) ** 2
    low, high = paired_interval(0, 0, 100)
    assert (-low, high) == pytest.approx((z2 / (100 + z2),) * 2, abs=1e-8)


@pytest.mark.parametrize(("b", "c", "n"), [(12, 2, 100), (3, 9, 40), (5, 5, 30)])
def test_the_ends_are_where_the_statistic_is_the_quantile(
    b: int, c: int, n: int
) -> None:
    """Against the maximum of the likelihood on a grid, not the quadratic formula."""
    z = stats.norm.ppf(0.975)
    for end in paired_interval(b, c, n):
        q = np.linspace(
            max(0, -end) + 1e-9, (1 - end) / 2 - 1e-9, 400_001
        )  # share of c
        likelihood = (
            b * np.log(q + end) + c * np.log(q) + (n - b - c) * np.log1p(-2 * q - end)
        )
        best = q[np.nanargmax(likelihood)]
        statistic = (b - c - n * end) / np.sqrt(n * (2 * best + end * (1 - end)))
        assert abs(statistic) == pytest.approx(z, abs=2e-3)


def test_ends_of_all_changes() -> None:
    assert paired_interval(100, 0, 100)[1] == 1.0
    assert paired_interval(0, 100, 100)[0] == -1.0
    low, high = paired_interval(12, 2, 100)
    assert paired_interval(2, 12, 100) == pytest.approx((-high, -low), abs=1e-8)


def test_mcnemar_is_the_binomial_test() -> None:
    for b, c in ((0, 0), (1, 0), (8, 0), (7, 12), (5, 5)):
        wanted = stats.binomtest(b, b + c).pvalue if b + c else 1.0
        assert mcnemar(b, c) == pytest.approx(wanted, abs=1e-12)


def test_two_samples_are_symmetric_and_reach_the_ends() -> None:
    low, high = unpaired_interval(90, 100, 40, 50)
    assert unpaired_interval(40, 50, 90, 100) == pytest.approx((-high, -low))
    assert unpaired_interval(10, 10, 0, 10)[1] == 1.0


@pytest.mark.parametrize("bad", [(5, 4, 1, 4), (-1, 4, 1, 4), (0, 0, 1, 4)])
def test_counts_that_are_none_are_refused(bad: tuple[int, int, int, int]) -> None:
    with pytest.raises(ConfigError, match="is no share"):
        unpaired_interval(*bad)
    with pytest.raises(ConfigError, match="is no share"):
        paired_interval(3, 2, 4)


@pytest.mark.parametrize(("p", "q"), [(0.1, 0.02), (0.05, 0.05), (0.3, 0.1)])
def test_pairs_cover(p: float, q: float) -> None:
    """Exact coverage over all outcomes of 30 pairs; nominal .95 within two points."""
    n, covered = 30, 0.0
    for b in range(n + 1):
        for c in range(n + 1 - b):
            chance = stats.multinomial.pmf([b, c, n - b - c], n, [p, q, 1 - p - q])
            if chance > 1e-4:
                low, high = paired_interval(b, c, n)
                covered += chance * (low <= p - q <= high)
    assert 0.92 < covered < 0.98


@pytest.mark.parametrize(("p", "q"), [(0.9, 0.8), (0.5, 0.5), (0.99, 0.7)])
def test_two_samples_cover(p: float, q: float) -> None:
    n, m, covered = 20, 16, 0.0
    for k in range(n + 1):
        for other in range(m + 1):
            chance = stats.binom.pmf(k, n, p) * stats.binom.pmf(other, m, q)
            if chance > 1e-5:
                low, high = unpaired_interval(k, n, other, m)
                covered += chance * (low <= p - q <= high)
    assert 0.945 < covered <= 1
