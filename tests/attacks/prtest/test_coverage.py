"""Do the claims about a whole data set hold as often as they say, through PRTest itself?

200 data sets of 200 images with known failure rates. The same claims are held against 10,000 data
sets in tests/numerics, where the test is simulated without a model.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from torchattacks_ext import ProbRobustness, PRTest, ReliabilityWarning

TOLERANCE, LEVEL, ERROR = 0.05, 0.05, 0.05
N_SETS, N_IMAGES = 200, 200
RATE = 1e-7
"""Chance that one assertion fails although the claims hold as stated."""

MIXES = {
    "easy": ([0.0, 0.005, 0.02, 0.3], [0.7, 0.15, 0.1, 0.05]),
    "beside the tolerance": ([0.04, 0.0501, 0.06], [0.3, 0.5, 0.2]),
    "all just above": ([0.0501], [1.0]),
}


class Rates(nn.Module):
    """Class 1 where the first number is below the second: the failure rate of class 0."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 2)."""
        sign = 1 - 2 * (images[:, 0] < images[:, 1]).to(images.dtype)
        return torch.stack([sign, -sign], 1)


def first_number(images: Tensor, u: Any) -> Tensor:
    """A law that draws the first number uniformly and leaves the second one."""
    return torch.cat([u(1), images[:, 1:]], 1)


def measured(rates: np.ndarray, number: int) -> ProbRobustness:
    """PRTest on images with these failure rates, clean answers all right."""
    images = torch.stack([torch.ones(len(rates)), torch.from_numpy(rates).float()], 1)
    test = PRTest(
        Rates(),
        sampler=first_number,
        tolerance=TOLERANCE,
        significance=LEVEL,
        n_max=2000,
        n_mean=16,
        seed=number,
        batch_size=4096,
    )
    labels, ids = torch.zeros(len(rates), dtype=torch.long), list(range(len(rates)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        return test.measure(images, labels, ids=ids)


@pytest.mark.slow
@pytest.mark.parametrize("mix", MIXES)
def test_claims_about_a_data_set_miss_as_seldom_as_they_say(mix: str) -> None:
    """At most what Bin(200, .05) passes once in 1e7; the images are drawn anew for each set."""
    values, weights = map(np.asarray, MIXES[mix])
    share = float(weights[values <= TOLERANCE].sum())
    rng, misses = np.random.default_rng(1), np.zeros(5, dtype=int)
    for number in range(N_SETS):
        rates = rng.choice(values, size=N_IMAGES, p=weights)
        found = measured(rates, number).summary(confidence=1 - ERROR)
        lower, upper = found["population_bounds"]
        least, most = found["mean_failure_bounds"]
        true_mean = float(rates.mean())
        misses += np.array(
            [
                found["count_bound"] > (rates <= TOLERANCE).sum(),
                lower > share,
                upper < share,
                least > true_mean,
                most < true_mean,
            ]
        )
    assert misses.max() <= stats.binom.isf(RATE, N_SETS, ERROR), misses.tolist()


def test_one_data_set_says_what_it_should() -> None:
    """The bounds of one set contain what is known; false by luck with probability 2e-5 or so."""
    rates = np.repeat([0.0, 0.01, 0.5], [150, 30, 20])
    result = measured(rates, 7)
    found = result.summary(confidence=0.99999)
    assert found["count_bound"] <= 180 and found["certified"] >= 160
    low, high = found["mean_failure_bounds"]
    assert low <= rates.mean() <= high
    assert (result.n_mean == 16).all()
    exact = result.mean_failures[180:].double().mean() / 16
    assert 0.3 < float(exact) < 0.7  # 320 draws at one half: 7 standard deviations
