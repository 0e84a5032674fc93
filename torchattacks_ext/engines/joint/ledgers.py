"""What can an attacker do who controls a whole batch? The judge for batch-dependent targets.

The answer for a row depends on its companions, so candidates are judged together, in one forward
pass of the whole batch in its order; no row is ever left out or moved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..._typing import LogitsFn
from ...errors import InputError
from ...numerics.norms import per_row, project
from ..judge.active import Array, Judged
from ..judge.ledger import Ledger

POOL = 4
"""Candidates kept for each row."""
CLOSE = 1e-4
"""Of the largest logit: a gap that rounding may close."""
PlacedFn = Callable[[Tensor, Tensor], Tensor]
"""Images (r, ...) and their places (r,) in a batch to logits (r, K)."""


@dataclass
class JointLedger(Ledger):
    """The judge of one batch whose rows are answered together.

    union (B,) bool: some batch that was shown had this row wrong. n_errors: most rows wrong in one
    batch; `best` is that batch, wrong (B,) its rows, best_margin and best_prediction (B,) their
    answers. witness (B, ...): of each row what it looked like when it was first wrong, else its
    candidate of smallest margin. pool (B, k, ...) with pool_margin (B, k): the candidates of
    smallest margin of each row, as they came in different batches. together: go on until one batch
    has every row wrong; else until each row that was right has been wrong once. `alive` is all or
    nothing.

    >>> from torchattacks_ext.engines.judge.active import Judge
    >>> victim = lambda x: x - x.mean(0)  # answers depend on the batch
    >>> judge = Judge(victim, targeted=False, batch_size=2, rechecks=False)
    >>> images = torch.tensor([[0.9, 0.1], [0.1, 0.9]])
    >>> ledger = JointLedger.open(judge, images, torch.tensor([0, 1]), 0.5, "Linf")
    >>> ledger.offer(torch.arange(2), images.flip(1), "swap").tolist()
    [False, False]
    >>> ledger.union.tolist(), ledger.n_errors
    ([True, True], 2)
    """

    union: Tensor = field(init=False)
    pool: Tensor = field(init=False)
    pool_margin: Array = field(init=False)
    wrong: Tensor = field(init=False)
    witness: Tensor = field(init=False)
    best_margin: Array = field(init=False)
    best_prediction: Array = field(init=False)
    n_errors: int = field(init=False)
    together: bool = True

    def __post_init__(self) -> None:
        if self.judge.batch_size < len(self.images):
            raise InputError(
                f"the judge asks {self.judge.batch_size} rows at a time, the batch has "
                f"{len(self.images)}; a batch-dependent model must see it whole"
            )
        self.wrong = torch.from_numpy(~self.right).to(self.images.device)
        self.union, self.n_errors = self.wrong.clone(), int((~self.right).sum())
        self.alive = torch.ones_like(self.wrong)
        self.pool = self.images.unsqueeze(1).repeat_interleave(POOL, 1)
        self.pool_margin = np.full((len(self.images), POOL), np.inf)
        self.pool_margin[:, 0] = self.clean_margin
        self.witness = self.images.clone()
        self.best_margin = self.clean_margin.copy()
        self.best_prediction = self.prediction.copy()
        self._stop()

    def gains(self, wrong: Tensor) -> bool:
        """Would a batch with these rows wrong (B,) be news? One host sync."""
        news = (wrong & ~self.union).any() | (wrong.sum() > self.n_errors)
        return bool(news)

    def offer(self, rows: Tensor, candidates: Tensor, source: str) -> Tensor:
        """Judge candidates (B, ...) for all rows together; returns `alive` (B,).

        Rows with NaN or infinite pixels are shown clean. B forward row-passes. Raises InputError
        for a part of the batch.
        """
        if len(rows) != len(self.images):
            raise InputError(
                f"{len(rows)} rows of a batch of {len(self.images)} were offered; a batch-"
                "dependent model is asked about all of them"
            )
        self.entry(source).offers += 1
        whole = torch.isfinite(candidates).flatten(1).all(1)
        self.n_odd += int((~whole).sum())
        keep = per_row(whole, candidates)
        found = torch.where(keep, candidates.detach(), self.images)
        found = found.to(self.images.dtype)
        inside = project(self.images, found, self.eps, self.norm, self.bounds)
        self.note(inside, self.look(inside), source)
        return self.alive[rows]

    def look(self, images: Tensor) -> Judged:
        """What the judge says of a batch of images inside the ball; B forward row-passes."""
        with torch.no_grad():
            seen = self.judge.judge(
                len(images), lambda part: (images[part], self.labels[part]), None
            )
        assert seen is not None  # no budget was given
        return seen

    def note(self, inside: Tensor, seen: Judged, source: str) -> None:
        """Write down what was seen of one batch inside the ball."""
        number = self.sources.index(source)
        wrong = torch.from_numpy(seen.failed).to(inside.device)
        known = self.union.cpu().numpy()
        new = seen.failed & ~known
        self.breaker[new] = number
        self.entry(source).broken += int(new.sum())
        self.union = self.union | wrong
        shown = new | ((seen.margin < self.margin) & ~known)
        self.margin = np.where(shown, seen.margin, self.margin)
        self.lead = np.where(shown, number, self.lead)
        self.prediction = np.where(shown, seen.prediction, self.prediction)
        rows = torch.from_numpy(np.flatnonzero(shown)).to(inside.device)
        self.witness[rows] = inside[rows]
        self._pool(inside, seen.margin)
        if int(seen.failed.sum()) > self.n_errors:
            self.n_errors, self.best = int(seen.failed.sum()), inside.clone()
            self.wrong = wrong
            self.best_margin, self.best_prediction = seen.margin, seen.prediction
        self._stop()

    def _pool(self, inside: Tensor, margin: Array) -> None:
        slot = self.pool_margin.argmax(1)
        rows = np.arange(len(margin))
        chosen = np.flatnonzero(margin < self.pool_margin[rows, slot])
        self.pool_margin[chosen, slot[chosen]] = margin[chosen]
        place = torch.from_numpy(chosen).to(inside.device)
        there = torch.from_numpy(slot[chosen]).to(inside.device)
        self.pool[place, there] = inside[place]

    def candidates(self) -> list[Tensor]:
        """The pool as `POOL` batches (B, ...), each row's smallest margin first."""
        order = torch.from_numpy(self.pool_margin.argsort(1)).to(self.pool.device)
        rows = torch.arange(len(self.pool), device=self.pool.device)
        return [self.pool[rows, order[:, slot]] for slot in range(POOL)]

    def _stop(self) -> None:
        done = bool(self.union.all())
        if self.together:
            done = done and self.n_errors == len(self.images)
        if done:
            self.alive = torch.zeros_like(self.alive)


