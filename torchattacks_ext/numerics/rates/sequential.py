"""When may sampling stop? Sequential test of a failure rate, as two tables of integers.

At each n, log E of the two e-processes (see :mod:`.evalues`) falls or rises with the number of
failures s, so that "log E reaches log(1 / significance)" is "s <= certify_at" or
"s >= refute_at". A decision is two comparisons of integers; the interval that belongs to it is
:func:`failure_bounds`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..._typing import Verdict
from ...errors import ConfigError
from ..arguments import is_whole
from .evalues import (
    IntArray,
    as_counts,
    bar_of,
    check_levels,
    failure_bounds,
    log_e,
    log_e_high,
    log_e_low,
)

__all__ = [
    "Boundaries",
    "boundaries",
    "check_design",
    "failure_bounds",
    "geometric_looks",
    "greatest_n_to_refute",
    "least_n_to_certify",
    "log_e_high",
    "log_e_low",
]

_N_SHORT = 21
"""The looks include the least n that certifies s failures, for s below this."""
_N_EXACT = 2**53
"""Counts above this are not exact in float64."""


@dataclass(frozen=True, eq=False)
class Boundaries:
    """The sequential test as integers: at each look, how many failures decide?

    Attributes:
        tolerance: Failure rate that is tolerated.
        significance: Level of each of the two claims.
        looks: (L,) int64, ascending: the numbers of draws at which the test may decide.
        certify_at: (L,) int64: greatest number of failures that certifies, -1 if none.
        refute_at: (L,) int64: least number of failures that refutes, look + 1 if none.
        give_up_from, give_up_to: (L,) int64: the numbers of failures, both ends included, at which
            the test ends UNDECIDED; none where from > to. None for a test that never does so.
    """

    tolerance: float
    significance: float
    looks: IntArray
    certify_at: IntArray
    refute_at: IntArray
    give_up_from: IntArray | None = None
    give_up_to: IntArray | None = None

    @property
    def n_max(self) -> int:
        """The effective cap: the last look, or 0 if there is none."""
        return int(self.looks[-1]) if self.looks.size else 0

    def decide(self, look_index: ArrayLike, failures: ArrayLike) -> NDArray[np.int8]:
        """Return ``Verdict`` values for ``failures`` at ``looks[look_index]``.

        int8 of the broadcast shape: ROBUST, NOT_ROBUST or UNDECIDED.

        Example:
            >>> table = boundaries(0.01, 0.01, 1000)
            >>> table.decide(table.next_look(504), [0, 1, 50])
            array([1, 0, 2], dtype=int8)
        """
        look_index, failures = np.asarray(look_index), np.asarray(failures)
        verdict = np.where(
            failures >= self.refute_at[look_index], Verdict.NOT_ROBUST, 0
        )
        verdict = np.where(
            failures <= self.certify_at[look_index], Verdict.ROBUST, verdict
        )
        return verdict.astype(np.int8)

    def over(self, look_index: ArrayLike, failures: ArrayLike) -> NDArray[np.bool_]:
        """Whether the test ends here: decided, given up, or at the last look.

        bool of the broadcast shape; arguments as in :meth:`decide`.

        Example:
            >>> table = boundaries(0.01, 0.01, 1000)
            >>> table.over(table.next_look(504), [0, 1, 50]).tolist()
            [True, False, True]
        """
        look_index, failures = np.asarray(look_index), np.asarray(failures)
        ended = self.decide(look_index, failures) != Verdict.UNDECIDED
        ended |= look_index == len(self.looks) - 1
        if self.give_up_from is not None and self.give_up_to is not None:
            ended |= (failures >= self.give_up_from[look_index]) & (
                failures <= self.give_up_to[look_index]
            )
        return np.asarray(ended)

    def next_look(self, n: ArrayLike) -> IntArray:
        """Return the index of the first look after ``n`` draws (int64, shape of ``n``).

        It is ``len(looks)`` where there is none: ``n`` is the cap or more.

        Example:
            >>> boundaries(0.01, 0.01, 1000).next_look([0, 8, 10_000])
            array([ 0,  1, 29])
        """
        return np.asarray(np.searchsorted(self.looks, n, side="right"), dtype=np.int64)


@lru_cache(maxsize=128)
def boundaries(tolerance: float, significance: float, n_max: int) -> Boundaries:
    """Return the decision table of the three-way test: p_fail <= tolerance, > tolerance, unknown.

    Claims: an image with ``p_fail >= tolerance`` is ever certified, and one with
    ``p_fail <= tolerance`` ever refuted, with probability at most ``significance`` each.

    The looks are ``round(8 * 1.2**k)`` and the least n that certify 0..20 failures, up to
    ``n_max``. They depend on tolerance and significance alone: a larger budget only adds looks, so
    that a run which is stopped and resumed decides as one long run. ``n_max`` itself is no look.

    Args:
        tolerance: Tolerated failure rate, in (0, 1).
        significance: Level of each claim, in (0, 0.5).
        n_max: Greatest number of draws, at least 1; rounded down to a look.

    Returns:
        :class:`Boundaries`, cached, with read-only arrays. Cost: a few ms.

    Raises:
        ConfigError: See :func:`check_design`.

    Example:
        >>> table = boundaries(0.01, 0.01, 20_000)
        >>> table.n_max, table.certify_at[table.looks == 505], table.refute_at[:3]
        (16932, array([0]), array([4, 4, 4]))
    """
    check_design(tolerance, significance, n_max)
    short = least_n_to_certify(np.arange(_N_SHORT), tolerance, significance)
    looks = np.union1d(geometric_looks(n_max), short[short <= n_max])
    certify_at, refute_at = limits_at(looks, tolerance, bar_of(significance))
    for table in (looks, certify_at, refute_at):
        table.flags.writeable = False
    return Boundaries(
        float(tolerance), float(significance), looks, certify_at, refute_at
    )


def limits_at(
    looks: IntArray, tolerance: float, bar: float
) -> tuple[IntArray, IntArray]:
    """(certify_at, refute_at), both (L,) int64, of ascending looks where log E must reach `bar`.

    >>> limits_at(np.array([8, 505]), 0.01, bar_of(0.01))
    (array([-1,  0]), array([ 4, 15]))
    """
    start, end = np.full_like(looks, -1), looks + 1

    def certifies(s: IntArray) -> NDArray[np.bool_]:
        return log_e(looks, s, tolerance, tolerance, "below") >= bar

    def leaves_open(s: IntArray) -> NDArray[np.bool_]:
        return log_e(looks, s, tolerance, tolerance, "above") < bar

    return _bisect(certifies, start, end), _bisect(leaves_open, start, end) + 1


def geometric_looks(n_max: int) -> IntArray:
    """``round(8 * 1.2**k)`` up to ``n_max``, ascending int64: the looks that tests share.

    Example:
        >>> geometric_looks(20)
        array([ 8, 10, 12, 14, 17, 20])
    """
    looks, size = [], 8.0
    while round(size) <= n_max:
        looks.append(round(size))
        size *= 1.2
    return np.asarray(looks, dtype=np.int64)


def least_n_to_certify(s: ArrayLike, tolerance: float, significance: float) -> IntArray:
    """Return the least n at which ``s`` failures certify p_fail <= tolerance.

    int64 of the shape of ``s``; every larger n certifies too.

    Raises:
        InputError: ``s`` not an integer of at least 0.
        ConfigError: Settings outside their domain, or an n above 2**53.

    Example:
        >>> least_n_to_certify([0, 1, 2], 0.01, 0.01)
        array([ 505,  876, 1129])
    """
    check_levels(tolerance, significance)
    counts, _ = as_counts(s, s)
    bar = bar_of(significance)

    def fails(n: IntArray) -> NDArray[np.bool_]:
        return log_e(n, counts, tolerance, tolerance, "below") < bar

    enough = counts + 1
    while (short := fails(enough)).any():
        if enough.max() > _N_EXACT // 2:
            raise ConfigError(
                f"tolerance={tolerance!r} at significance={significance!r} needs more "
                "than 2**53 draws, which float64 cannot count; use a larger tolerance"
            )
        enough = np.where(short, 2 * enough, enough)
    return _bisect(fails, counts - 1, enough) + 1


def greatest_n_to_refute(
    s: ArrayLike, tolerance: float, significance: float
) -> IntArray:
    """Return the greatest n at which ``s`` failures refute p_fail <= tolerance, or 0.

    int64 of the shape of ``s``; every n from ``s`` up to it refutes too. Errors as in
    :func:`least_n_to_certify`.

    Example:
        >>> greatest_n_to_refute([2, 3, 4], 0.01, 0.01)
        array([ 0,  6, 33])
    """
    check_levels(tolerance, significance)
    counts, _ = as_counts(s, s)
    bar = bar_of(significance)
    e_below_1 = np.minimum(np.ceil(counts / tolerance), _N_EXACT).astype(np.int64) + 1

    def refutes(n: IntArray) -> NDArray[np.bool_]:
        return log_e(n, counts, tolerance, tolerance, "above") >= bar

    greatest = _bisect(refutes, counts - 1, e_below_1)
    return np.where(greatest >= np.maximum(counts, 1), greatest, 0)


def check_design(tolerance: float, significance: float, n_max: int) -> int:
    """Check the settings of a sequential test; return the least n that could certify anything.

    That is the n of zero failures: with a smaller ``n_max`` the verdict can never be ROBUST.

    Raises:
        ConfigError: ``tolerance`` not in (0, 1), ``significance`` not in (0, 0.5), or ``n_max`` no
            integer of at least 1.

    Example:
        >>> check_design(0.01, 0.001, 20_000)
        744
    """
    if not is_whole(n_max, 1):
        raise ConfigError(
            f"n_max={n_max!r} is not an integer of at least 1; give the greatest number "
            "of draws an image may cost, for example 20_000"
        )
    return int(least_n_to_certify(0, tolerance, significance))


def _bisect(
    holds: Callable[[IntArray], NDArray[np.bool_]], low: IntArray, high: IntArray
) -> IntArray:
    """Greatest integer at which ``holds``, a predicate that is true up to some integer.

    It is taken as true at ``low`` and false at ``high``, where it is never asked.
    """
    inside = (low + high) // 2
    while (wide := high - low > 1).any():
        # Finished entries are asked again where they were asked first: inside the domain.
        middle = np.where(wide, (low + high) // 2, inside)
        good = holds(middle)
        low = np.where(wide & good, middle, low)
        high = np.where(wide & ~good, middle, high)
    return low
