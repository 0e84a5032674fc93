"""How does one line of a plan become runs on a whole batch, with no row dropped or moved?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..autoattack.runs import TARGET, AutoAttackEngine, Run
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
    Square goes on with rows that are wrong, so that its queries stay whole batches, and watched.
    """

    whole: ClassVar[bool] = True

    def _tap(self, surrogate: str, source: str, ledger: Ledger) -> Tap:
        is_target = surrogate == TARGET
        return JointTap(
            self.models[surrogate], ledger, source, self.probe_every, is_target
        )

    def _rows(self, surrogate: str, spec: AttackSpec, ledger: Ledger) -> Tensor:
        rows = ledger.rows()
        return rows if spec.on != "best" or surrogate == TARGET else rows[:0]

    def _runs(self, tap: Tap, surrogate: str, spec: AttackSpec) -> Iterator[Run]:
        if spec.kind in ("fab", "fab-t"):
            self.skipped.add(f"{spec.kind} takes rows out of the batch")
            return
        yield from super()._runs(tap, surrogate, spec)
