"""May one stop at any moment? The chance that the interval ever misses, summed over all paths."""

from __future__ import annotations

from collections import defaultdict
from itertools import product

import numpy as np
import pytest

from torchattacks_ext import ConfigError
from torchattacks_ext.numerics.populations.anytime import log_e, product_bounds


def ever_missed(sizes: tuple[int, ...], totals: tuple[int, ...], error: float) -> float:
    """Chance that the total leaves the interval at some moment; strata take turns.

    Exact: states are the counts of all strata, weighted with their chance.
    """
    wanted, missed = sum(totals), 0.0
    states = {(0,) * len(sizes): 1.0}
    drawn = [0] * len(sizes)
    for step in range(sum(sizes)):
        turn = step % len(sizes)
        if drawn[turn] == sizes[turn]:
            turn = next(i for i, n in enumerate(drawn) if n < sizes[i])
        after: dict[tuple[int, ...], float] = defaultdict(float)
        for broken, chance in states.items():
            left = sizes[turn] - drawn[turn]
            p = (totals[turn] - broken[turn]) / left
            for hit, weight in ((1, p), (0, 1 - p)):
                if weight > 0:
                    seen = list(broken)
                    seen[turn] += hit
                    after[tuple(seen)] += chance * weight
        drawn[turn] += 1
        states = {}
        for broken, chance in after.items():
            low, high = product_bounds(list(zip(sizes, drawn, broken)), error)
            if low <= wanted <= high:
                states[broken] = chance
            else:
                missed += chance
    return missed


@pytest.mark.parametrize("error", [0.1, 0.5])
def test_one_stratum_misses_at_most_at_its_level_at_any_time(error: float) -> None:
    for total in range(0, 15):
        assert ever_missed((14,), (total,), error) <= error + 1e-12


@pytest.mark.parametrize("totals", [(0, 0), (3, 0), (1, 4), (2, 2), (5, 7)])
def test_two_strata_in_turns_miss_at_most_at_their_level(
    totals: tuple[int, int],
) -> None:
    assert ever_missed((5, 7), totals, 0.3) <= 0.3 + 1e-12


def test_looking_again_with_the_limits_of_one_look_would_miss_more_often() -> None:
    """The planted mistake: fixed-size limits after every draw."""
    from torchattacks_ext.numerics.populations.finite import hypergeometric_bounds

    size, total, error = 40, 8, 0.2
    states, missed = {0: 1.0}, 0.0
    for n in range(1, size + 1):
        after: dict[int, float] = defaultdict(float)
        for k, chance in states.items():
            p = (total - k) / (size - n + 1)
            after[k + 1] += chance * p
            after[k] += chance * (1 - p)
        limits = {
            k: hypergeometric_bounds(k, n, size, error / 2) for k in after if k <= n
        }
        states = {
            k: c
            for k, c in after.items()
            if c and limits[k][0] <= total <= limits[k][1]
        }
        missed += sum(after.values()) - sum(states.values())
    assert missed > 1.5 * error
    assert ever_missed((size,), (total,), error) <= error


def test_the_merge_finds_the_minimum_over_all_splits() -> None:
    strata = [(12, 5, 1), (9, 3, 2), (6, 2, 0)]
    logs = [log_e(*one) for one in strata]
    least: dict[int, float] = {}
    for place in product(*(range(len(log)) for log in logs)):
        total = sum(k for _, _, k in strata) + sum(place)
        value = sum(float(log[i]) for log, i in zip(logs, place))
        least[total] = min(value, least.get(total, np.inf))
    for error in (0.5, 0.05, 0.001):
        kept = [total for total, value in least.items() if value < -np.log(error)]
        assert product_bounds(strata, error) == (min(kept), max(kept))


def test_log_e_is_convex_and_0_at_the_start() -> None:
    assert np.allclose(log_e(30, 0, 0), 0, atol=1e-9)
    for counts in ((30, 12, 0), (30, 12, 5), (200, 40, 39)):
        assert (np.diff(log_e(*counts), 2) > -1e-9).all()


def test_bad_counts_are_refused() -> None:
    with pytest.raises(ConfigError, match="drawn"):
        product_bounds([(3, 4, 0)], 0.05)
    with pytest.raises(ConfigError, match="no strata"):
        product_bounds([], 0.05)
