"""What is seen on the way of an attack? Every query that goes through a surrogate is a candidate.

AutoAttack returns the clean image where the *surrogate* withstood, and throws away the rest of its
path. The tap stands before the surrogate and offers each query, or each few, to the ledger, which
asks the target. Where target and surrogate share a trunk, the target's answer to every query is
known beside the surrogate's (a peek), and only what it calls wrong is offered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..._typing import LogitsFn
from ...errors import ModelContractError
from ...models.gradients import (
    NoGradient,
    backward_raised,
    from_backward,
    gated,
    joined,
)
from ...numerics.losses import margins, unmasked
from ...numerics.norms import beyond, per_row
from .ledger import Ledger

_SLACK = 1e-4
"""Beyond the radius by this share: the ledger projects it away."""


class AllBroken(Exception):
    """No row of a run is left to be broken; the engine catches it."""


class Blind(Exception):
    """The model of a run gives no gradient, as was seen before; the engine catches it."""


class Graded(nn.Module):
    """A model whose logits always have a gradient, in rows: zero where the model gives none.

    Attacks compute with them, so that classes masked with -inf stand far below all others.

    blind: whether none arrived from the model so far as was asked, be it detached, None or an
    exception; why: words for that, where there are some.

    >>> model = Graded(lambda images: images.detach())
    >>> model(torch.zeros(1, 2, requires_grad=True)).requires_grad, model.blind
    (True, True)
    """

    def __init__(self, model: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.blind, self.why = model, False, ""

    @property
    def reason(self) -> str:
        """What a report says of a blind model, after its name."""
        return "gives no gradient to attack it by" + (self.why and f": {self.why}")

    def forward(self, images: Tensor) -> Tensor:
        """The model's logits (N, K)."""
        if not (torch.is_grad_enabled() and images.requires_grad):
            return unmasked(self.model(images))
        shown, token = gated(images, self._arrived)
        try:
            logits = self.model(shown)
        except (ModelContractError, NoGradient) as error:
            with torch.no_grad():  # is it the gradient that the model cannot bear?
                logits = self.model(images.detach())
            self.why = self.why or str(error)
        self.blind = self.blind or not logits.requires_grad
        return joined(unmasked(logits), token)

    def _arrived(self, gradient: bool) -> None:
        self.blind = self.blind or not gradient

    @contextmanager
    def excused(self) -> Iterator[None]:
        """An exception of the model's backward pass ends what is inside; the model is blind."""
        try:
            yield
        except Exception as error:
            if not from_backward(error):
                raise
            self.blind, self.why = True, self.why or str(backward_raised(error))


