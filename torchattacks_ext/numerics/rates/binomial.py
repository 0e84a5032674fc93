"""Which failure rates agree with s failures in n draws, and how many failures decide? Exact.

Limits, p-values and designs of the one-sided binomial test (Clopper & Pearson 1934), all from

    P(Bin(n, p) >= s) = I_p(s, n - s + 1),        I = the regularised incomplete beta function.

For one n that was fixed in advance only. After a sequential stop these limits are too narrow: use
:func:`torchattacks_ext.numerics.rates.sequential.failure_bounds` there.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ...errors import ConfigError
from ..arguments import check_confidence, check_probabilities
from ..incbeta import FloatArray, Tail

IntArray = NDArray[np.int64]

_C_MAX = 2**32
"""A design allows fewer failures than this: beyond, float64 and patience end."""


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
    check_confidence(confidence)
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
    check_probabilities(significance=significance)
    s, n = _counts(s, n)
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
    check_probabilities(significance=significance)
    s, n = _counts(s, n)
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
    check_probabilities(tolerance=tolerance, significance=significance)
    per_draw, needed = np.log1p(-tolerance), np.log(significance)
    n = int(np.ceil(needed / per_draw))
    # The quotient may round up past a whole n.
    return n - 1 if (n - 1) * per_draw <= needed else n


def binomial_p_value(
    s: ArrayLike, n: ArrayLike, tolerance: float, side: Tail = "below"
) -> FloatArray:
    """Return the exact one-sided p-value of ``s`` failures in ``n`` draws.

    ``"below"``: P(Bin(n, k) <= s), k = tolerance, small when p_fail is below the tolerance;
    ``"above"``: P(Bin(n, k) >= s), small when it is above. Under the null on the other side of k it
    is at most a with probability at most a. No tail is taken as 1 minus the other: small ones
    keep their digits.

    Args:
        s: Failures, integers, ``0 <= s <= n`` (broadcast with ``n``).
        n: Independent draws, integers of at least 1, fixed in advance.
        tolerance: Failure rate k at the edge of the null, in (0, 1).
        side: Where the evidence points, ``"below"`` or ``"above"``.

    Returns:
        float64 array of the broadcast shape, in [0, 1].

    Raises:
        ConfigError: Counts, tolerance or side outside their domain.

    Example:
        >>> binomial_p_value([0, 3], 1000, 0.01).round(6)
        array([4.3000e-05, 1.0073e-02])
        >>> binomial_p_value([20, 0], 1000, 0.01, side="above").round(4)
        array([0.0033, 1.    ])
    """
    check_probabilities(tolerance=tolerance)
    if side not in get_args(Tail):
        raise ConfigError(
            f"side={side!r} is neither 'below' nor 'above'; name the side of the tolerance on "
            "which the failure rate is claimed to be"
        )
    s, n = _counts(s, n)
    return _tail(s, n, tolerance, side)


def greatest_s_to_certify(n: int, tolerance: float, significance: float) -> int:
    """Return the greatest c with ``P(Bin(n, tolerance) <= c) <= significance``, -1 if none.

    The claim ``p_fail < tolerance`` after at most c failures errs with probability at most
    ``significance``. The comparison is that of :func:`binomial_p_value`: they never disagree.

    Args:
        n: Draws, an integer of at least 1, fixed in advance.
        tolerance, significance: Tolerated failure rate and level of the claim, in (0, 1).

    Raises:
        ConfigError: Arguments outside their domain.

    Example:
        >>> [greatest_s_to_certify(n, 0.01, 0.05) for n in (298, 299, 1000)]
        [-1, 0, 4]
    """
    check_probabilities(tolerance=tolerance, significance=significance)
    n = int(_counts(0, n)[1])

    def too_many(s: int) -> bool:
        return bool(_tail(s, n, tolerance, "below") > significance)

    return bisect_left(range(n), True, key=too_many) - 1


def least_s_to_refute(n: int, tolerance: float, significance: float) -> int:
    """Return the least r with ``P(Bin(n, tolerance) >= r) <= significance``, n + 1 if none.

    The claim ``p_fail > tolerance`` after r failures or more errs with probability at most
    ``significance``. Arguments and errors as in :func:`greatest_s_to_certify`.

    Example:
        >>> [least_s_to_refute(n, 0.01, 0.001) for n in (1, 2, 1000)]
        [2, 2, 22]
    """
    check_probabilities(tolerance=tolerance, significance=significance)
    n = int(_counts(0, n)[1])

    def enough(s: int) -> bool:
        return bool(_tail(s, n, tolerance, "above") <= significance)

    return bisect_left(range(n + 1), True, key=enough)


def fixed_design(
    tolerance: float, alternative: float, significance: float, miss: float
) -> tuple[int, int]:
    """Return the cheapest test of fixed size: the least n, and its c, of "certify if s <= c".

    It certifies an image with p_fail >= tolerance with probability at most ``significance``, and
    one with p_fail <= alternative with at least ``1 - miss``. While c stays, the power falls with
    n, so only the least n of each c can be the answer. For a real n the power there would rise
    with c (of two beta laws that share a quantile, the one with both shapes larger has less mass
    below it): the first such c is found by bisection, and the answer by stepping up from there.

    Args:
        tolerance, significance: Tolerated failure rate and the level there, in (0, 1).
        alternative: Smaller failure rate, at which the power is asked, in [0, tolerance).
        miss: Probability of not certifying at the alternative, in (0, 1).

    Returns:
        (n, c). Cost: a few ms.

    Raises:
        ConfigError: Settings outside their domain, or c would be 2**32 or more.

    Example:
        >>> fixed_design(0.001, 0.0005, 0.01, 0.01)
        (63222, 45)
    """
    check_probabilities(tolerance=tolerance, significance=significance, miss=miss)
    if not 0 <= alternative < tolerance:
        raise ConfigError(
            f"alternative={alternative!r} is not in [0, {tolerance!r}), below the tolerance; give "
            "the failure rate that should still be certified, for example half of it"
        )

    def powerful(c: int) -> bool:
        successes = _least_successes(c, tolerance, significance)
        return bool(special.betainc(c + 1, successes, alternative) <= miss)

    c = bisect_left(range(_C_MAX), True, key=powerful)
    if c == _C_MAX:
        raise ConfigError(
            f"alternative={alternative!r} is too near to tolerance={tolerance!r}: the test would "
            "have to allow 2**32 failures or more; choose a smaller alternative"
        )
    n = _least_n(c, tolerance, significance)
    while _tail(c + 1, n, alternative, "above") > miss:
        c += 1
        n = _least_n(c, tolerance, significance)
    return n, c


def _least_n(c: int, tolerance: float, significance: float) -> int:
    """Least n with P(Bin(n, tolerance) <= c) <= significance, for c >= 0."""
    n = c + max(1, int(np.ceil(_least_successes(c, tolerance, significance))))
    while n - 1 > c and _tail(c, n - 1, tolerance, "below") <= significance:
        n -= 1
    while _tail(c, n, tolerance, "below") > significance:
        n += 1
    return n


def _least_successes(c: int, tolerance: float, significance: float) -> float:
    """The real n - c that makes P(Bin(n, tolerance) <= c) = significance, from above."""
    low, high = 0.0, 1.0
    while special.betaincc(c + 1, high, tolerance) > significance:
        low, high = high, 2 * high
    while high - low > 1e-14 * high:
        middle = 0.5 * (low + high)
        short = special.betaincc(c + 1, middle, tolerance) > significance
        low, high = (middle, high) if short else (low, middle)
    return high


def _tail(s: IntArray | int, n: IntArray | int, p: float, side: Tail) -> FloatArray:
    """P(Bin(n, p) <= s) or P(Bin(n, p) >= s) of unchecked integers."""
    if side == "below":
        inside = np.less(s, n)
        tail = special.betaincc(np.add(s, 1), np.where(inside, np.subtract(n, s), 1), p)
    else:
        inside = np.greater(s, 0)
        tail = special.betainc(np.where(inside, s, 1), np.subtract(n, s) + 1, p)
    return np.where(inside, tail, 1.0)


def _counts(s: ArrayLike, n: ArrayLike) -> tuple[IntArray, IntArray]:
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
