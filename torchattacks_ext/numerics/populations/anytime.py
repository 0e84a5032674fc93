"""How many of all rows are broken, at any moment of a sequential look? A product of e-processes.

While rows of a stratum are drawn at random without replacement, k broken ones among n,

    E(K) = q(k, n) / (C(M - n, K - k) / C(M, K)),    q = mixture of Beta(a, b) over the sequence,

is the likelihood of the sequence under a prior over its law, by that under K: for the true K a
martingale from 1 (Waudby-Smith & Ramdas 2020, arXiv:2006.04347). With several strata the product
is one as well, whatever stratum is drawn next, if that depends on the past only. By Ville's
inequality it ever reaches 1 / a with probability at most a, so that

    {T : min over K_1 + .. + K_H = T of prod E_h(K_h) < 1 / a}

covers the true total at all times at once (the union over the nuisance, as in Spertus, Sridhar &
Stark, arXiv:2409.06680): one may stop when the interval is short enough. As ln E_h is convex in K_h
(C(K, k) C(M - K, n - k) is log-concave), the minimum for all T at once is a merge of increments.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ...errors import ConfigError
from ..arguments import check_probabilities
from .finite import ROUNDING, FloatArray, check_counts

Counts = tuple[int, int, int]
"""size, drawn, broken."""
PRIOR = ((0.75, 0.5, 50.0), (0.25, 0.5, 0.5))
"""(weight, a, b): few rows are broken, or any share. It decides the width, not the validity."""


def product_bounds(strata: Sequence[Counts], error: float) -> tuple[int, int]:
    """Return (lower, upper) for the broken rows of all strata, right at all times at once.

    Args:
        strata: (size, drawn, broken) of each, drawn at random without replacement; which stratum
            comes next, and when to stop, may depend on what was seen.
        error: probability that the interval is ever wrong, in (0, 1), both sides together.

    Raises:
        ConfigError: Counts or level outside their domain.

    Example:
        >>> product_bounds([(500, 100, 0)], 0.05), product_bounds([(500, 100, 3)], 0.05)
        ((0, 16), (3, 51))
        >>> product_bounds([(500, 0, 0)], 0.05)
        (0, 500)
    """
    check_probabilities(error=error)
    if not strata:
        raise ConfigError(
            "there are no strata; give at least one (size, drawn, broken)"
        )
    bound = math.log(1 / error) + ROUNDING
    least, down, up = 0, [], []
    level, steps = 0.0, 0
    for size, drawn, broken in strata:
        check_counts(broken, drawn, size)
        logs = log_e(size, drawn, broken)
        best = int(logs.argmin())
        level += float(logs[best])
        least, steps = least + broken, steps + best
        down.append(-np.diff(logs[: best + 1])[::-1])
        up.append(np.diff(logs[best:]))
    at = least + steps
    return at - _steps(down, bound - level), at + _steps(up, bound - level)


def _steps(increments: Sequence[FloatArray], room: float) -> int:
    """How many of the smallest increments fit below the bound; each column rises."""
    ordered = np.sort(np.concatenate(increments))
    return int(np.searchsorted(np.cumsum(ordered), room))


def log_e(size: int, drawn: int, broken: int) -> FloatArray:
    """ln E(K) for every K in [broken, size - drawn + broken], which the counts allow.

    >>> bool((abs(log_e(3, 0, 0)) < 1e-12).all()), len(log_e(3, 1, 0))
    (True, 3)
    """
    totals = np.arange(broken, size - drawn + broken + 1)
    ours = [
        math.log(weight)
        + special.betaln(a + broken, b + drawn - broken)
        - special.betaln(a, b)
        for weight, a, b in PRIOR
    ]
    found: FloatArray = (
        float(special.logsumexp(ours))
        + _log_choose(np.array(size), totals)
        - _log_choose(np.array(size - drawn), totals - broken)
    )
    return found


def _log_choose(n: NDArray[np.int64], k: NDArray[np.int64]) -> FloatArray:
    found: FloatArray = (
        special.gammaln(n + 1.0)
        - special.gammaln(k + 1.0)
        - special.gammaln(n - k + 1.0)
    )
    return found
