"""How many rows went through the model? Forward and backward row-passes, counted as they happen."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ..results.base.facts import Cost


@dataclass
class Meter:
    """Counts row-passes: one row through the model once, forward or backward."""

    forward: int = 0
    backward: int = 0

    def snapshot(self) -> Cost:
        """The counts so far, as a cost without seconds."""
        return Cost(self.forward, self.backward)

    def since(self, before: Cost, seconds: float = 0.0) -> Cost:
        """What was used since `before` (a snapshot of this meter)."""
        return Cost(
            self.forward - before.forward, self.backward - before.backward, seconds
        )


class Budget:
    """May the next rows be run? Limits of one measurement.

    max_queries: forward row-passes. max_seconds: wall time. None = no limit. spent: whether it said
    no, so far. stopped: whether somebody ended it before.

    >>> budget = Budget(Meter(), max_queries=10)
    >>> budget.fits(11), budget.fits(10)  # a dear run is left out, a cheaper one may follow
    (False, True)
    >>> budget.allows(11), budget.allows(10)  # the end
    (False, False)
    """

    def __init__(
        self,
        meter: Meter,
        max_queries: int | None = None,
        max_seconds: float | None = None,
    ) -> None:
        self._meter, self._start = meter, meter.forward
        self._max_queries = max_queries
        self._deadline = None if max_seconds is None else time.monotonic() + max_seconds
        self.spent = self.stopped = self._ended = False

    @property
    def left(self) -> float:
        """Forward row-passes that may still be run; inf without a limit, 0 after the deadline."""
        if self.over:
            return 0
        if self._max_queries is None:
            return float("inf")
        return max(self._max_queries - (self._meter.forward - self._start), 0)

    @property
    def over(self) -> bool:
        """Whether its time is over, or it has ended: what is under way may stop."""
        late = self._deadline is not None and time.monotonic() >= self._deadline
        return late or self._ended

    def stop(self) -> None:
        """End it before its time."""
        self.stopped = self.spent = self._ended = True

    def fits(self, rows: int) -> bool:
        """True if `rows` more forward row-passes fit; after a no, fewer may be asked for."""
        used = self._meter.forward - self._start
        dear = self._max_queries is not None and used + rows > self._max_queries
        found = not (self.over or dear)
        self.spent = self.spent or not found
        return found

    def allows(self, rows: int) -> bool:
        """True if `rows` more forward row-passes fit; once it said no it goes on saying no."""
        self._ended = not self.fits(rows)
        return not self._ended
