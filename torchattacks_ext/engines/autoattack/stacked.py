"""How are the many runs of a late line made few? Targets of the rows that are left, as one batch.

After the first lines few rows are left, and each of nine targets is a run of its own on a batch
that does not fill the machine. Here runs share batches, as many as the judge's batch size holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from ..judge.harvest import Tap
from ..judge.ledger import AttackSpec
from . import upstream as aa
from .runs import AutoAttackEngine, Run


@dataclass
class StackedEngine(AutoAttackEngine):
    """An AutoAttackEngine that runs targets (and the restarts of "warm") side by side.

    Each sample is attacked as before, from the same starts at the same targets. A row that one of
    the runs breaks is carried by the others to their end, so that row-passes are a little more
    (none where rows withstand) and calls of the model up to nine times fewer. No batch is larger
    than the judge's batch size, or the rows themselves. Arguments, costs and errors are those of
    :class:`~torchattacks_ext.engines.autoattack.runs.AutoAttackEngine`.

    >>> import torch
    >>> from torchattacks_ext.engines.judge.active import Judge
    >>> from torchattacks_ext.engines.judge.ledger import Ledger
    >>> from torchattacks_ext.models import LogitsView, Meter
    >>> from torchattacks_ext.testing import small_net
    >>> meter, images = Meter(), torch.full((2, 1, 8, 8), 0.5)
    >>> net = LogitsView(small_net(n_classes=4).eval(), meter=meter)
    >>> ledger = Ledger.open(Judge(net, False, 8), images, net(images).argmax(1), 1e-6, "Linf")
    >>> engine = StackedEngine({"target": net}, torch.arange(2), 4, 0, meter)
    >>> engine.run("target", AttackSpec("apgd-t", steps=5), ledger)  # 3 targets, one run of 6 rows
    >>> ledger.entries["target/apgd-t-5"].tried, ledger.alive.tolist()
    (6, [True, True])
    """

    def _runs(self, tap: Tap, surrogate: str, spec: AttackSpec) -> Iterator[Run]:
        """One run for each stack of targets or restarts."""
        if spec.kind not in ("warm", "apgd-t", "fab-t"):
            yield from super()._runs(tap, surrogate, spec)
            return
        numbers = range(2, aa.n_targets(spec.targets, self.n_classes) + 2)
        if spec.kind == "warm":
            numbers = range(spec.restarts)
        stack = self._fab if spec.kind == "fab-t" else self._apgd
        try:
            while len(numbers):
                n_rows = max(1, len(self._rows(surrogate, spec, tap.ledger)))
                self.copies = max(1, tap.ledger.judge.batch_size // n_rows)
                self.copies = min(self.copies, len(numbers))
                now, numbers = numbers[: self.copies], numbers[self.copies :]
                yield partial(stack, tap, spec, now)
        finally:
            self.copies = 1
