"""Who decides for a target that answers at random? Screening by one draw, then fresh draws.

One wrong answer may be luck, and whoever picks the candidates that looked worst and reports the
same looks has picked luck. So a single draw only puts a candidate into a pool; draws made after
that choose among the pool; and what is reported comes from draws that chose nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..._typing import LogitsFn
from ...numerics.losses import margins
from .active import Array, Judged
from .ledger import Ledger

POOL = 5
"""Candidates kept for each row; the last place is that of the latest one."""
CHOICE = 20
"""Draws by which the candidates of a pool are compared."""
DEAD = 0.05
"""A row is not attacked any further once so few of them, or fewer, are right."""


def votes(
    view: LogitsFn, images: Tensor, n_draws: int, n_classes: int, batch_size: int
) -> Array:
    """(B, K) int64: how often each class was the answer in `n_draws` fresh forward passes.

    The draws are the model's own. Non-finite logits vote for nobody. B x n_draws row-passes.

    >>> votes(lambda x: x, torch.tensor([[0.1, 0.9], [0.8, 0.2]]), 5, 2, 8).tolist()
    [[0, 5], [5, 0]]
    """
    found = torch.zeros(len(images), n_classes, dtype=torch.int64, device=images.device)
    with torch.no_grad():
        for rows in _parts(len(images), batch_size):
            for _ in range(n_draws):
                logits = view(images[rows])
                said = logits.isfinite().all(1).to(torch.int64)
                found[rows] = found[rows].scatter_add(
                    1, logits.argmax(1, keepdim=True), said[:, None]
                )
    return np.asarray(found.cpu().numpy())


@dataclass(frozen=True)
class Offered:
    """One offer: images (M, ...) in the ball, margin and prediction (M,) of one draw, source."""

    images: Tensor
    margin: Array
    prediction: Array
    source: int


@dataclass
class ScreenLedger(Ledger):
    """The judge for a randomised target: an offer is one draw and decides nothing.

    Candidates of smallest margin, in the one draw that each of them got, wait in a pool beside the
    latest one, until :meth:`settle` gives each `CHOICE` draws; a row whose best candidate is right
    in `DEAD` of them or fewer is dead for the search. `best` is the candidate of least score (B,),
    a smoothed share of those draws; shares and scores choose, they are nothing to report.

    >>> from torchattacks_ext.engines.judge.active import Judge
    >>> class Noisy(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x + 0.3 * torch.randn(x.shape)
    >>> judge = Judge(Noisy(), targeted=False, batch_size=8, rechecks=False)
    >>> image, label = torch.tensor([[0.9, 0.1]]), torch.tensor([0])
    >>> ledger = ScreenLedger.open(judge, image, label, 1.0, "Linf")
    >>> for _ in range(3):
    ...     _ = ledger.offer(torch.tensor([0]), torch.tensor([[0.0, 1.0]]), "swap")
    >>> ledger.settle()
    >>> ledger.alive.tolist(), bool(ledger.share[0] < 0.5)
    ([False], True)
    """

    pool: Tensor = field(init=False)
    pool_margin: Array = field(init=False)
    pool_source: Array = field(init=False)
    pool_prediction: Array = field(init=False)
    waiting: Array = field(init=False)
    share: Array = field(init=False)
    score: Array = field(init=False)

    def __post_init__(self) -> None:
        n = len(self.images)
        self.pool = self.images.unsqueeze(1).repeat_interleave(POOL, 1)
        self.pool_margin = np.full((n, POOL), np.inf)
        self.pool_source = np.full((n, POOL), -1, dtype=np.int64)
        self.pool_prediction = np.repeat(self.prediction[:, None], POOL, 1)
        self.waiting = np.zeros((n, POOL), dtype=bool)
        self.share, self.score = np.ones(n), np.ones(n)

    def start_from(self, right: Array) -> None:
        """Rows (B,) bool that are attacked; the others are dead."""
        self.right = right.copy()
        self.alive = torch.from_numpy(right.copy()).to(self.images.device)

    def _record(self, place: Tensor, inside: Tensor, seen: Judged, source: str) -> None:
        at, margin = place.cpu().numpy(), seen.margin
        number = self.sources.index(source)
        slot = self.pool_margin[at, :-1].argmax(1)
        better = margin < self.pool_margin[at, slot]
        kept = Offered(inside, margin, seen.prediction, number)
        self._keep(at[better], slot[better], kept, np.flatnonzero(better))
        everyone = np.arange(len(at))
        self._keep(at, np.full(len(at), POOL - 1), kept, everyone)
        first = (margin < self.margin[at]) & (self.score[at] == 1.0)
        self.margin[at[first]], self.lead[at[first]] = margin[first], number
        start = torch.from_numpy(np.flatnonzero(first)).to(inside.device)
        self.best[place[start]] = inside[start]

    def _keep(self, rows: Array, slots: Array, offered: Offered, which: Array) -> None:
        """Candidates number `which` of an offer take these slots of their rows."""
        self.pool_margin[rows, slots] = offered.margin[which]
        self.pool_source[rows, slots] = offered.source
        self.pool_prediction[rows, slots] = offered.prediction[which]
        self.waiting[rows, slots] = True
        device = self.pool.device
        there, where = (torch.from_numpy(x).to(device) for x in (rows, slots))
        self.pool[there, where] = offered.images[torch.from_numpy(which).to(device)]

    def settle(self) -> None:
        """Weigh what waits in the pools of the rows that are alive, each candidate once.

        `CHOICE` forward row-passes a candidate, at most `POOL` of them a row.
        """
        alive = self.alive.cpu().numpy()
        for slot in range(POOL):
            rows = np.flatnonzero(alive & self.waiting[:, slot])
            if len(rows):
                self._weigh(rows, slot)
        self.waiting[:] = False
        dead = np.flatnonzero(alive & (self.share <= DEAD))
        self.breaker[dead] = self.lead[dead]
        for number in self.lead[dead]:
            self.entry(self.sources[number]).broken += 1
        self.alive[torch.from_numpy(dead).to(self.alive.device)] = False

    def _weigh(self, rows: Array, slot: int) -> None:
        place = torch.from_numpy(rows).to(self.pool.device)
        share, score = self._looked_at(place, self.pool[place, slot])
        better = score < self.score[rows]
        chosen = rows[better]
        self.share[chosen], self.score[chosen] = share[better], score[better]
        self.lead[chosen] = self.pool_source[chosen, slot]
        self.margin[chosen] = self.pool_margin[chosen, slot]
        self.prediction[chosen] = self.pool_prediction[chosen, slot]
        there = torch.from_numpy(chosen).to(self.pool.device)
        self.best[there] = self.pool[there, slot]

    def _looked_at(self, place: Tensor, images: Tensor) -> tuple[Array, Array]:
        """(share, score), each (M,): of `CHOICE` fresh draws that were right, and what ranks them.

        The score is the mean of the share and Phi(mean / sd) of the margins, the chance of a right
        answer if margins were normal: shares of few draws tie and jump, margins do not.
        """
        labels, seen = self.labels[place], []
        with torch.no_grad():
            for part in _parts(len(place), self.judge.batch_size):
                asked = images[part], labels[part]
                seen.append(torch.stack([self._one(*asked) for _ in range(CHOICE)]))
        found = torch.cat(seen, 1)
        share = (found >= 0).double().mean(0)
        spread = found.std(0).clamp_min(1e-12)
        chance = torch.special.ndtr((found.mean(0) / spread).clamp(-9, 9))
        score = (share + torch.nan_to_num(chance)) / 2
        return np.asarray(share.cpu().numpy()), np.asarray(score.cpu().numpy())

    def _one(self, images: Tensor, labels: Tensor) -> Tensor:
        """(M,) margins of one draw, below 0 where the answer is wrong or no number."""
        logits = self.judge.view(images).double()
        margin = margins(logits, labels)
        tie = (logits.argmax(1) != labels) & (margin == 0)
        margin = torch.where(tie, -1e-12, margin)
        return torch.where(logits.isfinite().all(1), margin, -1e12)


def _parts(n: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, n, size))
