"""How often does a test err, and what does it cost? The exact law of its failures, look by look.

Nothing here is random. The number of failures is a Markov chain: from look to look it grows by a
binomial count, and at each look the counts that end the test are taken out (Armitage, McPherson &
Rowe 1969). Where every draw is a look and the limits stay the same for a while, the chain leaves
only upwards and by one failure at a time: the whole stretch is then one step, and its mean length
follows from ``p E[draws] = E[failures]`` (Wald 1944).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..._typing import Verdict
from ...errors import ConfigError
from .sequential import Boundaries

FloatArray = NDArray[np.float64]

_NEVER = 2**62
"""Failures that no test can count to: where no number of failures refutes."""
_TINY = 1e-250
"""Smaller probabilities are dropped, long before floats become slow and lose digits."""


class Operating(NamedTuple):
    """What a test does at one true failure rate.

    Attributes:
        certified: Probability that it ends with ROBUST.
        refuted: Probability that it ends with NOT_ROBUST.
        undecided: Probability that it gives up, or ends at its last look without a decision.
        mean_n: Mean number of draws until it ends.
    """

    certified: float
    refuted: float
    undecided: float
    mean_n: float


def operating(table: Boundaries, p: float) -> Operating:
    """Return how a test ends, and after how many draws, where each draw fails with probability p.

    With S_k the failures at look n_k and a sum over the counts that did not end the test before,

        P(S_k = s) = sum_i P(S_(k-1) = i) P(Bin(n_k - n_(k-1), p) = s - i).

    At ``p >= tolerance`` a certificate is an error, at ``p <= tolerance`` a refutation is.

    Args:
        table: The test; it ends at its last look at the latest.
        p: True failure rate, in [0, 1].

    Returns:
        :class:`Operating`. Only positive terms are added, so that small probabilities keep about
        12 digits; below 1e-230 they may be 0. Cost: a convolution for each look, or, where every
        draw is a look, for each change of the limits: 4 ms for the default looks up to 200,000
        draws, 0.3 s for 200,000 looks.

    Raises:
        ConfigError: ``p`` not in [0, 1].

    Example:
        >>> from torchattacks_ext.numerics.rates.sequential import boundaries
        >>> table = boundaries(tolerance=0.01, significance=0.01, n_max=20_000)
        >>> [round(x, 4) for x in operating(table, 0.01)[:3]]
        [0.009, 0.0038, 0.9873]
        >>> [round(operating(table, p).mean_n) for p in (0.0, 0.001, 0.9)]
        [505, 730, 8]
    """
    if not 0 <= p <= 1:
        raise ConfigError(
            f"p={p!r} is not in [0, 1]; give the true failure rate as a fraction"
        )
    chain = _Chain(float(p) if p > _TINY else 0.0)
    for run in _runs(table):
        chain.reach(run)
        if run.more:
            chain.linger(run)
        if not chain.alive.size:
            break
    return Operating(
        certified=chain.ended[Verdict.ROBUST],
        refuted=chain.ended[Verdict.NOT_ROBUST],
        undecided=chain.ended[Verdict.UNDECIDED] + float(chain.alive.sum()),
        mean_n=chain.mean_n,
    )


class _Run(NamedTuple):
    """A look and those that follow it draw by draw and end the test at the same counts."""

    look: int
    more: int  # looks that follow
    certify: int  # certified up to this count
    refute: int  # refuted from this count on
    give_up: int  # given up from here ...
    resume: int  # ... to below here; both are certify + 1 where the test never gives up


def _runs(table: Boundaries) -> Iterator[_Run]:
    looks = table.looks
    certify = np.maximum(table.certify_at, -1)
    refute = np.where(table.refute_at > looks, _NEVER, table.refute_at)
    refute = np.maximum(refute, certify + 1)  # as `decide`: a certificate goes first
    give_up = resume = certify + 1
    if table.give_up_from is not None and table.give_up_to is not None:
        begin = np.clip(table.give_up_from, certify + 1, refute)
        end = np.clip(table.give_up_to + 1, begin, refute)
        give_up = np.where(end > begin, begin, give_up)
        resume = np.where(end > begin, end, resume)
    columns = np.stack([looks, certify, refute, give_up, resume])
    changes = np.diff(columns, axis=1)
    starts = np.flatnonzero((changes[0] != 1) | changes[1:].any(axis=0)) + 1
    starts = np.append(0, starts)[: looks.size]
    lengths = np.diff(np.append(starts, looks.size))
    for (look, *limits), length in zip(columns[:, starts].T.tolist(), lengths.tolist()):
        yield _Run(look, length - 1, *limits)


class _Chain:
    """The law of the failures of a test that goes on: ``alive[i] = P(first + i failures)``."""

    def __init__(self, p: float) -> None:
        self.p = p
        self.alive: FloatArray = np.ones(1)
        self.first = self.drawn = 0
        self.ended = dict.fromkeys(Verdict, 0.0)
        self.mean_n = 0.0

    def reach(self, run: _Run) -> None:
        """Draw up to the first look of the run and take out what ends there."""
        draws = run.look - self.drawn
        self.mean_n += draws * float(self.alive.sum())
        alive, above, _ = _advance(self.alive, run.refute - self.first, draws, self.p)
        self.ended[Verdict.NOT_ROBUST] += above
        for begin, end, verdict in (
            (0, run.certify + 1, Verdict.ROBUST),
            (run.give_up, run.resume, Verdict.UNDECIDED),
        ):
            here = slice(max(begin - self.first, 0), max(end - self.first, 0))
            self.ended[verdict] += float(alive[here].sum())
            alive[here] = 0
        left = np.flatnonzero(alive >= _TINY)
        begin, end = (left[0], left[-1] + 1) if left.size else (0, 0)
        self.alive, self.first = alive[begin:end], self.first + int(begin)
        self.drawn = run.look

    def linger(self, run: _Run) -> None:
        """Draw up to the last look of the run: below a limit nothing ends before it is met."""
        under = max(run.give_up - self.first, 0)
        over = max(run.resume - self.first, 0)
        low, met_low, spent_low = _advance(self.alive[:under], under, run.more, self.p)
        high, met_high, spent_high = _advance(
            self.alive[over:], run.refute - self.first - over, run.more, self.p
        )
        self.ended[Verdict.UNDECIDED] += met_low
        self.ended[Verdict.NOT_ROBUST] += met_high
        self.mean_n += spent_low + spent_high
        self.alive = np.concatenate([low, np.zeros(over - low.size), high])
        self.drawn += run.more


def _advance(
    alive: FloatArray, room: int, draws: int, p: float
) -> tuple[FloatArray, float, float]:
    """Add the failures of ``draws`` draws to the counts 0, 1, ... of ``alive``.

    Returns what stays below ``room``, the probability of what does not, and the mean number of
    draws until ``room`` is met or all are made (a sum over ``alive``, as the probability is).
    """
    if not alive.size:
        return alive, 0.0, 0.0
    law, at_least, failures = _binomial(draws, p)
    below = np.convolve(alive, law[: max(room, 1)])[: max(room, 0)]
    needed = np.clip(room - np.arange(alive.size), 0, law.size)
    spent = alive @ failures[needed] / p if p else draws * alive.sum()
    return below, float(alive @ at_least[needed]), float(spent)


@lru_cache(maxsize=16)
def _binomial(draws: int, p: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """``P(B = k)`` for k = 0 .. K, ``P(B >= k)`` and ``E[min(B, k)]`` for k = 0 .. K + 1.

    From the mode outwards by the ratio of neighbours: no gamma function of a large number, whose
    rounding would cost four digits. By Bernstein's inequality less than 1e-320 lies above K.
    """
    mode = min(int((draws + 1) * p), draws)
    width = 500 + 40 * np.sqrt(draws * p * (1 - p))
    k = np.arange(1, min(draws, mode + int(width)) + 1)
    if p in (0, 1):
        law = (np.arange(mode + 1) == mode).astype(np.float64)
    else:
        ratio = (draws - k + 1) / k * (p / (1 - p))
        down, up = np.cumprod(1 / ratio[:mode][::-1])[::-1], np.cumprod(ratio[mode:])
        law = np.concatenate([down, [1.0], up])
        law[law < _TINY] = 0
        law /= law.sum()
    at_least = np.append(np.cumsum(law[::-1])[::-1], 0.0)
    return law, at_least, np.append(0.0, np.cumsum(at_least[1:]))
