"""Does a spent budget cover the truth, cost little where it can, and look where it says?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binom

from torchattacks_ext import ConfigError
from torchattacks_ext.numerics.populations.spending import SpendSettings, Spent, spend

N, M = 1017, 567
"""Images, and survivors of the cheap attack."""


def population(
    broken: int, spread: float = 0.2, m: int = M, seed: int = 0
) -> np.ndarray:
    """Which rows are broken, the first (lowest) ones likelier."""
    rng = np.random.default_rng(seed)
    weights = np.exp(-np.arange(m) / (spread * m))
    truth = np.zeros(m, dtype=bool)
    truth[rng.choice(m, broken, replace=False, p=weights / weights.sum())] = True
    return truth


def run(truth: np.ndarray, n: int = N, **settings: Any) -> Spent:
    scores, ids = torch.arange(len(truth)).double(), torch.arange(len(truth))
    return spend(scores, ids, n, lambda rows: truth[rows], SpendSettings(**settings))


def check_coverage(broken: int, settings: Any, replays: int) -> None:
    """Fails by luck once in 1e6: the least number that an exact 95 % allows."""
    truth = population(broken)
    held = sum(
        spent.lower <= broken <= spent.upper
        for spent in (run(truth, seed=seed, **settings) for seed in range(replays))
    )
    assert held >= binom.ppf(1e-6, replays, 0.95)


@pytest.mark.parametrize("settings", [{}, {"method": "anytime"}])
def test_the_interval_covers_at_its_level(settings: Any) -> None:
    check_coverage(7, settings, 50)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "settings"),
    [
        (7, {}),
        (40, {}),
        (40, {"strata": 2}),
        (40, {"strata": 3, "combine": "split", "half_width": 0.03}),
        (40, {"method": "anytime", "strata": 2, "half_width": 0.03}),
        (200, {"exhaustive": 0, "half_width": 0.05}),
    ],
)
def test_the_interval_covers_at_its_level_often(broken: int, settings: Any) -> None:
    check_coverage(broken, settings, 1000)


@pytest.mark.parametrize("method", ["planned", "anytime"])
def test_few_looks_are_enough_where_little_is_broken(method: str) -> None:
    truth = population(69, 0.05, m=5575)
    spent = [run(truth, 10_000, method=method, seed=seed) for seed in range(8)]
    widths = [(one.upper - one.lower) / 2 / 10_000 for one in spent]
    assert np.mean(widths) <= 1.1 * 0.01
    assert (
        np.mean([one.looked.sum() for one in spent]) <= 440
    )  # a tenth of plain sampling


def test_what_was_looked_at_is_what_the_strata_say() -> None:
    truth = population(30)
    for settings in ({}, {"strata": 2}, {"method": "anytime", "strata": 4}):
        spent = run(truth, half_width=0.02, **settings)
        assert sum(one.size for one in spent.strata) == M
        assert sum(one.drawn for one in spent.strata) == spent.looked.sum()
        assert sum(one.broken for one in spent.strata) == spent.broken.sum()
        assert (spent.broken == (truth & spent.looked)).all()
        assert spent.looked[: int(0.01 * M)].all()  # the lowest scores
        assert spent.lower <= spent.estimate <= spent.upper


def test_everything_is_looked_at_where_it_is_asked() -> None:
    truth = population(30)
    for settings in (
        {"exhaustive": 1},
        {"half_width": 1e-9, "method": "anytime"},
    ):
        spent = run(truth, **settings)
        assert spent.looked.all() and spent.lower == spent.upper == 30


def test_a_stratum_that_is_through_keeps_its_factor() -> None:
    """Dropping it would make the product jump; the limits are those of all strata together."""
    from torchattacks_ext.numerics.populations.anytime import product_bounds

    truth = population(30, m=60)
    spent = run(truth, n=400, method="anytime", strata=3, exhaustive=0, chunk=1)
    first, *others = spent.strata
    assert first.size == 0 and any(not one.whole for one in others)
    counts = [one.counts for one in others]
    assert (spent.lower, spent.upper) == product_bounds(counts, 0.05)
    whole = product_bounds([(5, 5, 2), (40, 30, 3)], 0.05)
    alone = product_bounds([(40, 30, 3)], 0.05)
    assert whole != (2 + alone[0], 2 + alone[1])


def test_nothing_is_looked_at_where_all_could_be_broken() -> None:
    spent = run(population(3, m=20), n=2000, exhaustive=0)
    assert not spent.looked.any() and (spent.lower, spent.upper) == (0, 20)
    assert run(np.zeros(0, dtype=bool), n=10).upper == 0


def test_which_rows_are_looked_at_goes_by_their_ids() -> None:
    truth = population(30)
    ids = torch.arange(M) * 7919 + 5
    order = torch.from_numpy(np.random.default_rng(0).permutation(M))
    scores = torch.arange(M).double()
    settings = SpendSettings(half_width=0.03)
    one = spend(scores, ids, N, lambda rows: truth[rows], settings)
    moved = truth[order.numpy()]
    two = spend(scores[order], ids[order], N, lambda rows: moved[rows], settings)
    assert set(ids[one.looked].tolist()) == set(ids[order][two.looked].tolist())
    other = spend(
        scores, ids, N, lambda rows: truth[rows], SpendSettings(half_width=0.03, seed=1)
    )
    assert (other.looked != one.looked).any()


def test_no_row_is_asked_twice() -> None:
    asked: list[int] = []
    truth = population(50)

    def strike(rows: np.ndarray) -> np.ndarray:
        asked.extend(rows.tolist())
        return truth[rows]

    scores, ids = torch.full((M,), float("nan")), torch.arange(M)
    for method in ("planned", "anytime"):
        asked.clear()
        settings = SpendSettings(method=method, strata=2)  # type: ignore[arg-type]
        spent = spend(scores, ids, N, strike, settings)
        assert len(asked) == len(set(asked)) == spent.looked.sum()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"half_width": 0}, "half_width=0"),
        ({"exhaustive": 2}, "exhaustive=2"),
        ({"confidence": 1}, "confidence=1"),
        ({"method": "fast"}, "method='fast'"),
        ({"combine": "sum"}, "combine='sum'"),
        ({"pilot": 0}, "pilot=0"),
        ({"strata": 3}, "'joint' takes two"),
        ({"seed": 0.5}, "seed=0.5"),
    ],
)
def test_settings_outside_their_domain_are_refused(settings: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SpendSettings(**settings)
