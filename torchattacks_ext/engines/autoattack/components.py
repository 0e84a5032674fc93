"""How is a component of AutoAttack run on some rows, for one aim or for several at once?

Several aims (targets, starts) are a stack: the rows are repeated, once for each aim. APGD and FAB
treat rows apart, so a stack finds what its runs would find one after the other; it only does not
know yet what the first of them broke.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..judge.harvest import Tap
from ..judge.ledger import AttackSpec
from . import upstream as aa

_L1_RADII, _L1_SHARES = (3.0, 2.0, 1.0), (0.3, 0.3, 0.4)


def apgd(
    tap: Tap,
    spec: AttackSpec,
    rows: Tensor,
    eps: Any,
    n_classes: int,
    starts: Sequence[Tensor],
    ranks: Sequence[int],
) -> None:
    """APGD from S starts, each (M, ...), on rows (M,) of the tap's ledger; both ends are offered.

    starts and eps (a float, or (M, 1, ...)) on the scale of [0, 1], as in all of these. ranks
    (S numbers, or none for an untargeted loss): run i aims at
    the class with the surrogate's ranks[i]-th largest score. S M (steps + 1) forward and backward
    row-passes, M more for ranks, and what is offered.
    """
    ledger, loss, n = tap.ledger, spec.loss, len(starts)
    if n_classes < 3 and loss == "dlr":
        loss = "margin"
    if ranks:
        loss = "ce" if n_classes < 4 else "dlr"
    stack = rows.repeat(n)
    tap.watch(stack, n)
    images, labels = tap.part(stack)
    attack = aa.make_apgd(
        tap,
        _stacked(eps, n),
        ledger.norm,
        spec.steps,
        loss,
        images.device,
        targeted=bool(ranks),
    )
    attack.init_hyperparam(images)
    if ranks:
        with torch.no_grad():
            scores = tap.surrogate(ledger.images[rows])
        own = labels[: len(rows)]
        attack.y_target = torch.cat([_ranked(scores, own, rank) for rank in ranks])
    best, _, _, adversarial = _apgd_run(attack, images, labels, torch.cat([*starts]))
    for found in (adversarial, best):
        tap.offer(stack, found)


def fab(
    tap: Tap, spec: AttackSpec, rows: Tensor, eps: Any, ranks: Sequence[int]
) -> None:
    """FAB at each of the ranks (0: untargeted, alone) on rows (M,); what it found is offered.

    FAB leaves rows alone that the surrogate gets wrong, so they are left out. For each rank
    2 M (steps + 1) forward and M steps backward row-passes.
    """
    ledger, n = tap.ledger, len(ranks)
    rows = tap.right(rows)
    if not len(rows):
        return
    stack = rows.repeat(n)
    tap.watch(stack, n)
    images, labels = tap.part(stack)
    attack = aa.make_fab(tap, eps, ledger.norm, spec.steps, images.device)
    targeted = ranks[0] > 0
    attack.targeted, attack.target_class = targeted, max(ranks[0], 2)
    if n > 1:
        numbers = torch.tensor(ranks, device=rows.device)
        attack.target_class = 2
        attack.rank_by(_Second(tap, numbers.repeat_interleave(len(rows))))
    found = attack.attack_single_run(
        images, labels, use_rand_start=False, is_targeted=targeted
    )
    tap.offer(stack, found)


def square(
    tap: Tap,
    spec: AttackSpec,
    rows: Tensor,
    eps: float,
    seed: int,
    ids: Tensor,
    whole: bool,
) -> None:
    """Square on rows (M,) with ids (M,); what it found is offered.

    whole: rows that are wrong are asked on, beside the others. M (steps + 1) forward row-passes.
    """
    ledger = tap.ledger
    images, labels = tap.part(rows)
    torch.manual_seed(seed)  # of the fork around the attack
    attack = aa.make_square(
        tap, eps, ledger.norm, spec.steps, images.device, seed=seed, ids=ids
    )
    attack.whole = whole
    attack.init_hyperparam(images)
    _, found = attack.attack_single_run(images, labels)
    ledger.offer(rows, ledger.unit.back(found), tap.source)


class _Second:
    """A model whose second largest score is that of rank ranks[i] in row i; else as it was.

    FAB takes one rank for all rows, by sorting what it gets.
    """

    def __init__(self, model: nn.Module, ranks: Tensor) -> None:
        self.model, self.ranks = model, ranks

    def __call__(self, images: Tensor) -> Tensor:
        scores: Tensor = self.model(images)
        order, rows = scores.argsort(dim=1), torch.arange(len(images))
        rows = rows.to(images.device)
        wanted, second = order[rows, -self.ranks], order[:, -2]
        found = scores.clone()
        found[rows, wanted], found[rows, second] = (
            scores[rows, second],
            scores[rows, wanted],
        )
        return found


def _stacked(eps: Any, n: int) -> Any:
    return torch.cat([eps] * n) if isinstance(eps, Tensor) else eps


def _ranked(scores: Tensor, labels: Tensor, rank: int) -> Tensor:
    """The class of the rank-th largest score, as AutoAttack takes it; never the label."""
    order = scores.argsort(dim=1)
    found = order[:, -rank]
    # where the surrogate puts the label at that rank its first choice stands in
    return torch.where(found == labels, order[:, -1], found)


def _apgd_run(
    attack: object, images: Tensor, labels: Tensor, start: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """attack_single_run; in L1 with AutoAttack's three shrinking radii."""
    run = attack.attack_single_run  # type: ignore[attr-defined]
    if attack.norm != "L1":  # type: ignore[attr-defined]
        return run(images, labels, x_init=start)  # type: ignore[no-any-return]
    eps, steps = attack.eps, attack.n_iter  # type: ignore[attr-defined]
    shares = [-(-int(10 * share * steps) // 10) for share in _L1_SHARES[:2]]
    found = (start, labels, labels, start)
    for scale, count in zip(_L1_RADII, [*shares, steps - sum(shares)]):
        attack.eps, attack.n_iter = scale * eps, max(count, 1)  # type: ignore[attr-defined]
        start = start + aa.l1_projection(images, start - images, scale * eps)
        found = run(images, labels, x_init=start)
        start = found[0]
    return found
