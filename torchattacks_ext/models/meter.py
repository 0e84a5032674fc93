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
    """May the next rows be run? Limits of one measurement; once it said no, it goes on saying no.

    max_queries: forward row-passes. max_seconds: wall time. None = no limit.
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
        self.spent = False

    def allows(self, rows: int) -> bool:
        """True if `rows` more forward row-passes fit."""
        used = self._meter.forward - self._start
        late = self._deadline is not None and time.monotonic() >= self._deadline
        over = self._max_queries is not None and used + rows > self._max_queries
        self.spent = self.spent or late or over
        return not self.spent
