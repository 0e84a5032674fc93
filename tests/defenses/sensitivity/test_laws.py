"""Are angles fitted by their law, and is eq. 8 as likely as draws from it say?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from torchattacks_ext import ConfigError, InputError
from torchattacks_ext.defenses.sensitivity.laws import (
    empirical_probability,
    fit_truncated,
    largest_gap,
)

N = 40_000
PUBLISHED = [
    # ImageNet ResNet-50, degrees: linear own, linear others; distance own, distance others
    (66.81, 5.56),
    (90.01, 3.02),
    (74.3, 7.9),
    (101.3, 4.3),
]


def drawn(parts: Any, n: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    which = rng.choice(len(parts), p=[part[0] for part in parts], size=n)
    found = np.empty(n)
    for k, (_, mean, width) in enumerate(parts):
        rows = which == k
        ends = (-mean / width, (math.pi - mean) / width)
        law = stats.truncnorm(*ends, loc=mean, scale=width)
        found[rows] = law.rvs(int(rows.sum()), random_state=rng)
    return found


def mixed(own: tuple[float, float], other: tuple[float, float]) -> Any:
    one, two = ([math.radians(x) for x in pair] for pair in (own, other))
    return [(0.1, *one), (0.9, *two)]


CASES = [
    (mixed(*PUBLISHED[:2]), mixed(*PUBLISHED[2:]), [(1.0, 1.5, 0.2)]),
    ([(1.0, 1.2, 1.0)], [(0.5, 0.2, 0.3), (0.5, 2.9, 0.8)], [(1.0, 1.3, 0.9)]),
]


@pytest.mark.parametrize("case", CASES, ids=["published", "wide"])
def test_the_probability_is_that_of_draws(case: Any) -> None:
    c, d, g = (drawn(parts, N, seed) for seed, parts in enumerate(case))
    share = np.mean(np.abs(np.cos(c)) <= np.abs(np.cos(g) * np.sin(d)))
    slack = 5.5 * 0.5 / N**0.5  # off by that with probability < 4e-8
    assert abs(empirical_probability(*case) - share) < slack


@pytest.mark.parametrize(
    "law", [(1.5, 0.1), (0.1, 0.5), (-0.3, 0.3), (1.6, 2.0), (3.1, 0.05)]
)
def test_a_fit_finds_the_law(law: tuple[float, float]) -> None:
    found = drawn([(1.0, *law)], N, 3)
    fitted = fit_truncated(found)
    # Kolmogorov's gap of N draws of the law itself is larger than this once in 1e8
    assert largest_gap(found, *fitted) < 3.1 / N**0.5
    assert largest_gap(found, law[0] + 0.2, law[1]) > 3.1 / N**0.5
    if law == (1.5, 0.1):
        assert np.allclose(fitted, law, atol=0.005)


def test_equal_angles_have_a_law_of_no_width() -> None:
    mean, width = fit_truncated([1.0, 1.0, 1.0])
    assert mean == pytest.approx(1.0) and 0 < width < 1e-5


def test_refusals() -> None:
    for angles in ([1.0], [0.5, 3.3], [0.5, math.nan], [[0.5, 0.6]]):
        with pytest.raises(InputError, match="radians"):
            fit_truncated(angles)
    one = [(1.0, 1.5, 0.1)]
    with pytest.raises(ConfigError, match="weights of step"):
        empirical_probability(one, one, [(0.5, 1.5, 0.1)])
