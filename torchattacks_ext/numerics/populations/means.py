"""Between what numbers does a mean lie, if each row has a number in [0, 1]? Bets against a mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import ConfigError

_BET = 0.5
"""Most of the capital that one row may cost."""
_HALVINGS = 40


def mean_interval(values: Any, confidence: float = 0.95) -> tuple[float, float]:
    """(low, high) of the mean of the source, two-sided and valid for every number of rows.

    values: (n,) independent draws in [0, 1], of any law. Against each candidate m two gamblers bet,
    one that the mean is larger, one that it is smaller; their capital is a product of 1 +- l_t
    (x_t - m), with stakes l_t = sqrt(2 log(2 / a) / (n v_t)) by the variance v_t of the rows
    before, at most 1/2 of what a row may cost. m is left out when a capital has ever been
    2 / a, a = 1 - confidence: by Ville's inequality that happens to the true mean with probability
    at most a. (0, 1) without rows. Waudby-Smith and Ramdas, "Estimating means of bounded random
    variables by betting", J. R. Stat. Soc. B 86, 2024 (arXiv:2010.09686), section 4.4. The ends
    depend on the order of the rows, a little. Cost: 80 passes over the rows. Raises ConfigError for
    other values, or a confidence outside (0, 1).

    >>> [round(end, 3) for end in mean_interval([0.5] * 100)]
    [0.465, 0.535]
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or (x.size and not ((x >= 0) & (x <= 1)).all()):
        raise ConfigError(
            "values must be (n,) numbers in [0, 1]; divide counts by their most"
        )
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence={confidence} must lie in (0, 1), say 0.95")
    if not x.size:
        return 0.0, 1.0
    needed = np.log(2 / (1 - confidence))
    stakes = _stakes(x, needed)
    low = _least(lambda m: _richest(x, stakes, m) < needed)
    high = 1 - _least(lambda m: _richest(1 - x, stakes, m) < needed)
    return min(low, float(x.mean())), max(high, float(x.mean()))


def _stakes(x: np.ndarray[Any, Any], needed: float) -> np.ndarray[Any, Any]:
    """(n,) stakes; each knows the rows before it."""
    seen = np.arange(1, len(x) + 1)
    mean = (0.5 + np.cumsum(x)) / (seen + 1)
    spread = (0.25 + np.cumsum((x - mean) ** 2)) / (seen + 1)
    before = np.concatenate([[0.25], spread[:-1]])
    stakes: np.ndarray[Any, Any] = np.sqrt(2 * needed / (len(x) * before))
    return stakes


def _richest(x: np.ndarray[Any, Any], stakes: np.ndarray[Any, Any], m: float) -> float:
    """The largest log capital of the gambler that bets on a mean above m."""
    most = _BET / max(m, 1e-300)
    gains = np.log1p(np.minimum(stakes, most) * (x - m))
    return float(np.cumsum(gains).max())


def _least(keeps: Callable[[float], bool]) -> float:
    """The least m in [0, 1] that is kept, from below; `keeps` is false, then true."""
    low, high = 0.0, 1.0
    if keeps(low):
        return 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if keeps(middle) else (middle, high)
    return low
