"""How are some rows of a batch driven wrong by all of its rows? Ascent with an aim.

Where answers depend on the batch, the sum of all losses may cancel: what harms one row helps
another. So the loss counts chosen rows only (the aim), and the pixels of others (the free rows)
help.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ...numerics.losses import margins, was_masked
from ...numerics.norms import per_row, project
from ..judge.harvest import Graded
from .ledgers import JointLedger

SOURCE = "target/focused"
"""The name of what is found by aimed ascent, in the books."""
STEPS = 20
SHARES = (1.0, 0.75, 0.5, 0.25)
"""Parts of a batch that are aimed at together, those of smallest margin first."""


def ascend(
    model: nn.Module,
    ledger: JointLedger,
    start: Tensor,
    free: Tensor,
    aim: Tensor,
    steps: int = STEPS,
) -> Iterator[tuple[Tensor, Tensor]]:
    """(batch, rows wrong) of the start (B, ...) and of each step.

    free (B,) bool: rows whose pixels move; aim (B,) bool: rows that are to be wrong. Steps down on
    sum max(0, margin + kappa) over the aim, kappa a hundredth of the mean logit, by signed
    gradients in Linf and normalised ones else, 2.5 eps / steps each, projected. `steps + 1` forward
    and `steps` backward row-passes a row.
    """
    images, labels, eps = ledger.images, ledger.labels, float(ledger.eps)
    batch, graded = start, Graded(model)
    for step in range(steps + 1):
        asked = batch.detach().requires_grad_(step < steps)
        with torch.enable_grad():
            logits = graded(asked)
        yield batch, logits.detach().argmax(1) != labels
        if step == steps or graded.blind:
            return
        seen = logits.detach()
        kappa = 0.01 * seen[~was_masked(seen)].abs().mean()
        loss = (margins(logits[aim], labels[aim]) + kappa).clamp_min(0).sum()
        gradient = torch.zeros_like(batch)
        with graded.excused():
            gradient = torch.nan_to_num(torch.autograd.grad(loss, asked)[0])
        if graded.blind:
            return
        moved = batch - 2.5 * eps / steps * _direction(gradient, ledger.norm)
        moved = project(images, moved, eps, ledger.norm, ledger.bounds)
        batch = torch.where(per_row(free, images), moved, batch)


def focus(model: nn.Module, ledger: JointLedger) -> None:
    """Aim at parts of the batch, weakest rows first, and then at each row that no batch had wrong.

    The books get what is news. About ``2 STEPS (len(SHARES) + r)`` row-passes a row, where r rows
    of the batch withstand.
    """
    ledger.entry(SOURCE)
    everyone = torch.ones_like(ledger.union)
    order = torch.from_numpy(ledger.clean_margin.argsort()).to(everyone.device)
    aims = []
    for share in SHARES:
        aim = torch.zeros_like(everyone)
        aim[order[: max(1, round(share * len(order)))]] = True
        aims.append(aim)
    for aim in aims:
        _note(model, ledger, everyone, aim)
    for row in range(len(order)):
        if not bool(ledger.alive.any()):
            return
        if not bool(ledger.union[row]):
            aim = torch.zeros_like(everyone)
            aim[row] = True
            _note(model, ledger, everyone, aim)


def _note(model: nn.Module, ledger: JointLedger, free: Tensor, aim: Tensor) -> None:
    for batch, wrong in ascend(model, ledger, ledger.images, free, aim):
        if ledger.gains(wrong):
            ledger.note(batch, ledger.look(batch), SOURCE)
            if len(aim.nonzero()) == 1 and bool((ledger.union & aim).any()):
                return


def bystanders(model: nn.Module, ledger: JointLedger, attackers: Tensor) -> int:
    """How many of the clean rest are wrong beside attackers (B,) bool; the most that was seen.

    Seen are the attackers' rows of the realised batch, then aimed ascent from there.
    """
    rest = ~attackers
    if not bool(rest.any()):
        return 0
    start = torch.where(per_row(attackers, ledger.images), ledger.best, ledger.images)
    seen = ascend(model, ledger, start, attackers, rest)
    return max(int((wrong & rest).sum()) for _, wrong in seen)


def _direction(gradient: Tensor, norm: str) -> Tensor:
    if norm == "Linf":
        return gradient.sign()
    length = gradient.flatten(1).norm(dim=1).clamp_min(1e-12)
    return gradient / per_row(length, gradient)
