"""Within which radius does the majority class of noisy images stay? From counts, exactly.

If a classifier answers class k on x + N(0, sigma^2 I) with probability p > 1/2, the class that most
noisy copies get is k on the whole open ball

    |d|_2 < sigma Phi^-1(p)

(Cohen, Rosenfeld & Kolter 2019, arXiv:1902.02918, Theorem 1 with the upper bound 1 - p for every
other class). p is not known; its Clopper-Pearson lower bound from n draws stands for it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ...errors import ConfigError
from ..arguments import check_probabilities, is_whole
from ..rates.binomial import lower_bound

FloatArray = NDArray[np.float64]

INWARD = 1 - 2.0**-40
"""Factor of every radius, far above the rounding of the two inverses."""


def smoothed_radius(
    hits: ArrayLike, n: ArrayLike, significance: float, sigma: float
) -> FloatArray:
    """L2 radius, in pixel units, that `hits` answers of one class in `n` draws prove; 0 for none.

    Each radius is too large with probability at most `significance` over the n draws, which are
    independent of how the class was chosen. hits, n: integers, 0 <= hits <= n, broadcast. Returns
    float64; 0 where the lower bound of p is 1/2 or less (abstain). Raises ConfigError for counts,
    levels or sigma outside their domains. Cost: 1 us an entry.

    >>> smoothed_radius([100_000, 99_000, 50_000], 100_000, 0.001, 0.25).round(6)
    array([0.952864, 0.5725  , 0.      ])
    """
    sigma = check_sigma(sigma)
    p = lower_bound(hits, n, significance)
    return np.where(p > 0.5, sigma * special.ndtri(np.maximum(p, 0.5)) * INWARD, 0.0)


def fewest_draws(significance: float) -> int:
    """The least n from which n answers of one class prove any radius: n > log2(1 / significance).

    >>> fewest_draws(0.001), fewest_draws(0.5)
    (10, 2)
    """
    check_probabilities(significance=significance)
    n = max(1, math.floor(-math.log2(significance)))
    while float(lower_bound(n, n, significance)) <= 0.5:
        n += 1
    return n


def votes_p_value(top: ArrayLike, second: ArrayLike) -> FloatArray:
    """Two-sided p-value of "the two classes that most draws got are equally likely".

    The test by which a smoothed classifier answers or abstains (Cohen et al. 2019, sec. 3.2.1,
    after Hung & Fithian 2019): 2 P(Bin(top + second, 1/2) >= top), at most 1. top >= second >= 0,
    integers; 1 where both are 0.

    >>> votes_p_value([10, 5, 0], [0, 5, 0]).round(6)
    array([0.001953, 1.      , 1.      ])
    """
    top, second = np.asarray(top), np.asarray(second)
    if ((second < 0) | (top < second)).any():
        raise ConfigError("votes must satisfy top >= second >= 0; were they swapped?")
    tail = special.betainc(np.maximum(top, 1), second + 1, 0.5)
    return np.where(top > 0, np.minimum(1.0, 2 * tail), 1.0)


def check_sigma(sigma: float) -> float:
    """sigma as a float; ConfigError unless it is finite and > 0."""
    found = float(sigma) if isinstance(sigma, (int, float, np.floating)) else math.nan
    if isinstance(sigma, bool) or not 0 < found < math.inf:
        raise ConfigError(
            f"sigma={sigma!r} must be a finite number > 0: the standard deviation of the noise in "
            "pixel units of [0, 1], say 0.25"
        )
    return found


def check_draws(name: str, n: int, significance: float | None = None) -> int:
    """n as an int >= 1; with a level, one from which a radius can follow at all."""
    if not is_whole(n, 1):
        raise ConfigError(
            f"{name}={n!r} must be an integer >= 1: the number of noisy copies of an image"
        )
    if significance is not None and n < fewest_draws(significance):
        raise ConfigError(
            f"{name}={n} draws prove no radius at significance={significance:g}, whatever the "
            f"answers: give {fewest_draws(significance)} or more, say 100_000"
        )
    return int(n)
