"""How many of M rows must be drawn for an interval of a given half width? Exact, by search."""

from __future__ import annotations

import math
from bisect import bisect_left
from functools import lru_cache

from ...errors import ConfigError
from ..arguments import check_probabilities, is_whole
from .finite import hypergeometric_bounds


def sample_size(size: int, rate: float, half_width: float, error: float) -> int:
    """Return the least n whose exact interval is short enough if a share `rate` is broken.

    That is ``(upper - lower) / 2 <= half_width`` rows of :func:`.finite.hypergeometric_bounds` at
    ``k = n rate``, ``error / 2`` each side, between whole k in proportion. The outcome decides the
    length that it really has: more broken rows than guessed make it longer, not wrong.

    Args:
        size: rows of the set, at least 0.
        rate: guessed share of broken rows, in [0, 1].
        half_width: in rows, >= 0.
        error: probability that the interval is wrong, in (0, 1).

    Raises:
        ConfigError: Arguments outside their domain.

    Example:
        >>> [sample_size(5000, rate, 100, 0.05) for rate in (0, 0.01, 0.5)]
        [90, 153, 1642]
    """
    check_probabilities(error=error)
    if not is_whole(size, 0):
        raise ConfigError(f"size={size!r} must be an integer >= 0")
    if not 0 <= rate <= 1 or not half_width >= 0:
        raise ConfigError(
            f"rate={rate!r} must be in [0, 1] and half_width={half_width!r} >= 0, in rows"
        )
    return _least(int(size), float(rate), float(half_width), float(error))


@lru_cache(maxsize=256)
def _least(size: int, rate: float, half_width: float, error: float) -> int:
    if size <= 2 * half_width:
        return 0

    def length(k: int, n: int) -> int:
        lower, upper = hypergeometric_bounds(k, n, size, error / 2)
        return upper - lower

    def short(n: int) -> bool:
        part, k = math.modf(n * rate)
        ends = length(int(k), n), length(min(int(k) + 1, n), n)
        return (1 - part) * ends[0] + part * ends[1] <= 2 * half_width

    return bisect_left(range(size), True, key=short)
