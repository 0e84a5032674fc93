"""Do the intervals of AUROC and the others hold the truth as often as they say?"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from torchattacks_ext.errors import ConfigError
from torchattacks_ext.numerics.detection.intervals import (
    Separation,
    numbers,
    separation,
)
from torchattacks_ext.numerics.detection.ranking import (
    auroc,
    average_precision,
    false_positive_rate,
    gaussian_auroc,
)


def sample(n: int, m: int, distance: float, seed: int = 0) -> Separation:
    draw = np.random.default_rng(seed)
    return separation(
        draw.normal(size=n), draw.normal(distance, size=m), n_resamples=400
    )


def test_values_are_those_of_the_ranking_and_lie_within_their_ends() -> None:
    draw = np.random.default_rng(3)
    pair = draw.normal(size=40), draw.normal(1, size=25)
    found = separation(*pair)
    assert found.auroc.value == auroc(*pair)
    assert found.average_precision.value == average_precision(*pair)
    assert found.fpr95_inside.value == false_positive_rate(*pair, 0.95, "inside")
    assert found.fpr95_outside.value == false_positive_rate(*pair, 0.95, "outside")
    assert numbers(*pair) == {k: ends.value for k, ends in vars(found).items()}
    for ends in vars(found).values():
        assert 0 <= ends.low <= ends.value <= ends.high <= 1


def test_of_a_perfect_score_the_interval_knows_how_few_images_said_so() -> None:
    few, many = sample(20, 20, 50.0), sample(400, 400, 50.0)
    for found in (few, many):
        assert found.auroc.value == found.auroc.high == 1
    assert few.auroc.low < 0.9 < 0.97 < many.auroc.low < 1
    assert many.fpr95_inside.low == 0 < many.fpr95_inside.high


def test_a_wrong_way_score_is_the_mirror() -> None:
    draw = np.random.default_rng(5)
    pair = draw.normal(size=60), draw.normal(1, size=60)
    one, two = separation(*pair), separation(-pair[0], -pair[1])
    assert two.auroc.value == pytest.approx(1 - one.auroc.value)
    assert two.auroc.low == pytest.approx(1 - one.auroc.high)
    assert two.auroc.high == pytest.approx(1 - one.auroc.low)


def test_the_same_scores_have_the_same_ends_and_more_confidence_has_wider_ones() -> (
    None
):
    draw = np.random.default_rng(8)
    pair = draw.normal(size=50), draw.normal(1, size=50)
    assert separation(*pair) == separation(*pair)
    narrow, wide = separation(*pair, 0.8).auroc, separation(*pair, 0.99).auroc
    assert wide.low < narrow.low < narrow.high < wide.high
    assert separation(*pair, seed=1).auroc.low != separation(*pair).auroc.low


def test_a_confidence_beyond_the_resamples_is_refused() -> None:
    with pytest.raises(ConfigError, match="confidence=95 is not in"):
        separation([0.0], [1.0], 95)
    with pytest.raises(ConfigError, match="too small for confidence=0.999"):
        separation([0.0], [1.0], 0.999, n_resamples=100)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "distance"), [(50, 0.0), (60, 2.0), (50, 5.0)])
def test_the_truth_is_covered(n: int, distance: float) -> None:
    """Fails by luck once in 1e6, if each interval covers in 93 % of the samples."""
    samples, held = 300, np.zeros(3)
    passed = stats.norm.cdf(stats.norm.ppf(0.95) - distance)
    truth = gaussian_auroc(distance), passed, passed
    for seed in range(samples):
        found = sample(n, n, distance, seed)
        ends = found.auroc, found.fpr95_inside, found.fpr95_outside
        held += [one.low <= value <= one.high for one, value in zip(ends, truth)]
    assert (held >= stats.binom.ppf(1e-6, samples, 0.93)).all()
