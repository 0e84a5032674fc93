"""Is the failure rate below, above or near the tolerance? Wald's test twice (Sobel & Wald 1949).

Two likelihood ratios are followed at once, each of two simple hypotheses:

    L_low  = (1/2)^s ((1 - k/2) / (1 - k))^(n-s)    p_fail = k/2 against k, the tolerance
    L_high =    2^s  ((1 - 2k)  / (1 - k))^(n-s)    p_fail = 2k  against k

L_low >= 1/significance certifies: under every p_fail >= k it is a nonnegative supermartingale, so
Ville's inequality holds at any stop; L_high >= 1/significance refutes likewise. Where 1/L_low and
1/L_high both reach 1/significance, the failure rate is shown to lie between k/2 and 2k: nothing
more is to be had from this test, and it ends undecided. Inside that zone it is cheaper than the
e-process, far outside about twice as dear.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ...errors import ConfigError
from ..incbeta import FloatArray
from .evalues import as_counts, bar_of
from .rules import Rule
from .sequential import Boundaries, check_design, geometric_looks

_LN2 = float(np.log(2.0))
_N_SHORT = 21


class Sprt(Rule):
    """Sobel and Wald's three-decision test at tolerance / 2, tolerance and 2 tolerance.

    >>> rule = Sprt.design(0.01, 0.01, 20_000)
    >>> rule.least_n, [float(side.round(4)) for side in rule.bounds(1000, 0)]
    (915, [0.0, 0.0091])
    """

    name = "sprt"
    anytime = True

    @classmethod
    def design(cls, tolerance: float, significance: float, n_max: int) -> Sprt:
        """The test with at most `n_max` draws.

        Looks are round(8 * 1.2**k) and the least n that certify 0..20 failures. Raises ConfigError
        for settings outside their domain and for a tolerance of 0.5 or more, whose double is no
        rate.
        """
        check_design(tolerance, significance, n_max)
        if not tolerance < 0.5:
            raise ConfigError(
                f"tolerance={tolerance!r} leaves test='sprt' no alternative 2 * tolerance below "
                "1; give a tolerance below 0.5, or test='eprocess'"
            )
        bar, low, high = bar_of(significance), _low(tolerance), _high(tolerance)
        s = np.arange(_N_SHORT)
        short = np.ceil((bar + s * _LN2) / low).astype(np.int64) + s
        looks = np.union1d(geometric_looks(n_max), short[short <= n_max])
        # s failures certify iff (n - s) low - s ln 2 >= bar, and so on for the other three
        certify = np.floor((looks * low - bar) / (_LN2 + low))
        refute = np.ceil((bar - looks * high) / (_LN2 - high))
        give_from = np.ceil((bar + looks * low) / (_LN2 + low))
        give_to = np.floor((-looks * high - bar) / (_LN2 - high))
        table = Boundaries(
            float(tolerance),
            float(significance),
            looks,
            np.maximum(certify, -1).astype(np.int64),
            np.minimum(refute, looks + 1).astype(np.int64),
            give_from.astype(np.int64),
            give_to.astype(np.int64),
        )
        return cls(table)

    def evidence(self, n: ArrayLike, s: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """ln L_low and ln L_high."""
        n, s = as_counts(n, s)
        k = self.boundaries.tolerance
        return (n - s) * _low(k) - s * _LN2, (n - s) * _high(k) + s * _LN2

    def bounds(self, n: ArrayLike, s: ArrayLike) -> tuple[FloatArray, FloatArray]:
        r"""Where the same two ratios, at another tolerance t, reach 1 / significance.

        upper solves (1/2)^s ((1 - t/2) / (1 - t))^(n-s) = 1/significance, lower the mirror image
        with 2t; both sides are monotone in t and both roots are closed formulas. lower stays
        below 1/2.
        """
        n, s = as_counts(n, s)
        bar = bar_of(self.boundaries.significance)
        right = np.maximum(n - s, 1)
        up = np.expm1(np.minimum((bar + s * _LN2) / right, 700.0))
        upper = np.where(n > s, up / (up + 0.5), 1.0)
        down = np.abs(np.expm1(np.minimum((bar - s * _LN2) / right, 0.0)))
        lower = np.where(n > s, down / (1.0 + down), 0.5 * (s * _LN2 >= bar))
        low, high = self.evidence(n, s)
        return self.agree(lower, upper, low >= bar, high >= bar)


def _low(k: float) -> float:
    return float(np.log1p(-k / 2) - np.log1p(-k))


def _high(k: float) -> float:
    return float(np.log1p(-2 * k) - np.log1p(-k))
