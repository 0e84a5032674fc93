"""Is the failure rate tolerable, with a number of draws fixed beforehand? The exact binomial test.

N is chosen in advance. With S failures in N draws the image is certified if P(Bin(N, k) <= S) <=
significance and refuted if P(Bin(N, k) >= S) <= significance (Clopper & Pearson 1934), k the
tolerance. The run is *curtailed*: it stops as soon as the draws that are left cannot change the
decision, so that no claim depends on when it stopped. After n draws with s failures S lies in
[s, s + N - n]: bounds and p-values take the end that claims less, and so claim never more than
those of all N draws would. They hold wherever a run of this one plan is stopped or gone on with.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ...errors import ConfigError
from ..incbeta import FloatArray
from .binomial import (
    fixed_design,
    greatest_s_to_certify,
    least_s_to_refute,
    lower_bound,
    upper_bound,
    zero_failure_n,
)
from .evalues import as_counts
from .rules import Rule
from .sequential import Boundaries, check_design, geometric_looks

_N_SHORT = 21


class FixedN(Rule):
    """The curtailed binomial test with N draws; Clopper-Pearson bounds.

    >>> rule = FixedN.design(0.01, 0.01)
    >>> rule.boundaries.n_max, rule.least_n  # 45 failures in 6,314 draws still certify
    (6314, 6269)
    >>> rule.boundaries.decide(rule.boundaries.next_look(6268), [0, 1])
    array([1, 0], dtype=int8)
    """

    name = "fixed"
    anytime = False

    @classmethod
    def design(
        cls, tolerance: float, significance: float, n_max: int | None = None
    ) -> FixedN:
        """The test with N = `n_max` draws.

        None takes the least N that certifies p_fail = tolerance / 2 with probability
        1 - significance. Raises ConfigError where not even zero failures in `n_max` draws certify.
        """
        if n_max is None:
            check_design(tolerance, significance, 1)
            half = tolerance / 2
            n_max = fixed_design(tolerance, half, significance, significance)[0]
        check_design(tolerance, significance, n_max)
        certify = greatest_s_to_certify(n_max, tolerance, significance)
        if certify < 0:
            least = zero_failure_n(tolerance, significance)
            raise ConfigError(
                f"n_max={n_max} allows no fixed test at tolerance={tolerance:g}, significance="
                f"{significance:g}: zero failures would not certify; give n_max >= {least}"
            )
        refute = least_s_to_refute(n_max, tolerance, significance)
        sure = n_max - certify + np.arange(min(certify, _N_SHORT - 1) + 1)
        looks = np.union1d(geometric_looks(n_max), np.append(sure, n_max))
        left = n_max - looks
        table = Boundaries(
            float(tolerance),
            float(significance),
            looks,
            np.maximum(certify - left, -1),
            np.minimum(refute, looks + 1),
            np.full_like(looks, certify + 1),
            refute - 1 - left,
        )
        return cls(table)

    def evidence(self, n: ArrayLike, s: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """-ln p; the p-values at the end of [s, s + N - n] that claims less."""
        least, most, total = self._range(n, s)
        k = self.boundaries.tolerance
        below = special.betaincc(most + 1, np.maximum(total - most, 1), k)
        below = np.where(most >= total, 1.0, below)
        above = special.betainc(np.maximum(least, 1), total - least + 1, k)
        above = np.where(least <= 0, 1.0, above)
        with np.errstate(divide="ignore"):
            return -np.log(below), -np.log(above)

    def bounds(self, n: ArrayLike, s: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Clopper-Pearson limits of N draws, at the ends of [s, s + N - n]."""
        least, most, total = self._range(n, s)
        table = self.boundaries
        lower = lower_bound(least, total, table.significance)
        upper = upper_bound(most, total, table.significance)
        certified = most <= table.certify_at[-1]
        return self.agree(lower, upper, certified, least >= table.refute_at[-1])

    def _range(
        self, n: ArrayLike, s: ArrayLike
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        n, s = as_counts(n, s)
        total = self.boundaries.n_max
        return s, s + total - n, total
