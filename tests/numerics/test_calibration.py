"""Are softmax scores and the calibration error those of their definitions?"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from torchattacks_ext.numerics.calibration import (
    N_BINS,
    calibration_error,
    error_interval,
    near_an_edge,
    overconfidence,
    softmax_scores,
)


def naive_calibration_error(confidence, right):
    """The definition, bin by bin."""
    total = 0.0
    for b in range(1, N_BINS + 1):
        inside = [
            i for i, c in enumerate(confidence) if (b - 1) / N_BINS < c <= b / N_BINS
        ]
        if inside:
            gap = np.mean([right[i] for i in inside]) - np.mean(confidence[inside])
            total += len(inside) / len(confidence) * abs(gap)
    return total


@pytest.mark.parametrize("seed", range(3))
def test_calibration_error_is_that_of_its_definition(seed: int) -> None:
    draws = np.random.default_rng(seed)
    confidence, right = draws.uniform(0.1, 1, 200), draws.integers(0, 2, 200) * 1.0
    confidence[:15] = np.arange(1, 16) / 15  # every edge
    naive = naive_calibration_error(confidence, right)
    assert calibration_error(confidence, right) == pytest.approx(naive, rel=1e-12)


def test_softmax_scores_by_hand() -> None:
    logits = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]]))
    top, nll, brier = softmax_scores(logits, torch.tensor([1, 2])).tolist()
    assert top == pytest.approx([0.7, 0.5])
    assert nll == pytest.approx([-math.log(0.2), -math.log(0.5)])
    assert brier == pytest.approx([0.49 + 0.64 + 0.01, 0.0625 * 2 + 0.25])


def test_scores_of_huge_masked_and_broken_logits() -> None:
    inf, nan = math.inf, math.nan
    logits = torch.tensor([[1e4, -1e4], [0.0, -inf], [nan, 0.0]])
    top, nll, brier = softmax_scores(logits, torch.zeros(3, dtype=torch.long))
    assert top[:2].tolist() == [1.0, 1.0] and nll[:2].tolist() == [0.0, 0.0]
    assert brier[:2].tolist() == [0.0, 0.0] and bool(top[2].isnan())


def test_rows_near_an_edge_are_those_that_noise_may_move() -> None:
    edge = 7 / N_BINS
    found = near_an_edge(np.array([edge, edge + 9e-6, edge + 2e-5, 1.0, 1e-6]))
    assert found.tolist() == [True, True, False, False, False]


def test_a_calibrated_model_is_not_called_uncalibrated() -> None:
    """The error of a sample is above 0, and its interval reaches back to 0.

    Nominal misses are 5 %: 9 of 40 or more miss with a chance below 3e-4.
    """
    draws, misses, outside = np.random.default_rng(1), 0, 0
    for _ in range(40):
        confidence = draws.uniform(0.3, 1, 150)
        right = (draws.uniform(size=150) < confidence) * 1.0
        low, high = error_interval(confidence, right)
        assert 0 <= low <= high <= 1
        misses += low > 0.0
        gap, (least, most) = overconfidence(confidence, right)
        assert least <= gap <= most
        outside += not least <= 0 <= most
    assert misses < 9 and outside < 9


def test_overconfidence_has_a_sign() -> None:
    sure, wrong = np.ones(50), np.zeros(50)
    gap, (low, _) = overconfidence(sure, wrong)
    assert gap == 1.0 and low > 0.7
    assert overconfidence(np.zeros(50), np.ones(50))[0] == -1.0
    assert math.isnan(overconfidence(np.zeros(0), np.zeros(0))[0])
