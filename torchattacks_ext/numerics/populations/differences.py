"""How much do two shares differ? Intervals of a difference, of two samples or of one seen twice.

Both are score intervals, at least as wide as their single shares make them; nominal, not exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy import optimize, stats

from ...errors import ConfigError
from ..arguments import check_confidence
from ..rates.binomial import clopper_pearson

_MOST = 1e9


def unpaired_interval(
    k: int, n: int, other: int, m: int, confidence: float = 0.95
) -> tuple[float, float]:
    """An interval of p - q, where k of n and `other` of m independent rows are right.

    Newcombe's hybrid (1998, method 10) over the exact intervals of both shares (Clopper & Pearson
    1934), d - sqrt((p - l)^2 + (u' - q)^2) and so on: it covers at least as often as that over
    Wilson's. Raises ConfigError for counts that are none, or a confidence outside (0, 1).

    >>> low, high = unpaired_interval(90, 100, 80, 100)
    >>> round(low, 3), round(high, 3)
    (-0.006, 0.205)
    """
    check_confidence(confidence)
    _check(k, n)
    _check(other, m)
    p, q = k / n, other / m
    low, high = (float(side) for side in clopper_pearson(k, n, confidence))
    least, most = (float(side) for side in clopper_pearson(other, m, confidence))
    d = p - q
    down, up = math.hypot(p - low, most - q), math.hypot(high - p, q - least)
    return max(d - down, -1.0), min(d + up, 1.0)


def paired_interval(
    only: int, other: int, n: int, confidence: float = 0.95
) -> tuple[float, float]:
    """An interval of p - q, where `only` of n rows are right only this time, `other` only that.

    Tango's score interval (1998): all d whose score statistic
    (b - c - n d) / sqrt(n (2 q(d) + d (1 - d))) is no larger than the normal quantile, with q(d)
    the maximum-likelihood share of c at that d. At d = 0 it is McNemar's test. Raises ConfigError
    as :func:`unpaired_interval`.

    >>> low, high = paired_interval(12, 2, 100)
    >>> round(low, 3), round(high, 3)
    (0.031, 0.182)
    """
    check_confidence(confidence)
    for count in (only + other, only, other):
        _check(count, n)
    z = float(stats.norm.ppf((1 + confidence) / 2))
    d = (only - other) / n

    def excess(delta: float, sign: int) -> float:
        return min(max(sign * _score(only, other, n, delta) - z, -_MOST), _MOST)

    low = _root(lambda delta: excess(delta, 1), -1.0, d)
    high = _root(lambda delta: excess(delta, -1), d, 1.0)
    return low, high


def mcnemar(only: int, other: int) -> float:
    """The exact two-sided p-value that both times are as often right (McNemar 1947).

    Binomial on the rows that changed: min(1, 2 P(X <= min)), X ~ B(b + c, 1/2); 1 where none did.

    >>> mcnemar(0, 0), mcnemar(8, 0)
    (1.0, 0.0078125)
    """
    changed = only + other
    for count in (only, other):
        _check(count, changed or 1)
    if not changed:
        return 1.0
    return min(1.0, 2 * float(stats.binom.cdf(min(only, other), changed, 0.5)))


def _score(b: int, c: int, n: int, delta: float) -> float:
    """Tango's statistic, falling in delta."""
    top = b - c - n * delta
    first = -b - c + (2 * n - b + c) * delta
    root = math.sqrt(max(first**2 + 8 * n * c * delta * (1 - delta), 0.0))
    share = (root - first) / (4 * n)
    spread = n * (2 * share + delta * (1 - delta))
    if spread <= 0:
        return 0.0 if top == 0 else math.copysign(math.inf, top)
    return top / math.sqrt(spread)


def _root(excess: Callable[[float], float], low: float, high: float) -> float:
    """Where it changes its sign between these; the nearer end where it does not."""
    ends = excess(low), excess(high)
    if ends[0] * ends[1] >= 0:
        return low if abs(ends[0]) < abs(ends[1]) else high
    return float(optimize.brentq(excess, low, high, xtol=1e-10))


def _check(k: int, n: int) -> None:
    if not 0 <= k <= n or n < 1:
        raise ConfigError(
            f"{k} of {n} is no share; give 0 <= k <= n with n of at least 1"
        )
