"""When does a run end before its last row, and what is said of the rows that it did not reach?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..errors import ConfigError
from ..models.meter import Budget, Meter
from ..numerics.arguments import is_whole
from ..results.base.facts import Flag
from .rows.pieces import Gap
from .running import Running


@dataclass(frozen=True)
class Limits:
    """max_minutes: wall time of this call. max_queries: its forward row-passes. None: no limit.

    Both are asked before each row group; the one at work is finished.

    >>> Limits(max_minutes=-1)
    Traceback (most recent call last):
    torchattacks_ext.errors.ConfigError: max_minutes=-1 must be a number > 0, or None for no limit
    """

    max_minutes: float | None = None
    max_queries: int | None = None

    def __post_init__(self) -> None:
        minutes, queries = self.max_minutes, self.max_queries
        good = isinstance(minutes, (int, float)) and math.isfinite(minutes)
        if minutes is not None and not (good and minutes > 0):
            raise ConfigError(
                f"max_minutes={minutes!r} must be a number > 0, or None for no limit"
            )
        if queries is not None and not is_whole(queries, 1):
            raise ConfigError(
                f"max_queries={queries!r} must be an integer >= 1, or None for no limit"
            )

    def budget(self, meter: Meter) -> Budget:
        """The limits, counted from now on."""
        minutes = self.max_minutes
        return Budget(
            meter, self.max_queries, None if minutes is None else 60 * minutes
        )

    def words(self) -> str:
        """What was asked for."""
        given = {"max_minutes": self.max_minutes, "max_queries": self.max_queries}
        return ", ".join(f"{k}={v:g}" for k, v in given.items() if v is not None)


def late_flags(
    running: Iterable[Running], limits: Limits, has_state: bool
) -> Iterator[Flag]:
    """One flag for each stage with rows that the run did not reach."""
    go_on = "the same state= goes on" if has_state else "state= would let it go on"
    for run in running:
        gaps = [p for p in run.parts if isinstance(p, Gap) and p.reason is None]
        late, n = sum(len(gap.rows) for gap in gaps), sum(
            part.stop - part.start for part in run.parts
        )
        if late:
            text = (
                f"{limits.words()} ended the run: {run.stage.label} did not reach {late} of {n} "
                f"images, which are undecided; {go_on}"
            )
            # no warning: the limit was asked for
            details = {"stage": run.stage.label, "quiet": True}
            yield Flag("not_reached", text, late, details)
