"""What is an engine at, and how long will it take? The source, rows left, about how much to go.

An engine says which line is at work and how much of that is done. What it means in seconds follows
from what a row costs at most in this line and in those that come after it, the gates held against
the margins of now, and from the time of a row-pass so far: an estimate, too high where rows fall.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...models.meter import Meter
from .ledger import Ledger
from .spec import AttackSpec

OFTEN = 0.25
"""Seconds between two words on a bar."""
Prices = Mapping[tuple[str, AttackSpec], float]
"""(name of a model, line of a plan) -> row-passes, forward and backward, of one row at most."""


def in_words(seconds: float) -> str:
    """m:ss, or h:mm:ss.

    >>> in_words(75.2), in_words(3675)
    ('1:15', '1:01:15')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@dataclass(eq=False)
class Watch:
    """Says on a bar (of tqdm) what an engine is at with the rows of one ledger.

    meter: counts the row-passes. prices: of all lines, in the order in which they come. Nothing is
    asked of the device but the number of rows that are alive, four times a second.
    """

    bar: Any
    meter: Meter
    prices: Prices
    started: float = field(default_factory=time.perf_counter, init=False)
    before: int = field(init=False)
    said: float = field(default=float("-inf"), init=False)

    def __post_init__(self) -> None:
        self.before = self.meter.forward + self.meter.backward

    def due(self) -> bool:
        """Whether it is time for a word."""
        return time.perf_counter() - self.said >= OFTEN

    def note(
        self, model: str, line: AttackSpec, ledger: Ledger, rows: int, share: float
    ) -> None:
        """A line on a model is at work on so many rows, and this share of it is done."""
        self.said, alive = time.perf_counter(), int(ledger.alive.sum())
        words = f"{model}/{line.label}: {alive} rows left"
        made = self.meter.forward + self.meter.backward - self.before
        if made:
            to_go = self._to_go(model, line, ledger, rows * (1 - share), made)
            seconds = to_go * (self.said - self.started) / made
            words += f", about {in_words(seconds)} to go"
        self.bar.set_postfix_str(words)

    def _to_go(
        self, model: str, line: AttackSpec, ledger: Ledger, rows: float, made: int
    ) -> float:
        """Row-passes: of these rows here, of this ledger's in later lines, of all later rows."""
        keys = list(self.prices)
        here = keys.index((model, line))
        found = rows * self.prices[model, line]
        for key in keys[here + 1 :]:
            found += self.prices[key] * len(ledger.rows(key[1].gate))
        mine = len(ledger.right)
        later = max(int(self.bar.total or 0) - int(self.bar.n) - mine, 0)
        return found + later / mine * (made + found)
