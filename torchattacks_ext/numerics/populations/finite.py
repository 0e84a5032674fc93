"""How many of M rows are broken, if k of n drawn without replacement are? Exact, hypergeometric.

X ~ Hyp(M, K, n) counts the broken ones of n rows drawn from M with K broken ones. The limits

    upper = max {K : P(X <= k | K) > a},     lower = min {K : P(X >= k | K) > a}

invert its two tails (Wright 1991, Exact confidence bounds when sampling from small finite
universes): each is wrong with probability at most a, whatever K, M and n, for an n that does not
depend on the outcomes. No approximation enters but that of float64, for which the level is lowered
by a millionth.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import index

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ...errors import ConfigError
from ..arguments import check_probabilities, is_whole

FloatArray = NDArray[np.float64]
ROUNDING = 1e-6
"""More than the relative error of a tail in float64, up to 10^7 rows; levels are lowered by it."""


def hypergeometric_bounds(
    broken: int, drawn: int, size: int, significance: float
) -> tuple[int, int]:
    """Return (lower, upper) for the number of broken rows among `size`.

    Args:
        broken, drawn: broken rows among those drawn at random without replacement, and all drawn.
        size: rows of the set, at least 1. All drawn: both limits are `broken`.
        significance: probability that one limit is wrong, in (0, 1).

    Raises:
        ConfigError: Counts or level outside their domain.

    Example:
        >>> hypergeometric_bounds(0, 100, 500, 0.025), hypergeometric_bounds(3, 100, 500, 0.025)
        ((0, 16), (4, 39))
    """
    check_counts(broken, drawn, size)
    check_probabilities(significance=significance)
    k, n, m = index(broken), index(drawn), index(size)
    return m - _most(n - k, n, m, significance), _most(k, n, m, significance)


def _most(k: int, n: int, m: int, significance: float) -> int:
    """The largest K in [k, m - n + k] with P(X <= k | K) above the level; at K = k it is 1."""
    level = significance * (1 - ROUNDING)
    candidates = range(k + 1, m - n + k + 1)

    def refuted(total: int) -> bool:
        return float(tail_below(k, n, m, total)) <= level

    return k + bisect_left(candidates, True, key=refuted)


def tail_below(k: int, n: int, m: int, total: int) -> float:
    """P(X <= k) for X ~ Hyp(m, total, n): the sum of its terms, so that small ones keep digits.

    >>> round(tail_below(0, 2, 4, 2), 12)
    0.166666666667
    """
    low = max(0, n - (m - total))
    terms = np.arange(low, min(k, n, total) + 1)
    return min(1.0, float(probabilities(terms, n, m, np.array(total)).sum()))


def probabilities(
    k: NDArray[np.int64], n: int, m: int, total: NDArray[np.int64]
) -> FloatArray:
    """P(X = k) for X ~ Hyp(m, total, n), of integer arrays that broadcast; 0 where impossible."""
    rest = m - total
    possible = (k >= 0) & (k <= total) & (n - k >= 0) & (n - k <= rest)
    k = np.where(possible, k, np.maximum(0, n - rest))
    logs = _choose(total, k) + _choose(rest, n - k) - _choose(np.array(m), np.array(n))
    return np.where(possible, np.exp(logs), 0.0)


def _choose(n: NDArray[np.int64], k: NDArray[np.int64]) -> FloatArray:
    found: FloatArray = (
        special.gammaln(n + 1.0)
        - special.gammaln(k + 1.0)
        - special.gammaln(n - k + 1.0)
    )
    return found


def check_counts(broken: int, drawn: int, size: int) -> None:
    """Raises ConfigError unless 0 <= broken <= drawn <= size, all integers.

    >>> check_counts(1, 2, 3)
    """
    whole = all(is_whole(value, 0) for value in (broken, drawn, size))
    if not whole or not broken <= drawn <= size:
        raise ConfigError(
            f"broken={broken!r}, drawn={drawn!r}, size={size!r} must be integers with "
            "0 <= broken <= drawn <= size"
        )
