"""When has a stream left its reference, in flat memory? Two bands that hold at every time.

With probability at least 1 - a / 2 the reference's distribution function F_m is within

    sqrt(ln(4 / a) / (2 m))

of the true one, at all points (Dvoretzky, Kiefer & Wolfowitz 1956; Massart 1990), and with as much,
at every n together, that of the first n numbers of the stream within

    sqrt(ln(4 n (n + 1) / a) / (2 n)),

the same inequality with the level a / (2 n (n + 1)) at time n. If both have one law, the two
functions are never farther apart than the sum, but with probability a: an alarm at any look. Only
counts below some points of the reference are kept, so that memory does not grow with the stream.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ...errors import InputError
from ..arguments import check_probabilities, parse_whole
from .numbers import one_score

POINTS = 200
"""Points of the reference at which the functions are compared."""


class UniformBands:
    """Counts of a stream below points of its reference, and the distance that raises the alarm.

    reference: (m,) numbers of one score. significance: chance of a false alarm, ever. Memory: the
    points and their counts.

    >>> rng = np.random.default_rng(0)
    >>> drift = UniformBands(rng.normal(size=2000), 0.01)
    >>> drift.look(rng.normal(size=500)), drift.look(rng.normal(size=3000) + 1)
    (False, True)
    """

    def __init__(
        self, reference: Iterable[float], significance: float, points: int = POINTS
    ) -> None:
        check_probabilities(significance=significance)
        points = parse_whole(points, "points", 1)
        known = np.sort(one_score(reference, "reference"))
        if not len(known):
            raise InputError("the reference is empty; give at least one number")
        self.significance = significance
        place = (
            np.linspace(0, len(known) - 1, min(points, len(known))).round().astype(int)
        )
        self._points = np.unique(known[place])
        # both one-sided limits at each point: a jump may lie on either side of it
        self._right = np.searchsorted(known, self._points, "right") / len(known)
        self._left = np.searchsorted(known, self._points, "left") / len(known)
        self._reference = math.sqrt(math.log(4 / significance) / (2 * len(known)))
        self._below = np.zeros((2, len(self._points)), dtype=np.int64)
        self.n, self.distance = 0, 0.0
        self.alarm_at: int | None = None

    def look(self, numbers: Iterable[float]) -> bool:
        """Take further numbers; whether the alarm has ever been reached."""
        found = one_score(numbers, "the batch")
        if len(found):
            ordered = np.sort(found)
            self._below[0] += np.searchsorted(ordered, self._points, "right")
            self._below[1] += np.searchsorted(ordered, self._points, "left")
            self.n += len(found)
            shares = self._below / self.n
            gap = np.abs(shares - np.stack([self._right, self._left]))
            self.distance = float(gap.max())
            if self.alarm_at is None and self.distance > self.limit:
                self.alarm_at = self.n
        return self.alarm_at is not None

    @property
    def limit(self) -> float:
        """How far apart the two functions may be now; inf before the first number."""
        if not self.n:
            return math.inf
        n = self.n
        own = math.sqrt(math.log(4 * n * (n + 1) / self.significance) / (2 * n))
        return self._reference + own

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` needs beside the reference, in JSON types; its size is fixed."""
        return {
            "n": self.n,
            "below": self._below.tolist(),
            "distance": self.distance,
            "alarm_at": self.alarm_at,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave. Raises InputError for what is no such state."""
        try:
            n, below = int(state["n"]), np.array(state["below"], dtype=np.int64)
            distance, alarm = float(state["distance"]), state["alarm_at"]
            alarm = None if alarm is None else int(alarm)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"it is no state of bands ({error})") from error
        fits = below.shape == self._below.shape and 0 <= distance <= 1
        if not fits or n < 0 or below.min() < 0 or below.max() > n:
            raise InputError("it is no state of bands: its numbers do not agree")
        self.n, self._below, self.distance, self.alarm_at = n, below, distance, alarm
