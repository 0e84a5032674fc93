"""Does the estimate read the top of a planted spectrum, and does its interval cover it?

Random tests, each wrong less than 5e-8 of the time although all is well; less than 1e-6 together.
"""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from torchattacks_ext.numerics.fisher.blackbox.judge import Sketch, judge

RATE = 5e-8
GAP = [1.0] + [0.5] * 8
POWERS = [0.7**j for j in range(9)]


def sketches(spectrum: list[float], n: int, m: int, seed: int = 0) -> Sketch:
    """n sketches from m independent normal directions each; equal p, log lambda = 0."""
    generator = torch.Generator().manual_seed(seed)
    k = len(spectrum) + 1
    draws = torch.randn(k, k, generator=generator, dtype=torch.float64)
    draws[:, 0] = 1
    classes = torch.linalg.qr(draws).Q[:, 1:]  # at right angles to equal p
    root = torch.tensor(spectrum, dtype=torch.float64).sqrt() * math.sqrt(k)
    normal = torch.randn(n, m, k - 1, generator=generator, dtype=torch.float64)
    slopes, none = normal * root @ classes.mT, torch.zeros(0, dtype=torch.int64)
    flat = torch.zeros(n, k, dtype=torch.float64)
    end = dict(unseen=1.0, confidence=0.95, target=None)
    return judge(flat, slopes, slopes[:, :0], none, **end)  # type: ignore[arg-type]


def mean_and_slack(log_ratio: Tensor) -> tuple[float, float]:
    """Mean of the ratio, and how far it strays from its expectation but once in 1 / RATE."""
    ratio = log_ratio.exp()
    spread = float(ratio.std()) / len(ratio) ** 0.5
    return float(ratio.mean()), float(stats.norm.isf(RATE / 2)) * spread


@pytest.mark.parametrize("spectrum", [GAP, POWERS])
@pytest.mark.parametrize(("m", "asked"), [(100, 0.07), (250, 0.05)])
def test_the_black_box_does_not_read_high(
    spectrum: list[float], m: int, asked: float
) -> None:
    found = sketches(spectrum, 800, m)
    mean, slack = mean_and_slack(found.log_lam)
    assert abs(mean - 1) < asked + slack
    covered = int(((found.low <= 0) & (found.high >= 0)).sum())
    assert covered >= stats.binom.ppf(RATE, 800, 0.93)


def test_close_eigenvalues_read_high_without_the_correction() -> None:
    """Ratio .9, the case of untrained nets: 1.2 uncorrected, within .1 corrected."""
    found = sketches([0.9**j for j in range(9)], 800, 100)
    raw, slack = mean_and_slack(found.log_lam + found.bias)
    assert raw > 1.15 - slack
    mean, slack = mean_and_slack(found.log_lam)
    assert abs(mean - 1) < 0.07 + slack
    assert float(found.log_lam.square().mean()) < float(
        (found.log_lam + found.bias).square().mean()
    )


def test_a_tie_still_reads_high_but_half_as_much() -> None:
    found = sketches([1.0] * 9, 800, 100)
    mean, slack = mean_and_slack(found.log_lam)
    raw, raw_slack = mean_and_slack(found.log_lam + found.bias)
    assert 1.1 - slack < mean < 1.3 + slack
    assert mean - 1 - slack < 0.5 * (raw - 1) + raw_slack


def test_two_classes_have_no_bias_and_no_correction() -> None:
    found = sketches([1.0], 400, 50)
    assert float(found.bias.abs().max()) < 1e-12
    mean, slack = mean_and_slack(found.log_lam)
    assert abs(mean - 1) < slack
