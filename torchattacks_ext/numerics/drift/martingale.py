"""When has a stream left its reference? A conformal test martingale, valid at every look.

Each number of the stream gets its randomised rank among the reference and all earlier numbers of
the stream; while all are exchangeable these ranks are independent and uniform (Vovk, Nouretdinov &
Gammerman 2003). A gambler who bets against that has a capital whose chance of *ever* reaching 1 / a
is at most a (Ville 1939): one may look after each number, for ever, with one shared reference.
Permutation p-values of batches against one reference are not independent, and a product of e-values
made of them is no such process: by 100 clean batches it alarms in about half of the streams where 1
% was stated.

The bets are on ranks that are low, high, in both tails, or in the middle; a share of the capital
is moved between them at each step, as in the "simple jumper" (Vovk et al. 2021,
arXiv:2102.10439). Of the capital 1 / (k (k + 1)) waits, and is staked from the k-th number on: a
long clean stream cannot lose it, so that a late change is found about as soon as an early one.
Numbers are rounded to a grid that is fixed beforehand, and ties are broken at random, so that the
ranks stay uniform and memory does not grow with the stream.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ...errors import InputError
from ..arguments import check_probabilities, parse_seed
from .numbers import one_score
from .tally import Tally, code_of, counted

JUMP = 0.01
"""Share of the staked capital that is moved at each step."""
SLOPES = (-1.5, -0.5, 0.5, 1.5)
"""Bets 1 + s (u - 1/2): ranks are low, or high."""
TAILS = (0.4, -0.4)
"""Bets 1 + s (12 (u - 1/2)^2 - 1): ranks are in the tails, or in the middle."""
N_BETS = len(SLOPES) + len(TAILS)
MOST = 1e100
"""Capital beyond which no more bets are made: the alarm is long there."""


class ConformalMartingale:
    """Capital against "the stream is exchangeable with the reference", number by number.

    reference: (m,) numbers of one score, rounded to 1/64 and cut to [-512, 512]: scale them so that
    this loses nothing. significance: chance of a false alarm, ever. seed: of the ranks among ties,
    and of all ranks' fractions. Memory: a count for each place of the grid; a step costs about 10
    us.

    >>> rng = np.random.default_rng(0)
    >>> drift = ConformalMartingale(rng.normal(size=200), 0.01)
    >>> drift.look(rng.normal(size=100)), drift.look(rng.normal(size=200) + 2)
    (False, True)
    """

    def __init__(
        self, reference: Iterable[float], significance: float, seed: int = 0
    ) -> None:
        check_probabilities(significance=significance)
        known = code_of(one_score(reference, "reference"))
        if not len(known):
            raise InputError("the reference is empty; give at least one number")
        self.significance, self._seed = significance, parse_seed(seed)
        self._reference, self._stream = Counter(known.tolist()), Counter[int]()
        self._seen = Tally(self._reference)
        self._staked = [0.0] * N_BETS
        self.most, self.n = 0.0, 0
        self.alarm_at: int | None = None

    def look(self, numbers: Iterable[float]) -> bool:
        """Take further numbers in their order; whether the alarm has ever been reached."""
        found = one_score(numbers, "the batch")
        generator = np.random.PCG64(self._seed).advance(self.n)
        fractions = np.random.Generator(generator).random(len(found)).tolist()
        for code, fraction in zip(code_of(found).tolist(), fractions):
            self._step(self._rank(code, fraction))
            self._stream[code] += 1
            self._seen.add(code)
        return self.alarm_at is not None

    @property
    def log_capital(self) -> float:
        """ln of the capital now; its running maximum is `most`."""
        return float(np.log(sum(self._staked) + 1 / (self.n + 1)))

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` needs beside the reference, in JSON types; it does not grow."""
        return {
            "n": self.n,
            "staked": list(self._staked),
            "most": self.most,
            "alarm_at": self.alarm_at,
            "seen": sorted([code, count] for code, count in self._stream.items()),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave. Raises InputError for what is no such state."""
        try:
            n, staked = int(state["n"]), [float(one) for one in state["staked"]]
            stream = counted(state["seen"])
            most, alarm = float(state["most"]), state["alarm_at"]
            alarm = None if alarm is None else int(alarm)
            sound = (
                len(staked) == N_BETS and min(staked) >= 0 and sum(stream.values()) == n
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"it is no state of a martingale ({error})") from error
        if not sound or not np.isfinite([*staked, most]).all():
            raise InputError("it is no state of a martingale: its numbers do not agree")
        self.n, self._staked, self._stream = n, staked, stream
        self._seen = Tally(self._reference + stream)
        self.most, self.alarm_at = most, alarm

    def _rank(self, code: int, fraction: float) -> float:
        ties = self._reference[code] + self._stream[code] + 1  # and itself
        return (self._seen.below(code) + fraction * ties) / (self._seen.n + 1)

    def _step(self, rank: float) -> None:
        self.n += 1
        total = sum(self._staked)
        if total > MOST:
            return
        moved = (JUMP * total + 1 / (self.n * (self.n + 1))) / N_BETS
        side = rank - 0.5
        tail = 12 * side * side - 1
        gains = [1 + s * side for s in SLOPES] + [1 + s * tail for s in TAILS]
        self._staked = [
            ((1 - JUMP) * one + moved) * gain for one, gain in zip(self._staked, gains)
        ]
        capital = sum(self._staked) + 1 / (self.n + 1)
        self.most = max(self.most, float(np.log(capital)))
        if self.alarm_at is None and capital >= 1 / self.significance:
            self.alarm_at = self.n
