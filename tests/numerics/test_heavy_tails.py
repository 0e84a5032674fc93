"""Is it said where few rows carry a mean, and does bootstrap-t do what its formula says?"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from torchattacks_ext import FIMScore
from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.numerics.resampling import (
    bootstrap,
    bootstrap_t,
    carried_by_few,
    carriers,
    percentiles,
    resamples,
)

ROWS = np.exp(1.5 * np.random.default_rng(2).standard_normal(60))


def test_bootstrap_t_is_its_formula() -> None:
    """Row by row, from the same resamples."""
    t = []
    for part in resamples(60, 200, seed=3):
        for rows in part:
            drawn = ROWS[rows]
            t.append((drawn.mean() - ROWS.mean()) / drawn.std())
    low, high = percentiles(t, 0.9)
    wanted = ROWS.mean() - high * ROWS.std(), ROWS.mean() - low * ROWS.std()
    assert bootstrap_t(ROWS, 0.9, 200, seed=3) == pytest.approx(wanted, rel=1e-12)


def test_bootstrap_t_reaches_further_into_a_heavy_tail() -> None:
    percentile, t = bootstrap(ROWS, seed=1), bootstrap_t(ROWS, seed=1)
    assert t[0] > percentile[0] and t[1] > percentile[1]
    mirrored = bootstrap_t(-ROWS, seed=1)
    assert mirrored == pytest.approx((-t[1], -t[0]))


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_bootstrap_t_has_the_unit_of_the_rows(scale: float) -> None:
    wanted = [scale * end for end in bootstrap_t(ROWS, n_resamples=100)]
    found = bootstrap_t(scale * ROWS, n_resamples=100)
    assert found == pytest.approx(wanted, rel=1e-9, abs=0)


def test_bootstrap_t_at_its_edges() -> None:
    assert bootstrap_t([5.0, 5.0, math.nan]) == (5.0, 5.0)
    assert all(map(math.isnan, bootstrap_t([5.0])))
    assert all(map(math.isnan, bootstrap_t([1.0, math.inf])))
    low, high = bootstrap_t([0.0] * 9 + [1.0])  # many resamples are constant
    assert low < 0.1 < high == math.inf
    with pytest.raises(ConfigError):
        bootstrap_t([1.0, 2.0], confidence=1.0)
    with pytest.raises(InputError):
        bootstrap_t([[1.0, 2.0]])


def test_few_rows_that_carry_the_mean_are_counted() -> None:
    assert carriers([3.0] * 7 + [math.nan]) == pytest.approx(7)
    assert carriers([0.0, 0.0]) == carriers([]) == 0.0
    assert math.isnan(carriers([1.0, math.inf]))
    assert carriers([1e-200, 1e-200, 1e200]) == pytest.approx(1)
    rng = np.random.default_rng(0)
    assert carried_by_few(np.exp(3 * rng.standard_normal(200)))
    assert not carried_by_few(np.exp(0.5 * rng.standard_normal(200)))
    assert not carried_by_few(np.ones(5)) and not carried_by_few([])


def test_a_score_says_that_few_images_carry_its_mean() -> None:
    """Sensitivity of a linear softmax falls with exp(-margin): one image beside the edge rules."""

    def scores(images: torch.Tensor) -> torch.Tensor:
        first = 7 * images.flatten(1)[:, :1]
        return torch.cat([first, -first], dim=1)

    images = torch.zeros(40, 1, 1, 4)
    images[:, 0, 0, 0] = torch.linspace(0.01, 1.0, 40)
    result = FIMScore(scores, kl=False).measure(images, ids=range(40))
    codes = {flag.code: flag for flag in result.flags}
    assert "few_rows_carry_the_mean" in codes
    assert "read the median" in codes["few_rows_carry_the_mean"].message
    said = result.summary()
    assert said["r_norm_carriers"] < 10 and said["r_norm_interval"][0] >= 0
    assert said["median_interval"][0] <= said["median"] <= said["median_interval"][1]
