"""How does the MSA stage treat targets that answer at random, or by the batch?

Randomised ones by fresh draws, batch-dependent ones with each batch of the evaluation as a deployed
batch. The votes of draws, or the last pass of the whole batch, say what the rows are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from ....attacks.base.measuring import Keeper
from ....attacks.msa.fresh import Fresh
from ....attacks.msa.joint import Tally, tell_protocols
from ....attacks.msa.msa import MSA
from ....attacks.msa.walk import coupled_rows, random_rows
from ....data.stream import Batch
from ....results.attack import AttackResult
from ....results.base.columns import Rows, Table
from ..base import Shared


class Kinds:
    """Counts over the batches of one stage, for targets that are not fixed.

    probe: of the stage; its images are kept while a batch is at work.
    """

    def __init__(self) -> None:
        self.fresh: Fresh | None = None
        self.tally: Tally | None = None

    def rows(self, probe: MSA, batch: Batch, shared: Shared) -> Rows | None:
        """Rows of one batch; None for a fixed target, or for AutoAttack's own sequence."""
        traits = shared.traits
        if probe.version == "rand" or (traits is not None and traits.randomised):
            probe._facts.setdefault("randomised", {})
            with _keeping(probe):
                rows, found = random_rows(probe, batch)
            self.fresh = found if self.fresh is None else self.fresh + found
            return rows
        if traits is not None and traits.batch_dependent and not probe.is_sequence:
            probe._facts.setdefault("protocols", {})
            probe._facts["deployed_batch"] = probe.batch_size
            with _keeping(probe):
                rows, left = coupled_rows(probe, batch, torch.arange(len(batch)))
            self.tally = self.tally or Tally()
            self.tally.add(left)
            return rows
        return None

    def tell(self, probe: MSA) -> None:
        """The numbers of all batches, beside the rows."""
        if self.fresh is not None:
            self.fresh.tell(probe)
        if self.tally is not None:
            tell_protocols(probe, [self.tally.numbers()], probe.batch_size)


@contextlib.contextmanager
def _keeping(probe: MSA) -> Iterator[None]:
    """The rows bring their images, whatever the probe keeps in the end."""
    keep, probe.keep = probe.keep, "memory"
    try:
        yield
    finally:
        probe.keep = keep


def result_of(rows: Rows, probe: MSA, origin: dict[str, Any]) -> AttackResult:
    """The rows of one batch as a result; images are kept as the probe says."""
    keeper = Keeper(probe.keep)
    keeper.add(rows)
    table = Table([Rows(torch.arange(len(rows)), rows.columns)])
    return AttackResult.from_table(
        table,
        settings=probe.settings(),
        provenance=origin,
        sidecars=keeper.finish(),
    )
