"""What is seen on the way of an attack? Every query that goes through a surrogate is a candidate.

AutoAttack returns the clean image where the *surrogate* withstood, and throws away the rest of its
path. The tap stands before the surrogate and offers each query, or each few, to the ledger, which
asks the target.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .ledger import Ledger


class AllBroken(Exception):
    """No row of a run is left to be broken; the engine catches it."""


class Graded(nn.Module):
    """A model whose logits always have a gradient, in rows: zero where the model gives none.

    >>> model = Graded(lambda images: images.detach())
    >>> model(torch.zeros(1, 2, requires_grad=True)).requires_grad, model.blind
    (True, True)
    """

    def __init__(self, model: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.blind = model, False

    def forward(self, images: Tensor) -> Tensor:
        """The model's logits (N, K)."""
        asked = torch.is_grad_enabled() and images.requires_grad
        if (
            asked
        ):  # AutoAttack takes a .view of gradients; channels-last models give others
            images = images.view_as(images)
            hook: Any = images.register_hook
            hook(torch.Tensor.contiguous)
        logits = self.model(images)
        if asked and not logits.requires_grad:
            self.blind = True
            nothing = 0 * images.flatten(1).sum(1, keepdim=True)
            logits = logits + nothing.to(logits.dtype)
        return logits


class Tap(nn.Module):
    """The surrogate, watched.

    surrogate: images to logits. every: each so many-th query is offered, 0 for none. is_target:
    whether the surrogate is the target itself; then only what its own answer calls broken is
    offered, which costs next to nothing.
    """

    def __init__(
        self,
        surrogate: nn.Module,
        ledger: Ledger,
        source: str,
        every: int,
        is_target: bool,
    ) -> None:
        super().__init__()
        self.surrogate, self.source = Graded(surrogate), source
        self.ledger, self.every, self.is_target = ledger, every, is_target
        self.rows: Tensor | None = None
        self.queries = 0
        self.fooled: Tensor | None = None

    def watch(self, rows: Tensor) -> None:
        """From now on query i belongs to row rows[i]."""
        self.rows, self.queries = rows, 0
        self.fooled = torch.zeros_like(rows, dtype=torch.bool)

    @property
    def n_fooled(self) -> int:
        """Rows of the run on which the surrogate was wrong at least once."""
        return 0 if self.fooled is None else int(self.fooled.sum())

    def rest(self) -> None:
        """Queries are no candidates any more."""
        self.rows = None

    def forward(self, images: Tensor) -> Tensor:
        """The surrogate's logits. Raises AllBroken once no row of the run is alive."""
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
        if self.is_target:
            if bool(wrong.any()):
                self.ledger.offer(rows[wrong], images[wrong], self.source)
        elif self.queries % self.every == 0:
            self.ledger.offer(rows, images, self.source)
        else:
            return
        if not bool(self.ledger.alive[rows].any()):
            raise AllBroken
