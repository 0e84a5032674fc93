"""When has a stream left its reference? A conformal test martingale, valid at every look.

Each number of the stream gets its randomised rank among the reference and all earlier numbers of
the stream; while all are exchangeable these ranks are independent and uniform (Vovk, Nouretdinov &
Gammerman 2003). A gambler who bets against that has a capital whose chance of *ever* reaching 1 / a
is at most a (Ville 1939): one may look after each number, for ever, with one shared reference.
Permutation p-values of batches against one reference are not independent, and a product of e-values
made of them is no such process: by 100 clean batches it alarms in about half of the streams where 1
% was stated.

The bets are those of the "simple jumper" (Vovk 2021, arXiv:2102.11594): capital on "ranks are low",
"high" and "as they should be", a share of it moved between them at each step.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable

import numpy as np

from ...errors import InputError
from ..arguments import check_probabilities, parse_seed

JUMP = 0.01
"""Share of the capital that is moved at each step."""
STAKES = (-1.0, 0.0, 1.0)


class ConformalMartingale:
    """Capital against "the stream is exchangeable with the reference", number by number.

    reference: (m,) numbers of one score. significance: chance of a false alarm, ever. seed: of the
    ranks among ties, and of all ranks' fractions. Memory: all numbers so far; a step costs a
    search.

    >>> rng = np.random.default_rng(0)
    >>> drift = ConformalMartingale(rng.normal(size=200), 0.01)
    >>> drift.look(rng.normal(size=100)), drift.look(rng.normal(size=200) + 2)
    (False, True)
    """

    def __init__(
        self, reference: Iterable[float], significance: float, seed: int = 0
    ) -> None:
        check_probabilities(significance=significance)
        self._seen = sorted(_numbers(reference, "reference"))
        if not self._seen:
            raise InputError("the reference is empty; give at least one number")
        self.significance = significance
        self._rng = np.random.default_rng(parse_seed(seed))
        self._capital = np.full(len(STAKES), 1 / len(STAKES))
        self._log, self.most, self.n = 0.0, 0.0, 0
        self.alarm_at: int | None = None

    def look(self, numbers: Iterable[float]) -> bool:
        """Take further numbers in their order; whether the alarm has ever been reached."""
        for number in _numbers(numbers, "the batch"):
            self._step(self._rank(number))
            insort(self._seen, number)
        return self.alarm_at is not None

    @property
    def log_capital(self) -> float:
        """ln of the capital now; its running maximum is `most`."""
        return self._log

    def _rank(self, number: float) -> float:
        below, upto = bisect_left(self._seen, number), bisect_right(self._seen, number)
        ties = upto - below + 1  # with the number itself
        return (below + float(self._rng.random()) * ties) / (len(self._seen) + 1)

    def _step(self, rank: float) -> None:
        mixed = (1 - JUMP) * self._capital + JUMP / len(STAKES) * self._capital.sum()
        self._capital = mixed * (1 + np.array(STAKES) * (rank - 0.5))
        total = float(self._capital.sum())
        # the shares stay, the size goes into a logarithm
        self._capital /= total
        self._log += float(np.log(total))
        self.n += 1
        self.most = max(self.most, self._log)
        if self.alarm_at is None and self._log >= -np.log(self.significance):
            self.alarm_at = self.n


def _numbers(values: Iterable[float], name: str) -> list[float]:
    found = np.asarray(
        list(values) if not hasattr(values, "__array__") else values, float
    )
    if found.ndim != 1 or not np.isfinite(found).all():
        raise InputError(f"{name} must be (n,) finite numbers, one score an image")
    plain: list[float] = found.tolist()
    return plain
