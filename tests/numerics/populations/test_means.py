"""Do the bets hold their level, and is the mean corruption error what one computes by hand?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from torchattacks_ext.errors import ConfigError
from torchattacks_ext.numerics.populations.mce import ALEXNET, corruption_errors
from torchattacks_ext.numerics.populations.means import mean_interval


def capital(x: Any, m: float, confidence: float) -> float:
    """The capital of the gambler for larger means, row by row, as published."""
    n, mean, spread, out, best = len(x), 0.5, 0.25, 1.0, 0.0
    seen: list[float] = []
    squares = 0.25
    for value in x:
        stake = np.sqrt(2 * np.log(2 / (1 - confidence)) / (n * spread))
        out *= 1 + min(stake, 0.5 / m) * (value - m)
        best = max(best, out)
        seen.append(value)
        mean = (0.5 + sum(seen)) / (len(seen) + 1)
        squares += (value - mean) ** 2
        spread = squares / (len(seen) + 1)
    return best


@pytest.mark.parametrize("confidence", [0.9, 0.99])
def test_ends_are_where_a_gambler_wins(confidence: float) -> None:
    x = np.random.default_rng(3).random(60) ** 2
    low, high = mean_interval(x, confidence)
    limit = 2 / (1 - confidence)
    for side, data in ((low, x), (1 - high, 1 - x)):
        assert capital(data, side - 1e-6, confidence) > limit
        assert capital(data, side + 1e-6, confidence) < limit


def test_the_level_is_held() -> None:
    random, missed = np.random.default_rng(0), 0
    for _ in range(100):
        x = random.integers(0, 76, 100) / 75 * (random.random(100) < 0.6)
        low, high = mean_interval(x, 0.9)
        missed += not low <= 0.3 <= high
    assert missed <= 21  # Bin(100, .1) is above with probability 3e-4


def test_edges() -> None:
    assert mean_interval([]) == (0.0, 1.0)
    assert mean_interval([1.0] * 100)[1] == 1.0 and mean_interval([0.0] * 9)[0] == 0.0
    for values in ([1.1], [np.nan], [[0.5]]):
        with pytest.raises(ConfigError, match=r"in \[0, 1\]"):
            mean_interval(values)
    with pytest.raises(ConfigError, match="confidence=1"):
        mean_interval([0.5], 1)


def test_corruption_errors_by_hand() -> None:
    errors = {"fog": [0.1, 0.3], "snow": [0.5, 0.7]}
    base = {"fog": 0.4, "snow": 0.75, "clean": 0.15}
    found = corruption_errors(errors, base)
    assert found == {"fog": pytest.approx(0.5), "snow": pytest.approx(0.8)}
    more = corruption_errors(errors, base, clean=0.05)
    assert more == {"fog": pytest.approx(0.6), "snow": pytest.approx(0.55 / 0.6)}


def test_a_baseline_must_fit() -> None:
    with pytest.raises(ConfigError, match="no error of rain"):
        corruption_errors({"rain": [0.1]}, {"fog": 0.4})
    with pytest.raises(ConfigError, match="no error of clean"):
        corruption_errors({"fog": [0.1]}, {"fog": 0.4}, clean=0.1)
    with pytest.raises(ConfigError, match="nothing can be divided"):
        corruption_errors({"fog": [0.1]}, {"fog": 0.4, "clean": 0.4}, clean=0.1)


def test_alexnet_is_the_published_one() -> None:
    each = [value for name, value in ALEXNET.items() if name != "clean"]
    assert len(each) == 15 and sum(each) / 15 == pytest.approx(0.788993, abs=2e-5)