class Isolated(nn.Module):
    """One image attacked, its companions clean: a batch-dependent model, row by row.

    Row i of the answer is row i of ``model(clean with images[i] at place i)``; gradients run
    through image i alone. `asked` (B,) bool: the others keep the answer that they had last.

    Arguments:
        model (callable): a batch (B, ...) to logits (B, K).
        clean (Tensor): the clean batch (B, ...).
        quick (callable or None): images (r, ...) and their places (r,) to the same logits (r, K) up
            to rounding, at less cost. Judged without gradients, close calls are asked of the model
            all the same. (Default: None)

    Cost: B forward (and backward) row-passes for each row that is asked, or what `quick` costs.

    >>> alone = Isolated(lambda x: x - x.mean(0), torch.zeros(2, 2))
    >>> alone(torch.tensor([[4.0, 0.0], [8.0, 4.0]]))
    tensor([[2., 0.],
            [4., 2.]])
    """

    def __init__(
        self, model: LogitsFn, clean: Tensor, quick: PlacedFn | None = None
    ) -> None:
        super().__init__()
        self.model, self.clean, self.quick = model, clean, quick
        with torch.no_grad():
            self.known = model(clean).detach().clone()
        self.asked = torch.ones(len(clean), dtype=torch.bool, device=clean.device)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K)."""
        rows = self.asked.nonzero().flatten()
        if not len(rows):
            return self.known.clone()
        answers = self._answers(images, rows)
        self.known = self.known.index_copy(0, rows, answers.detach())
        return self.known.clone().index_copy(0, rows, answers)

    def _answers(self, images: Tensor, rows: Tensor) -> Tensor:
        if self.quick is None:
            return self._by_batches(images, rows)
        answers = self.quick(images[rows], rows)
        if torch.is_grad_enabled():
            return answers
        top = answers.topk(2, dim=1).values
        close = (top[:, 0] - top[:, 1]) <= CLOSE * answers.abs().amax(1)
        if not bool(close.any()):
            return answers
        place = close.nonzero().flatten()
        again = self._by_batches(images, rows[place])
        return answers.index_copy(0, place, again.to(answers))

    def _by_batches(self, images: Tensor, rows: Tensor) -> Tensor:
        parts = []
        for i in rows.tolist():
            batch = torch.cat([self.clean[:i], images[i : i + 1], self.clean[i + 1 :]])
            parts.append(self.model(batch)[i : i + 1])
        return torch.cat(parts)


@dataclass
class IsolatedLedger(JointLedger):
    """The judge of rows that are attacked one at a time, each beside the clean rest.

    Its model is an :class:`Isolated`; rows that are wrong are not asked again.

    >>> from torchattacks_ext.engines.judge.active import Judge
    >>> alone = Isolated(lambda x: x - x.mean(0), torch.tensor([[0.9, 0.1], [0.1, 0.9]]))
    >>> judge = Judge(alone, targeted=False, batch_size=2, rechecks=False)
    >>> ledger = IsolatedLedger.open(judge, alone.clean, torch.tensor([0, 1]), 0.9, "Linf")
    >>> gray, black = torch.full((2, 2), 0.5), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> _ = ledger.offer(torch.arange(2), gray, "gray")
    >>> _ = ledger.offer(torch.arange(2), black, "swap")
    >>> ledger.union.tolist(), ledger.sources[int(ledger.breaker[0])]
    ([True, True], 'swap')
    """

    together: bool = False

    def note(self, inside: Tensor, seen: Judged, source: str) -> None:
        """Write down what was seen, and ask no more about rows that are wrong."""
        super().note(inside, seen, source)
        view: Any = self.judge.view
        view.asked = ~self.union
