"""How does one line of a plan become runs on a whole batch, with no row dropped or moved?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..autoattack import upstream as aa
from ..autoattack.runs import TARGET, AutoAttackEngine
from ..judge.harvest import AllBroken, Tap
from ..judge.ledger import AttackSpec, Ledger
from .ledgers import JointLedger


class JointTap(Tap):
    """The attacked model, watched; what is offered is always the batch as a whole.

    On the target a batch is offered where it is news: a row wrong that never was, or more rows
    wrong at once than in any batch before.
    """

    def _offer(self, rows: Tensor, images: Tensor, wrong: Tensor) -> None:
        assert isinstance(self.ledger, JointLedger)
        if self.is_target:
            if not self.ledger.gains(wrong):
                return
        elif not self.every or self.queries % self.every:
            return
        self.ledger.offer(rows, images, self.source)
        if not bool(self.ledger.alive.any()):
            raise AllBroken


@dataclass
class JointEngine(AutoAttackEngine):
    """Drives AutoAttack's components over one batch of a batch-dependent target.

    As :class:`~torchattacks_ext.engines.autoattack.runs.AutoAttackEngine`, with a JointLedger.
    Lines on "best" run on the target alone, FAB is left out (it takes rows out of the batch), and
    Square goes on with rows that are wrong, so that its queries stay whole batches.
    """

    def _tap(self, surrogate: str, source: str, ledger: Ledger) -> Tap:
        is_target = surrogate == TARGET
        return JointTap(
            self.models[surrogate], ledger, source, self.probe_every, is_target
        )

    def _rows(self, surrogate: str, spec: AttackSpec, ledger: Ledger) -> Tensor:
        rows = ledger.rows()
        return rows if spec.on != "best" or surrogate == TARGET else rows[:0]

    def _runs(
        self, tap: Tap, surrogate: str, spec: AttackSpec, ledger: Ledger
    ) -> Iterator[Callable[[Tensor, Any], None]]:
        if spec.kind in ("fab", "fab-t"):
            self.skipped.add(f"{spec.kind} takes rows out of the batch")
            return
        yield from super()._runs(tap, surrogate, spec, ledger)

    def _square(
        self, tap: Tap, spec: AttackSpec, ledger: Ledger, rows: Tensor, eps: Any
    ) -> None:
        """Square, every query of which is a whole batch, and watched."""
        why = aa.square_misfit(ledger.images, ledger.norm)
        if why:
            self.skipped.add(why)
            return
        images, labels = ledger.images.contiguous(), ledger.labels
        torch.manual_seed(self.seed)  # of the fork around the attack
        attack = aa.make_square(
            tap,
            eps,
            ledger.norm,
            spec.steps,
            images.device,
            seed=self.seed,
            ids=self.ids[rows],
        )
        attack.whole = True
        attack.init_hyperparam(images)
        _, found = attack.attack_single_run(images, labels)
        ledger.offer(rows, found, tap.source)
