"""Does the sequential test err and cost exactly as often and as much as it should?

Every number is the exact distribution of the failures, draw by draw: nothing is random.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from torchattacks_ext.numerics.evalues import bar_of, failure_bounds
from torchattacks_ext.numerics.sequential import (
    Boundaries,
    boundaries,
    greatest_n_to_refute,
    least_n_to_certify,
    log_e_high,
    log_e_low,
)

IntArray = NDArray[np.int64]


class Outcome(NamedTuple):
    """Exact operating characteristics of one test at one p_fail."""

    certified: float
    refuted: float
    undecided: float
    mean_n: float


def play(
    p: float, looks: IntArray, certify_at: IntArray, refute_at: IntArray
) -> Outcome:
    """The exact distribution of the failures, draw by draw, absorbed at the looks."""
    size = int(min(refute_at.max(), looks[-1])) + 2
    alive = np.zeros(size)
    alive[0] = 1.0
    certified = refuted = mean_n = 0.0
    done = 0
    for look, low, high in zip(looks.tolist(), certify_at.tolist(), refute_at.tolist()):
        for _ in range(look - done):
            failed = alive[:-1] * p
            alive[:-1] -= failed  # the last entry means "or more"
            alive[1:] += failed
        done = look
        safe, bad = alive[: low + 1].sum(), alive[high:].sum()
        alive[: low + 1] = 0
        alive[high:] = 0
        certified, refuted = certified + safe, refuted + bad
        mean_n += look * (safe + bad)
    rest = float(alive.sum())
    assert abs(certified + refuted + rest - 1) < 1e-9
    return Outcome(float(certified), float(refuted), rest, float(mean_n + done * rest))


def at_every_draw(
    n_s: IntArray, m_s: IntArray, cap: int
) -> tuple[IntArray, IntArray, IntArray]:
    """Looks 1..cap and the counts that decide there, from n_s and m_s of s = 0, 1, ..."""
    n = np.arange(1, cap + 1)
    return (
        n,
        np.searchsorted(n_s, n, side="right") - 1,
        np.searchsorted(m_s, n, side="left"),
    )


def every_draw(tolerance: float, significance: float, cap: int):
    s = np.arange(int(2 * cap * tolerance + 60))
    n_s = least_n_to_certify(s, tolerance, significance)
    return at_every_draw(n_s, greatest_n_to_refute(s, tolerance, significance), cap)


def table_of(found: Boundaries) -> tuple[IntArray, IntArray, IntArray]:
    return found.looks, found.certify_at, found.refute_at


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
    often = play(tolerance, *every_draw(tolerance, 0.01, n_max))
    seldom = play(tolerance, *table_of(boundaries(tolerance, 0.01, n_max)))
    assert abs(often.certified - every) < 6e-9
    assert abs(seldom.certified - default) < 6e-9
    assert max(often.refuted, seldom.refuted) <= 0.01


def test_all_outcomes_at_the_tolerance():
    table = table_of(boundaries(0.01, 0.01, 20_000))
    found = play(0.01, *table)
    assert [round(v, 4) for v in found[:2]] == [0.0090, 0.0038]
    assert [round(v, 5) for v in found[:3]] == [0.00898, 0.00376, 0.98725]


def test_outcomes_if_the_budget_were_a_look():
    n, bar = 20_000, bar_of(0.01)
    looks, low, high = table_of(boundaries(0.01, 0.01, n))
    s = np.arange(n + 1)
    last_low = (log_e_low(n, s, 0.01) >= bar).sum() - 1
    last_high = n + 1 - (log_e_high(n, s, 0.01) >= bar).sum()
    table = np.append(looks, n), np.append(low, last_low), np.append(high, last_high)
    found = play(0.01, *table)
    assert round(found.certified, 5) == 0.00901
    assert max(found.certified, found.refuted) <= 0.01


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
    assert round(play(p, *table_of(boundaries(0.01, 0.01, 20_000))).mean_n) == expected


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
    table = at_every_draw(n_s, np.where(low < s, 0, low), cap)
    rates = [0, 0.1 * tolerance, half, tolerance, 2 * tolerance, 5 * tolerance]
    assert [round(play(p, *table).mean_n) for p in rates] == expected


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
    excluded = 1 - play(p, looks, low, high).undecided
    assert excluded <= 0.01
    assert p < 0.01 or excluded > 1e-4  # below, 1,500 draws say little