class Tap(nn.Module):
    """The surrogate, watched. What attacks it sees pixels on [0, 1], whatever the ledger's bounds.

    surrogate: images to logits. every: each so many-th query is offered, 0 for none. is_target:
    whether the surrogate is the target itself; then only what its own answer calls wrong is
    offered, which costs next to nothing. peek: images to the *target's* logits, at next to no cost
    after the surrogate was asked; then each query is looked at, and again only wrong rows are
    offered, and :meth:`offer_nearest` offers the smallest margin that was seen. Of the wrong rows
    those outside the ball (FAB's), and those once offered in vain, wait for each `every`-th query.
    """

    def __init__(
        self,
        surrogate: nn.Module,
        ledger: Ledger,
        source: str,
        every: int,
        is_target: bool,
        peek: LogitsFn | None = None,
    ) -> None:
        super().__init__()
        self.surrogate, self.source = Graded(surrogate), source
        self.ledger, self.every, self.is_target = ledger, every, is_target
        self.glance = None if peek is None or is_target or not every else Glance(peek)
        self.rows: Tensor | None = None
        self.queries, self.copies = 0, 1
        self.fooled: Tensor | None = None
        self.refused: Tensor | None = None

    def watch(self, rows: Tensor, copies: int = 1) -> None:
        """From now on query i belongs to row rows[i]; the rows may come several times in turn."""
        self.rows, self.queries, self.copies = rows, 0, copies
        self.fooled = torch.zeros_like(rows, dtype=torch.bool)
        self.refused = torch.zeros_like(rows, dtype=torch.bool)
        if self.glance is not None:
            self.glance.begin(self.ledger, rows)

    def right(self, rows: Tensor) -> Tensor:
        """Of these rows (M,) those that the surrogate gets right. M forward row-passes."""
        with torch.no_grad():
            said = self.surrogate(self.ledger.images[rows]).argmax(1)
        return rows[said == self.ledger.labels[rows]]

    def part(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Images (M, ...) on [0, 1], contiguous, and labels (M,) of rows (M,) of the ledger."""
        images, labels = self.ledger.part(rows)
        return self.ledger.unit.of(images), labels

    @property
    def n_fooled(self) -> int:
        """Rows of the run on which the surrogate was wrong at least once."""
        return 0 if self.fooled is None else int(self.fooled.sum())

    def rest(self) -> None:
        """Queries are no candidates any more."""
        self.rows = None

    def offer_nearest(self) -> None:
        """Offer what a peek saw nearest to failure on the way, where that is news to the ledger.

        One forward row-pass of the target for each such row, none without a peek.
        """
        if self.glance is None or self.rows is None:
            return
        known = torch.from_numpy(self.ledger.margin).to(self.rows.device)[self.rows]
        news = (self.glance.margin < known) & self.ledger.alive[self.rows]
        self._hand_in(self.rows, self.glance.images, news)

    def offer(self, rows: Tensor, candidates: Tensor) -> None:
        """Offer candidates (M, ...) on [0, 1] of the watched rows (M,), copy by copy."""
        self._hand_in(rows, self.ledger.unit.back(candidates.detach()))

    def _hand_in(
        self, rows: Tensor, candidates: Tensor, chosen: Tensor | None = None
    ) -> None:
        """Offer pixels (M, ...). chosen (M,) bool: those that are meant, all when None."""
        size = max(1, len(rows) // self.copies)
        for start in range(0, len(rows), size):
            part = slice(start, start + size)
            if chosen is None:
                self.ledger.offer(rows[part], candidates[part], self.source)
            elif bool(chosen[part].any()):
                place = chosen[part].nonzero().flatten() + start
                self.ledger.offer(rows[place], candidates[place], self.source)

    def forward(self, images: Tensor) -> Tensor:
        """The surrogate's logits for images on [0, 1].

        Raises AllBroken once no row of the run is alive, and Blind for the gradient of a model
        that was seen to give none.
        """
        asked = torch.is_grad_enabled() and images.requires_grad
        if asked and self.surrogate.blind:
            raise Blind
        images = self.ledger.unit.back(images)
        logits: Tensor = self.surrogate(images)
        rows = self.rows
        if rows is None or len(rows) != len(images):
            return logits
        with torch.no_grad():
            wrong = logits.argmax(1) != self.ledger.labels[rows]
            if self.fooled is not None:
                self.fooled |= wrong
            self.queries += 1
            self._offer(rows, images, wrong)
        return logits

    def _offer(self, rows: Tensor, images: Tensor, wrong: Tensor) -> None:
        if not self.every:
            return
        turn = self.queries % self.every == 0
        if self.glance is not None:
            wrong = self.glance.look(self.ledger, rows, images)
        if self.is_target or self.glance is not None:
            self._offer_wrong(rows, images, wrong & self.ledger.alive[rows], turn)
        elif turn:
            self._hand_in(rows, images)
            self._go_on(rows)

    def _offer_wrong(
        self, rows: Tensor, images: Tensor, wrong: Tensor, turn: bool
    ) -> None:
        assert self.refused is not None  # watch() was called
        if not turn:
            wrong = wrong & ~self.refused
        if not bool(wrong.any()):
            return
        if not turn:
            wrong = wrong & _inside(self.ledger, rows, images)
            if not bool(wrong.any()):
                return
        self._hand_in(rows, images, wrong)
        self.refused |= wrong
        self._go_on(rows)

    def _go_on(self, rows: Tensor) -> None:
        if not bool(self.ledger.alive[rows].any()):
            raise AllBroken


class Glance:
    """The target's answer to the queries of one run on a surrogate, seen for nothing.

    peek: images to the target's logits. margin (M,): the smallest that was seen inside the ball,
    inf before; images (M, ...): where.
    """

    def __init__(self, peek: LogitsFn) -> None:
        self.peek = peek

    def begin(self, ledger: Ledger, rows: Tensor) -> None:
        """A run on these rows (M,) begins."""
        self.images = ledger.images[rows]
        self.margin = torch.full_like(rows, float("inf"), dtype=torch.float64)

    def look(self, ledger: Ledger, rows: Tensor, images: Tensor) -> Tensor:
        """(M,) bool: rows of which the target's answer is wrong, or not finite."""
        logits, labels = self.peek(images), ledger.labels[rows]
        margin = margins(logits, labels).double()
        odd = ~torch.isfinite(margin)
        nearer = ~odd & (margin < self.margin) & _inside(ledger, rows, images)
        self.margin = torch.where(nearer, margin, self.margin)
        seen = images.to(self.images.dtype)
        self.images = torch.where(per_row(nearer, images), seen, self.images)
        return (logits.argmax(1) != labels) | odd


def _inside(ledger: Ledger, rows: Tensor, images: Tensor) -> Tensor:
    """(M,) bool: candidates in the ball of their row, but for rounding."""
    clean = ledger.images[rows]
    radius, roundings = ledger.radius(rows), 4.0  # a scale to [0, 1] and back is three
    return ~beyond(clean, images.to(clean), radius, ledger.norm, _SLACK, roundings)
