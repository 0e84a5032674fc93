"""How many of all rows are broken, if each stratum was sampled by itself? Levels put together.

T = K_1 + .. + K_H is wanted, of strata drawn independently without replacement. A stratum that was
drawn whole is known, and costs no level. Three ways for the others, all exact or conservative:

* "split": each side of each of the R strata left has the level a / R (Bonferroni), and the limits
  add up. Right for any R, and wide: with nothing broken it gives R ln(R / a) / f for a sampled
  share f, where "joint" gives ln(1 / a) / f.
* "joint": the estimate S = sum (M_h / n_h) k_h is the statistic, and

      upper = max {T : max over K_1 + .. + K_H = T of P(S <= s | K_1 .. K_H) > a}.

  The true K is one of those over which the inner maximum goes, so that the limit is below the true
  T only if P(S <= s) <= a there: wrong with probability at most a. As P(S <= s) falls in every K_h
  (hypergeometric laws are ordered in K), the maximum falls in T, which bisection needs. K that the
  counts exclude are left out, which the true one never is. For at most two strata with a rest.
* "product": :func:`.anytime.product_bounds` of those left, for any R; one level for both sides.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError
from ..arguments import check_probabilities
from .anytime import Counts, product_bounds
from .finite import (
    ROUNDING,
    FloatArray,
    check_counts,
    hypergeometric_bounds,
    probabilities,
)

Combination = Literal["split", "joint", "product"]
COMBINATIONS: tuple[Combination, ...] = get_args(Combination)
_CELLS = 2**23
"""Most numbers of the tables of "joint": 64 MiB."""


@dataclass(frozen=True)
class Stratum:
    """Rows that were sampled together. size, drawn, broken: 0 <= broken <= drawn <= size.

    >>> Stratum(50, 50, 3).whole
    True
    """

    size: int
    drawn: int
    broken: int

    def __post_init__(self) -> None:
        check_counts(self.broken, self.drawn, self.size)

    @property
    def whole(self) -> bool:
        """Whether every row of it was drawn."""
        return self.drawn == self.size

    @property
    def counts(self) -> Counts:
        """(size, drawn, broken)."""
        return self.size, self.drawn, self.broken


def total_bounds(
    strata: Sequence[Stratum], error: float, combine: Combination = "split"
) -> tuple[int, int]:
    """Return (lower, upper) for the broken rows of all strata together; wrong at most `error`.

    Args:
        strata: each drawn at random without replacement, independently, and so often as was fixed
            before any outcome; for others :func:`.anytime.product_bounds`, of all strata.
        error: probability that the interval is wrong, in (0, 1); half of it for each side, but for
            "product", which has one for both.
        combine: "split", "joint" or "product", see above; with one stratum left the first two are
            the same.

    Raises:
        ConfigError: Settings outside their domain; "joint" for three strata or more, or for tables
            above 64 MiB.

    Example:
        >>> strata = [Stratum(40, 40, 6), Stratum(200, 50, 1), Stratum(300, 75, 0)]
        >>> total_bounds(strata, 0.05), total_bounds(strata, 0.05, "joint")
        ((7, 41), (7, 25))
        >>> total_bounds(strata, 0.05, "product")
        (7, 31)
    """
    check_probabilities(error=error)
    if combine not in COMBINATIONS:
        raise ConfigError(f"combine={combine!r} is not one of {COMBINATIONS}")
    known = sum(one.broken for one in strata if one.whole)
    # of rows that nobody looked at, none or all may be broken
    most = known + sum(one.size for one in strata if not one.drawn)
    left = [one for one in strata if one.drawn and not one.whole]
    lower, upper = _sampled(left, error, combine) if left else (0, 0)
    return known + lower, most + upper


def _sampled(
    left: Sequence[Stratum], error: float, combine: Combination
) -> tuple[int, int]:
    """The limits of strata that were drawn in part."""
    if combine == "product":
        return product_bounds([one.counts for one in left], error)
    if combine == "split" or len(left) == 1:
        level = error / 2 / len(left)
        sides = [
            hypergeometric_bounds(one.broken, one.drawn, one.size, level)
            for one in left
        ]
        return sum(low for low, _ in sides), sum(up for _, up in sides)
    rest = sum(one.size for one in left)
    mirrored = [Stratum(s.size, s.drawn, s.drawn - s.broken) for s in left]
    low = rest - _joint_most(mirrored, error / 2)
    return low, _joint_most(left, error / 2)


def joint_fits(strata: Sequence[Stratum]) -> bool:
    """Whether "joint" can put these together; it depends on sizes and draws, not on outcomes.

    >>> joint_fits([Stratum(200, 50, 1), Stratum(300, 75, 0)])
    True
    """
    left = [one for one in strata if one.drawn and not one.whole]
    if len(left) < 2:
        return True
    largest = max(one.size for one in left)
    return len(left) == 2 and largest * sum(one.drawn for one in left) <= _CELLS


def _joint_most(left: Sequence[Stratum], significance: float) -> int:
    """The upper limit of "joint" for two strata with a rest."""
    if not joint_fits(left):
        raise ConfigError(
            f"combine='joint' takes at most two strata that were drawn in part, with tables below "
            f"64 MiB; these are {len(left)}: use 'product' or 'split'"
        )
    first, second = left
    weights = first.size * second.drawn, second.size * first.drawn
    seen = weights[0] * first.broken + weights[1] * second.broken
    totals = [np.arange(s.broken, s.size - s.drawn + s.broken + 1) for s in left]
    terms = np.arange(min(seen // weights[0], first.drawn) + 1)
    most = np.minimum((seen - weights[0] * terms) // weights[1], second.drawn)
    chances = probabilities(terms, first.drawn, first.size, totals[0][:, None])
    below = _below(second, totals[1], int(most[0]))[:, most]
    level = significance * (1 - ROUNDING)
    least = first.broken + second.broken

    def refuted(extra: int) -> bool:
        """Whether every split of `least + extra` has a tail of at most the level."""
        low, high = max(0, extra - len(totals[1]) + 1), min(extra, len(totals[0]) - 1)
        one = np.arange(low, high + 1)
        tails = (chances[one] * below[extra - one]).sum(1)
        return float(tails.max()) <= level

    return (
        least
        + bisect_left(range(len(totals[0]) + len(totals[1]) - 1), True, key=refuted)
        - 1
    )


def _below(stratum: Stratum, totals: NDArray[np.int64], most: int) -> FloatArray:
    """P(X <= i) for i = 0 .. most, a row for each total."""
    terms = np.arange(most + 1)
    found = probabilities(terms, stratum.drawn, stratum.size, totals[:, None])
    tails: FloatArray = np.minimum(found.cumsum(1), 1.0)
    return tails
