"""What does AutoAttack's own sequence leave, run as its authors run it?

Each component's `perturb` on the rows that are still robust, packed anew into batches over the
whole data set and seeded by one number for every batch: the robust flags are those of
`AutoAttack.run_standard_evaluation` with the same seed and batch size. Its restrictions are kept:
what a component returns is judged, nothing else. Only what crashes is mended: targets are at most
K - 1, and targeted losses that need four classes are left out below that.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import InputError
from ...models.meter import Budget, Meter
from ...numerics.unit import OnUnit
from ..judge.harvest import Graded
from ..judge.ledger import Ledger
from . import upstream as aa

STANDARD = ("apgd-ce", "apgd-t", "fab-t", "square")
"""AutoAttack's version "standard"."""


@dataclass
class StandardSequence:
    """AutoAttack's protocol on one model, judged on the ledger's target.

    name: of the model in the books. steps: of APGD and FAB; n_queries: of Square. seed, batch_size:
    as AutoAttack's. budget: a batch that does not fit is not begun
    (`cut` of the ledger names its rows).
    """

    name: str
    model: nn.Module
    n_classes: int
    seed: int
    batch_size: int
    meter: Meter
    steps: int = 100
    n_queries: int = 5000
    budget: Budget | None = None

    def __post_init__(self) -> None:
        self._graded = Graded(self.model)

    def run(self, attacks: Sequence[str], ledger: Ledger) -> tuple[str, ...]:
        """Run the attacks in order; returns the reasons for what was left out."""
        if isinstance(ledger.eps, Tensor):
            raise InputError(
                "AutoAttack's own protocol takes one radius for all rows, not one a row"
            )
        left_out = []
        for attack in attacks:
            why = self._unfit(attack, ledger) or self._blinded(attack)
            if why:
                left_out.append(why)
                continue
            self._run_all(attack, ledger)
        if self._graded.blind:
            left_out.append(f"{self.name} {self._graded.reason}")
        return tuple(dict.fromkeys(left_out))

    def _run_all(self, attack: str, ledger: Ledger) -> None:
        """One component on all rows that are left, as far as the budget goes; booked."""
        source = f"{self.name}/{attack}"
        entry, before = ledger.entry(source), self.meter.snapshot()
        started, rows = time.perf_counter(), ledger.rows()
        for part in torch.split(rows, self.batch_size) if len(rows) else ():
            if not self._affords(attack, len(part)):
                ledger.cut.update(part.tolist())  # a smaller batch may still fit
                continue
            entry.tried += len(part)
            with self._graded.excused():
                entry.fooled += self._run_part(attack, part, ledger, source)
            if self._blinded(attack):
                break
        entry.pay(self.meter.since(before, time.perf_counter() - started))

    def _run_part(self, attack: str, part: Tensor, ledger: Ledger, source: str) -> int:
        """One component on one batch, judged; how many images it changed."""
        images, labels = ledger.part(part)
        units = ledger.unit.of(images)
        found = self._perturb(attack, units, labels, ledger)
        ledger.offer(part, ledger.unit.back(found), source)
        return int((found != units).flatten(1).any(1).sum())

    def _blinded(self, attack: str) -> str:
        """Why an attack has nothing to go by; empty where it has."""
        blind = self._graded.blind and attack != "square"
        return f"{self.name} {self._graded.reason}" if blind else ""

    def _affords(self, attack: str, n_rows: int) -> bool:
        """Whether the budget has room for one component on one batch."""
        if self.budget is None:
            return True
        steps, targets = self.steps + 2, aa.n_targets(9, self.n_classes)
        each = {
            "apgd-t": targets * (steps + 1),
            "fab-t": targets * 2 * (steps + 1),
            "square": self.n_queries + 2,
        }.get(attack, 5 * steps)
        return self.budget.fits(n_rows * (each + 2))

    def _unfit(self, attack: str, ledger: Ledger) -> str:
        if attack == "apgd-t" and self.n_classes < 4:
            return f"apgd-t needs four classes, the model has {self.n_classes}"
        if attack == "apgd-dlr" and self.n_classes < 3:
            return f"apgd-dlr needs three classes, the model has {self.n_classes}"
        return aa.square_misfit(ledger.images, ledger.norm) * (attack == "square")

    def _perturb(
        self, attack: str, images: Tensor, labels: Tensor, ledger: Ledger
    ) -> Tensor:
        """One component on one batch, with the settings of version "standard"."""
        eps, norm = ledger.unit.radius(float(ledger.eps)), ledger.norm
        device = images.device
        component: Any
        model = OnUnit(self._graded, ledger.unit)
        if attack.startswith("apgd"):
            loss = {"apgd-ce": "ce", "apgd-dlr": "dlr", "apgd-t": "dlr"}[attack]
            component = aa.make_apgd(
                model,
                eps,
                norm,
                self.steps,
                loss,
                device,
                targeted=attack == "apgd-t",
            )
            wanted = 9
            if norm == "L1":
                component.use_largereps = True
                component.n_restarts = 1 if attack == "apgd-t" else 5
                wanted = 5
            if attack == "apgd-t":
                component.n_target_classes = aa.n_targets(wanted, self.n_classes)
        elif attack == "fab-t":
            component = aa.make_fab(model, eps, norm, self.steps, device)
            component.targeted = True
            component.n_target_classes = aa.n_targets(9, self.n_classes)
        else:
            component = aa.make_square(
                model, eps, norm, self.n_queries, device, seed=self.seed
            )
        component.seed = self.seed
        found: Tensor = component.perturb(images.contiguous().clone(), labels.clone())
        return found
