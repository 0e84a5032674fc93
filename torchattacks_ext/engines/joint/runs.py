"""How does one line of a plan become runs on a whole batch, with no row dropped or moved?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from ..._typing import LogitsFn
from ..autoattack.runs import TARGET, AutoAttackEngine, Run
from ..judge.harvest import AllBroken, Tap
from ..judge.ledger import AttackSpec, Ledger
from .ledgers import JointLedger


class JointTap(Tap):
    """The attacked model, watched; what is offered is always the batch as a whole.

    On the target a batch is offered where it is news: a row wrong that never was, or more rows
    wrong at once than in any batch before. On a surrogate each `every`-th is, and where the
    target's answer is known beside the surrogate's (`shown`), so is what is news.
    """

    # in a tuple: it may be a Module, but is no part of this one
    shown: tuple[LogitsFn, ...] = ()

    def _offer(self, rows: Tensor, images: Tensor, wrong: Tensor) -> None:
        assert isinstance(self.ledger, JointLedger)
        if self.is_target:
            if not self.ledger.gains(wrong):
                return
        elif not self._is_worth_it(rows, images):
            return
        self.ledger.offer(rows, images, self.source)
        if not bool(self.ledger.alive.any()):
            raise AllBroken

    def _is_worth_it(self, rows: Tensor, images: Tensor) -> bool:
        assert isinstance(self.ledger, JointLedger)
        if not self.every:
            return False
        if self.queries % self.every == 0:
            return True
        return any(
            self.ledger.gains(ask(images).argmax(1) != self.ledger.labels[rows])
            for ask in self.shown
        )


@dataclass
class JointEngine(AutoAttackEngine):
    """Drives AutoAttack's components over one batch of a batch-dependent target.

    As :class:`~torchattacks_ext.engines.autoattack.runs.AutoAttackEngine`, with a JointLedger.
    Lines on "best" run on the target alone, FAB is left out (it takes rows out of the batch), and
    Square goes on with rows that are wrong, so that its queries stay whole batches, and watched.
    shown: as `peeks`, but a batch that is no news is still offered at each `probe_every`-th query.
    """

    whole: ClassVar[bool] = True

    shown: Mapping[str, LogitsFn] = field(default_factory=dict)

    def _tap(self, surrogate: str, source: str, ledger: Ledger) -> Tap:
        is_target = surrogate == TARGET
        tap = JointTap(
            self.models[surrogate], ledger, source, self.probe_every, is_target
        )
        tap.shown = (self.shown[surrogate],) if surrogate in self.shown else ()
        return tap

    def _rows(self, surrogate: str, spec: AttackSpec, ledger: Ledger) -> Tensor:
        rows = ledger.rows()
        return rows if spec.on != "best" or surrogate == TARGET else rows[:0]

    def _runs(self, tap: Tap, surrogate: str, spec: AttackSpec) -> Iterator[Run]:
        if spec.kind in ("fab", "fab-t"):
            self.skipped.add(f"{spec.kind} takes rows out of the batch")
            return
        yield from super()._runs(tap, surrogate, spec)
