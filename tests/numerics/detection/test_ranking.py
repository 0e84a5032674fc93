"""Are AUROC, average precision and FPR95 what pairs, steps and closed forms say, ties included?"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats

from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.numerics.detection.ranking import (
    auroc,
    average_precision,
    false_positive_rate,
    gaussian_auroc,
)


def auroc_naive(inside: np.ndarray, outside: np.ndarray) -> float:
    wins = [1.0 if o > i else 0.5 * (o == i) for i, o in product(inside, outside)]
    return sum(wins) / len(wins)


def average_precision_naive(inside: np.ndarray, outside: np.ndarray) -> float:
    total, before = 0.0, 0.0
    for t in sorted({*inside, *outside}, reverse=True):
        true, false = (outside >= t).sum(), (inside >= t).sum()
        recall = true / len(outside)
        total += (recall - before) * true / (true + false)
        before = recall
    return total


def false_positive_rate_naive(
    inside: np.ndarray, outside: np.ndarray, share: float, positive: str
) -> float:
    """The least of all thresholds, one at each score and one beyond them."""
    found = []
    for t in [-math.inf, *inside, *outside, math.inf]:
        if positive == "inside":
            kept, other = (inside <= t).mean(), (outside <= t).mean()
        else:
            kept, other = (outside >= t).mean(), (inside >= t).mean()
        if kept >= share - 1e-12:
            found.append(other)
    return min(found)


def draws(seed: int, n: int, m: int, digits: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    return draw.normal(size=n).round(digits), draw.normal(0.7, 1.3, m).round(digits)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("digits", [0, 1, 9])
def test_each_is_its_slow_twin(seed: int, digits: int) -> None:
    inside, outside = draws(seed, 17 + seed, 40 - 5 * seed, digits)
    pair = inside, outside
    assert auroc(*pair) == pytest.approx(auroc_naive(*pair), abs=1e-12)
    assert average_precision(*pair) == pytest.approx(
        average_precision_naive(*pair), abs=1e-12
    )
    for share, positive in product((0.5, 0.9, 0.95, 1.0), ("inside", "outside")):
        ours = false_positive_rate(*pair, share, positive)  # type: ignore[arg-type]
        assert ours == pytest.approx(
            false_positive_rate_naive(*pair, share, positive), abs=1e-12
        )


def test_a_normal_shift_has_the_closed_form() -> None:
    n, d = 20_000, 1.5
    grid = stats.norm.ppf((np.arange(n) + 0.5) / n)  # quantiles, not draws: no luck
    assert auroc(grid, grid + d) == pytest.approx(gaussian_auroc(d), abs=1e-5)
    assert gaussian_auroc(d) == pytest.approx(stats.norm.cdf(d / math.sqrt(2)))
    passed = stats.norm.cdf(stats.norm.ppf(0.95) - d)
    for positive in ("inside", "outside"):
        found = false_positive_rate(grid, grid + d, positive=positive)
        assert found == pytest.approx(passed, abs=1e-4)


def test_the_two_fpr95_are_other_numbers() -> None:
    inside, outside = np.arange(100.0), np.concatenate(
        [np.zeros(10), 200 + np.arange(90)]
    )
    assert false_positive_rate(inside, outside, positive="inside") == 0.1
    assert false_positive_rate(inside, outside, positive="outside") == 1.0


def test_scores_that_a_float32_sigmoid_makes_ties_stay_apart() -> None:
    inside, outside = torch.arange(50.0) + 700, torch.arange(50.0) + 760
    squashed = torch.sigmoid(inside).double(), torch.sigmoid(outside).double()
    assert auroc(*squashed) == 0.5  # what must not happen
    assert auroc(inside, outside) == 1.0
    assert auroc(outside, inside) == 0.0


def test_one_tie_of_all_says_nothing() -> None:
    inside, outside = np.ones(30), np.ones(10)
    assert auroc(inside, outside) == 0.5
    assert average_precision(inside, outside) == 0.25  # no trapezoid up to 1
    assert false_positive_rate(inside, outside) == 1.0


def test_infinite_scores_are_the_ends() -> None:
    assert auroc([-math.inf, 0.0], [math.inf, 0.0]) == 0.875


@pytest.mark.parametrize(
    ("inside", "outside", "match"),
    [
        ([], [1.0], "no inside score"),
        ([1.0], [], "no outside score"),
        ([1.0, math.nan], [1.0], "1 inside scores are nan"),
        ([[1.0]], [1.0], "expected \\(N,\\)"),
    ],
)
def test_what_is_no_pair_of_columns_is_refused(
    inside: list[float], outside: list[float], match: str
) -> None:
    for number in (auroc, average_precision, false_positive_rate):
        with pytest.raises(InputError, match=match):
            number(inside, outside)


def test_a_share_and_a_class_must_be_ones() -> None:
    with pytest.raises(ConfigError, match="share=95 is not in"):
        false_positive_rate([0.0], [1.0], 95)
    with pytest.raises(ConfigError, match="positive='ood' is not one of"):
        false_positive_rate([0.0], [1.0], 0.95, "ood")  # type: ignore[arg-type]
