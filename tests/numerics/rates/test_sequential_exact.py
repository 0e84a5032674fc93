"""Does the sequential test err and cost exactly as often and as much as it should?

Every number comes from the exact distribution of the failures: nothing is random.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from torchattacks_ext.numerics.rates.evalues import bar_of, failure_bounds
from torchattacks_ext.numerics.rates.operating import operating
from torchattacks_ext.numerics.rates.sequential import (
    Boundaries,
    boundaries,
    greatest_n_to_refute,
    least_n_to_certify,
    log_e_high,
    log_e_low,
)

IntArray = NDArray[np.int64]


def at_every_draw(n_s: IntArray, m_s: IntArray, tolerance: float, cap: int):
    """Looks 1..cap and the counts that decide there, from n_s and m_s of s = 0, 1, ..."""
    n = np.arange(1, cap + 1)
    certify_at = np.searchsorted(n_s, n, side="right") - 1
    refute_at = np.searchsorted(m_s, n, side="left")
    return Boundaries(tolerance, 0.01, n, certify_at, refute_at)


def every_draw(tolerance: float, cap: int) -> Boundaries:
    s = np.arange(int(2 * cap * tolerance + 60))
    n_s = least_n_to_certify(s, tolerance, 0.01)
    m_s = greatest_n_to_refute(s, tolerance, 0.01)
    return at_every_draw(n_s, m_s, tolerance, cap)


@pytest.mark.parametrize(
    "tolerance, n_max, every, default",
    [
        (0.01, 20_000, 0.00941774, 0.00898368),
        (0.01, 200_000, 0.00979699, 0.00914258),
        (0.001, 20_000, 0.00807345, 0.00807345),
        (0.001, 200_000, 0.00943112, 0.00896961),
        (0.1, 2_000, 0.00888225, 0.00844003),
    ],
)
def test_false_certificates_at_the_tolerance(tolerance, n_max, every, default: float):
    """Exact, at p_fail = tolerance: below 0.01 however often one looks."""
    often = operating(every_draw(tolerance, n_max), tolerance)
    seldom = operating(boundaries(tolerance, 0.01, n_max), tolerance)
    assert abs(often.certified - every) < 6e-9
    assert abs(seldom.certified - default) < 6e-9
    assert max(often.refuted, seldom.refuted) <= 0.01


def test_all_outcomes_at_the_tolerance():
    found = operating(boundaries(0.01, 0.01, 20_000), 0.01)
    assert [round(v, 4) for v in found[:2]] == [0.0090, 0.0038]
    assert [round(v, 5) for v in found[:3]] == [0.00898, 0.00376, 0.98725]


def test_outcomes_if_the_budget_were_a_look():
    n, bar = 20_000, bar_of(0.01)
    found, s = boundaries(0.01, 0.01, n), np.arange(n + 1)
    last_low = (log_e_low(n, s, 0.01) >= bar).sum() - 1
    last_high = n + 1 - (log_e_high(n, s, 0.01) >= bar).sum()
    pairs = [
        (found.looks, n),
        (found.certify_at, last_low),
        (found.refute_at, last_high),
    ]
    table = Boundaries(0.01, 0.01, *(np.append(column, last) for column, last in pairs))
    outcome = operating(table, 0.01)
    assert round(outcome.certified, 5) == 0.00901
    assert max(outcome.certified, outcome.refuted) <= 0.01


@pytest.mark.parametrize(
    "p, expected",
    [
        (0, 505),
        (1e-3, 730),
        (2.5e-3, 1285),
        (5e-3, 4158),
        (0.02, 1617),
        (0.05, 169),
        (0.9, 8),
    ],
)
def test_mean_cost(p: float, expected: int):
    assert round(operating(boundaries(0.01, 0.01, 20_000), p).mean_n) == expected


@pytest.mark.parametrize(
    "tolerance, cap, expected",
    [
        (0.1, 3 * 589, [49, 70, 350, 281, 42, 8]),
        (0.01, 3 * 6314, [505, 730, 3788, 2978, 450, 90]),
    ],
)
def test_mean_cost_of_refuting_half_the_tolerance(
    tolerance, cap: int, expected: list[int]
):
    """The published comparison: refute p_fail <= tolerance / 2, same prior, each draw a look."""
    half, s = tolerance / 2, np.arange(int(2 * cap * tolerance + 60))
    n_s = least_n_to_certify(s, tolerance, 0.01)
    low, high = s - 1, np.ceil(s / half).astype(np.int64) + 1
    while (high - low > 1).any():
        middle = np.maximum((low + high) // 2, s)
        good = log_e_high(middle, s, tolerance, threshold=half) >= bar_of(0.01)
        wide = high - low > 1
        low, high = np.where(wide & good, middle, low), np.where(
            wide & ~good, middle, high
        )
    table = at_every_draw(n_s, np.where(low < s, 0, low), tolerance, cap)
    rates = [0, 0.1 * tolerance, half, tolerance, 2 * tolerance, 5 * tolerance]
    assert [round(operating(table, p).mean_n) for p in rates] == expected


@pytest.mark.parametrize("p", [0.003, 0.02, 0.05, 0.3])
@pytest.mark.parametrize("which", [0, 1])
def test_bounds_cover_at_any_look(p: float, which: int):
    """P(some look's bound excludes p) <= significance, exactly, at rates off the tolerance."""
    looks = boundaries(0.01, 0.01, 1500).looks
    low, high = np.full(len(looks), -1), looks + 1
    for i, look in enumerate(looks):
        bound = failure_bounds(look, np.arange(look + 1), 0.01, 0.01)[which]
        if which == 0:
            high[i] = np.searchsorted(bound, p, side="right")
        else:
            low[i] = np.searchsorted(bound, p, side="left") - 1
    found = operating(Boundaries(0.01, 0.01, looks, low, high), p)
    excluded = found.certified + found.refuted
    assert excluded <= 0.01
    assert p < 0.01 or excluded > 1e-4  # below, 1,500 draws say little
