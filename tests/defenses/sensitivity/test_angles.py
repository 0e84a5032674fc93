"""Is the paper's law of isotropic angles computed as published, and as chance has it?"""

from __future__ import annotations

import numpy as np
import pytest

from torchattacks_ext import ConfigError
from torchattacks_ext.defenses.sensitivity.angles import (
    isotropic_law,
    isotropic_probability,
)

PUBLISHED = [
    # (v, d, F_X(v))
    (0.5, 10, 0.8557311988),
    (0.9, 10, 0.9970709826),
    (1.0, 10, 0.9990356142),
    *zip(
        [c / 10**0.5 for c in (0.5, 1, 2)],
        [10] * 3,
        [0.33919208, 0.62760641, 0.94473743],
    ),
    *zip(
        [c / 10 for c in (0.5, 1, 2)], [100] * 3, [0.37872369, 0.67778339, 0.95392941]
    ),
    *zip(
        [c / 512**0.5 for c in (0.5, 1, 2)],
        [512] * 3,
        [0.38210758, 0.68174175, 0.95439317],
    ),
]


@pytest.mark.parametrize(("v", "d", "value"), PUBLISHED)
def test_the_reference_values_of_eq_11(v: float, d: int, value: float) -> None:
    assert isotropic_law(v, d) == pytest.approx(value, abs=6e-9)


def test_the_law_is_a_distribution() -> None:
    assert isotropic_law(0.0, 10) == 0
    for d in (2, 10, 512):
        values = [isotropic_law(v, d) for v in (0.1, 0.5, 1.0, 3.0, 1e3, 1e6)]
        assert values == sorted(values) and values[-1] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("d", [2, 10, 100])
def test_the_law_is_that_of_drawn_angles(d: int) -> None:
    n, v = 200_000, 1.2 / d**0.5
    rng = np.random.default_rng(0)
    squares = [
        rng.beta(0.5, (d - 1) / 2, n) for _ in range(3)
    ]  # cos^2 of isotropic angles
    fixed = np.mean(squares[0] <= v**2 * (1 - squares[1]))
    drawn = np.mean(squares[0] <= squares[2] * (1 - squares[1]))
    slack = 5.5 * 0.5 / n**0.5  # a share is off by that with probability < 4e-8
    assert abs(fixed - isotropic_law(v, d)) < slack
    assert abs(drawn - isotropic_probability(d)) < slack


def test_with_an_isotropic_perturbation_the_chance_is_a_half_from_below() -> None:
    # rounded in the source of these values: .4798, .4986, .4999, from draws
    for d, value in ((10, 0.4798), (100, 0.4986), (512, 0.4999)):
        assert isotropic_probability(d) == pytest.approx(value, abs=1e-3)
        assert isotropic_probability(d) < 0.5


def test_values_outside_the_domain_are_refused() -> None:
    for v, d in ((-0.1, 10), (float("nan"), 10), (0.5, 1)):
        with pytest.raises(ConfigError, match="must be"):
            isotropic_law(v, d)
