"""How do the rows of one batch become a result? As the attack left them, or as judged again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...._typing import Norm, Status, Verdict
from ....attacks.base.finished import Keeper
from ....attacks.msa.rows import typed_rows
from ....data.stream import Batch
from ....engines.judge.active import Array, Judged
from ....numerics.norms import norm_of
from ....results.attack import AttackResult
from ....results.base.columns import Rows, Table
from ..base import Shared
from ..clean import labels_of, status_of


def result_of(rows: Rows, keep: str, **facts: Any) -> AttackResult:
    """The rows of one batch as they are. keep: where their images go. facts: of the result."""
    keeper = Keeper(keep)
    keeper.add(rows)
    table = Table([Rows(torch.arange(len(rows)), rows.columns)])
    result = AttackResult.from_table(table, sidecars=keeper.finish(), **facts)
    return result.with_flags(keeper.flags())


def judged_rows(
    batch: Batch,
    shared: Shared,
    seen: Judged,
    best: Tensor,
    parts: Mapping[str, Array],
    norm: Norm,
) -> Rows:
    """Rows as the runner's judge sees them: what it does not call wrong is not broken.

    seen: its answers to the images `best` (B, ...). parts: "first_breaker" and "stopped_by" (B,),
    numbers of the parts that the attack says broke or stopped the row, -1.
    """
    wrong = shared.clean.failed
    broken = seen.failed & ~wrong
    verdict = np.where(broken, int(Verdict.NOT_ROBUST), int(Verdict.UNDECIDED))
    verdict[wrong] = int(Verdict.MISCLASSIFIED)
    status = status_of(shared.clean)
    status[torch.from_numpy(~seen.finite)] = int(Status.NON_FINITE)
    length = norm_of(best - batch.images, norm).double().cpu().numpy()
    columns = {
        "ids": batch.ids.cpu(),
        "verdict": verdict,
        "status": status,
        "reference": labels_of(batch).cpu(),
        "clean_correct": ~wrong,
        "prediction": seen.prediction,
        "margin": seen.margin,
        "clean_margin": shared.clean.margin,
        "norm": length,
        "found_norm": np.where(broken, length, np.nan),
        "first_breaker": np.where(broken, parts["first_breaker"], -1),
        "stopped_by": np.where(broken, -1, parts["stopped_by"]),
    }
    return typed_rows(batch, columns, best)
