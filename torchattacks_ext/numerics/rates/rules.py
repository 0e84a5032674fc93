"""What must every test of a failure rate tell? Its table of decisions, its evidence, its bounds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..incbeta import FloatArray
from .evalues import as_counts
from .sequential import Boundaries, boundaries, failure_bounds, log_e_high, log_e_low

_TABLE = 64
"""Failures below this have their evidence in a table, one row a look, filled when first asked."""
N_MAX = 20_000
"""Most draws an image where nobody says otherwise."""


@dataclass(frozen=True, eq=False)
class Rule(ABC):
    """A test of "p_fail <= tolerance" against "p_fail > tolerance", each side at `significance`.

    boundaries: looks and integer limits. name: as :class:`~torchattacks_ext.PRTest` calls it.
    anytime: whether the claims hold after any extension of the budget too; without it they hold
    for one plan, n_max draws at most. At any stop they hold for every rule: p-values and bounds are
    right at all its looks together. Counts n, s are integers with 0 <= s <= n.

    >>> rule = EProcess.design(0.01, 0.01, 1000)
    >>> rule.least_n, rule.anytime, rule.boundaries.n_max
    (505, True, 916)
    """

    name: ClassVar[str]
    anytime: ClassVar[bool]

    boundaries: Boundaries
    _rows: dict[int, FloatArray] = field(default_factory=dict, init=False, repr=False)

    @property
    def least_n(self) -> int | None:
        """The first look that can certify anything; None if no look can."""
        able = np.flatnonzero(self.boundaries.certify_at >= 0)
        return int(self.boundaries.looks[able[0]]) if able.size else None

    @property
    def weak(self) -> bool:
        """Whether p_fail = tolerance / 2 may not be certified even with its expected failures."""
        table = self.boundaries
        expected = int(table.n_max * table.tolerance / 2)
        return bool((table.certify_at < expected).all())

    @abstractmethod
    def evidence(self, n: ArrayLike, s: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """-ln p of the two nulls "p_fail >= tolerance" and "p_fail <= tolerance" at (n, s).

        exp(-evidence) is a valid p-value at any look, for any reason to stop there. For an anytime
        test it is ln E, and its running maximum gives one too. May be negative (p = 1).
        """

    def evidence_at(
        self, place: NDArray[np.int64], s: NDArray[np.int64]
    ) -> tuple[FloatArray, FloatArray]:
        """:meth:`evidence` at the looks number `place` (A,) after s (A,) failures, from a table.

        A run asks the same few questions at every look for all its images.

        >>> rule = EProcess.design(0.01, 0.01, 1000)
        >>> place = rule.boundaries.next_look(np.array([504]))
        >>> rule.evidence_at(place, np.array([0]))[0].round(6)
        array([4.606187])
        """
        if not s.size or s.max() >= _TABLE:
            return self.evidence(self.boundaries.looks[place], s)
        asked = set(place.tolist())
        for row in asked - self._rows.keys():
            n = int(self.boundaries.looks[row])
            counts = np.minimum(np.arange(_TABLE), n)
            self._rows[row] = np.stack(self.evidence(np.full(_TABLE, n), counts))
        if len(asked) == 1:
            low, high = self._rows[asked.pop()][:, s]
            return low, high
        order = {row: i for i, row in enumerate(asked)}
        table = np.stack([self._rows[row] for row in order])
        index = np.array([order[row] for row in place.tolist()])
        return table[index, 0, s], table[index, 1, s]

    @abstractmethod
    def bounds(self, n: ArrayLike, s: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """(lower, upper) of p_fail, each at `significance`, that invert this very test.

        upper <= tolerance where, and only where, the table certifies (n, s); lower > tolerance
        where, and only where, it refutes.
        """

    def log_e(self, n: ArrayLike, s: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """ln of the two e-values at (n, s); nan for a test that has none."""
        if self.anytime:
            return self.evidence(n, s)
        shape = np.broadcast_shapes(np.shape(n), np.shape(s))
        return np.full(shape, np.nan), np.full(shape, np.nan)

    def agree(
        self,
        lower: FloatArray,
        upper: FloatArray,
        certified: NDArray[np.bool_],
        refuted: NDArray[np.bool_],
    ) -> tuple[FloatArray, FloatArray]:
        """The bounds on the side of the tolerance where the table has them (one float apart)."""
        edge = self.boundaries.tolerance
        above = np.nextafter(edge, 1.0)
        upper = np.where(certified, np.minimum(upper, edge), np.maximum(upper, above))
        lower = np.where(refuted, np.maximum(lower, above), np.minimum(lower, edge))
        return lower, upper


class EProcess(Rule):
    """The mixture e-process of :mod:`.evalues` with the looks of :mod:`.sequential` (Ville 1939).

    >>> rule = EProcess.design(0.01, 0.01, 20_000)
    >>> lower, upper = rule.bounds(505, 0)
    >>> bool(upper <= 0.01), float(rule.evidence(505, 0)[0].round(6))
    (True, 4.606187)
    """

    name = "eprocess"
    anytime = True

    @classmethod
    def design(cls, tolerance: float, significance: float, n_max: int) -> EProcess:
        """The test with at most `n_max` draws. Raises ConfigError as `boundaries` does."""
        return cls(boundaries(tolerance, significance, n_max))

    def evidence(self, n: ArrayLike, s: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """See :class:`Rule`; one incomplete beta an entry and side."""
        tolerance = self.boundaries.tolerance
        return log_e_low(n, s, tolerance), log_e_high(n, s, tolerance)

    def bounds(self, n: ArrayLike, s: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """See :func:`.evalues.failure_bounds`."""
        table = self.boundaries
        n, s = as_counts(n, s)
        return failure_bounds(n, s, table.tolerance, table.significance)
