"""Which success rates agree with k successes in n? Exact binomial limits (Clopper & Pearson 1934).

For one n that was fixed in advance only. After a sequential stop these limits are too narrow: use
:func:`torchattacks_ext.numerics.sequential.failure_bounds` there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ..errors import ConfigError

FloatArray = NDArray[np.float64]


def clopper_pearson(
    successes: ArrayLike, n: ArrayLike, confidence: float = 0.95
) -> tuple[FloatArray, FloatArray]:
    """Return the exact two-sided interval (lower, upper) of a binomial probability.

    Covers the true probability with at least ``confidence``, each side missing with at most half
    of the rest. ``n`` must not depend on the outcomes.

    Args:
        successes: Integers, ``0 <= successes <= n`` (broadcast with ``n``).
        n: Independent trials, integers of at least 1.
        confidence: Coverage, in (0, 1).

    Returns:
        Two float64 arrays of the broadcast shape, in [0, 1].

    Raises:
        ConfigError: Counts or confidence outside their domain.

    Example:
        >>> lower, upper = clopper_pearson([0, 5], [10, 100])
        >>> lower.round(4), upper.round(4)
        (array([0.    , 0.0164]), array([0.3085, 0.1128]))
    """
    if not 0 < confidence < 1:
        raise ConfigError(
            f"confidence={confidence!r} is not in (0, 1); give for example 0.95"
        )
    half = (1 - confidence) / 2
    return lower_bound(successes, n, half), upper_bound(successes, n, half)


def upper_bound(s: ArrayLike, n: ArrayLike, significance: float) -> FloatArray:
    """Return the p with ``P(Bin(n, p) <= s) = significance``, 1 where ``s = n``.

    The true probability exceeds it with probability at most ``significance``, in (0, 1).
    Solved on the complement (``betainccinv``): 1 - significance would lose its digits.

    Example:
        >>> upper_bound([0, 100], 100, 0.05).round(6)
        array([0.029513, 1.      ])
    """
    s, n = _checked(s, n, significance)
    inside = s < n
    bound = special.betainccinv(s + 1, np.where(inside, n - s, 1), significance)
    return np.where(inside, bound, 1.0)


def lower_bound(s: ArrayLike, n: ArrayLike, significance: float) -> FloatArray:
    """Return the p with ``P(Bin(n, p) >= s) = significance``, 0 where ``s = 0``.

    The true probability is below it with probability at most ``significance``, in (0, 1).

    Example:
        >>> lower_bound([0, 100], 100, 0.05).round(6)
        array([0.      , 0.970487])
    """
    s, n = _checked(s, n, significance)
    inside = s > 0
    bound = special.betaincinv(np.where(inside, s, 1), n - s + 1, significance)
    return np.where(inside, bound, 0.0)


def zero_failure_n(tolerance: float, significance: float) -> int:
    """Return the least n whose n successes show p_fail < tolerance: ceil(ln a / ln(1 - k)).

    Raises:
        ConfigError: ``tolerance`` or ``significance`` not in (0, 1).

    Example:
        >>> zero_failure_n(0.01, 0.01)
        459
    """
    if not 0 < tolerance < 1:
        raise ConfigError(
            f"tolerance={tolerance!r} is not in (0, 1); give the tolerated failure rate as a "
            "fraction, for example 0.01"
        )
    _check_level(significance)
    per_draw, needed = np.log1p(-tolerance), np.log(significance)
    n = int(np.ceil(needed / per_draw))
    return (
        n - 1 if (n - 1) * per_draw <= needed else n
    )  # the quotient may round up past a whole n


def _check_level(significance: float) -> None:
    if not 0 < significance < 1:
        raise ConfigError(
            f"significance={significance!r} is not in (0, 1); give an error probability, for "
            "example 0.01"
        )


def _checked(
    s: ArrayLike, n: ArrayLike, significance: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    _check_level(significance)
    s, n = np.asarray(s), np.asarray(n)
    for name, counts in (("successes", s), ("n", n)):
        if counts.dtype.kind not in "iu" and counts.size:
            raise ConfigError(
                f"{name} has dtype {counts.dtype}; counts are integers: cast to int64"
            )
    if ((n < 1) | (s < 0) | (s > n)).any():
        raise ConfigError(
            "counts must satisfy 0 <= successes <= n and n >= 1; were they swapped?"
        )
    return s.astype(np.int64), n.astype(np.int64)
