"""How many rows of one deployed batch can be wrong at once? Compose, verify, repair.

Candidates that broke their rows in different batches do not add up: in one batch each of them is
the companion of all others. So the composed batch is verified, then repaired: a row that is still
right takes another candidate, and the change stays where more rows are wrong than before.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...numerics.norms import per_row
from .ledgers import JointLedger

SOURCE = "target/composed"
"""The name of what is found by composing, in the books."""


def realise(ledger: JointLedger, rounds: int = 3) -> Tensor:
    """The batch (B, ...) with most rows wrong at once; also left in `ledger.best`.

    Starts from the best batch that any attack has shown and from the one composed of each row's
    best candidate. Each round offers rows that are right their other candidates: all at once, then
    in halves down to one row; it ends when a round changes nothing. At most about
    ``rounds * POOL * 2 B`` forward calls of B rows, far fewer where rows fall.
    """
    ledger.entry(SOURCE)
    for candidate in ledger.candidates():
        composed = torch.where(per_row(ledger.wrong, candidate), ledger.best, candidate)
        for batch in (candidate, composed):
            ledger.note(batch, ledger.look(batch), SOURCE)
    for _ in range(rounds):
        before = ledger.n_errors
        for candidate in ledger.candidates():
            _repair(ledger, candidate)
        if ledger.n_errors == before:
            break
    return ledger.best


def _repair(ledger: JointLedger, candidate: Tensor) -> None:
    """Put candidates in for rows that are right; groups of them, halved until they help."""
    queue = [torch.nonzero(~ledger.wrong).flatten()]
    while queue:
        group = queue.pop(0)
        group = group[~ledger.wrong[group]]  # an accepted group may have tipped others
        if not len(group):
            continue
        before, batch = ledger.n_errors, ledger.best.clone()
        batch[group] = candidate[group]
        ledger.note(batch, ledger.look(batch), SOURCE)
        if ledger.n_errors == before and len(group) > 1:
            half = len(group) // 2
            queue += [group[:half], group[half:]]
