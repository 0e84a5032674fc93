"""How does a ledger become rows of an attack's result?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from .._typing import Status, Verdict
from ..data.stream import Batch
from ..engines.ledger import Ledger
from ..results.attack import AttackResult
from ..results.columns import Rows


def attack_rows(
    batch: Batch, ledger: Ledger | None, sources: Sequence[str], keep: bool
) -> Rows:
    """Rows of a batch after its attack; without a ledger the budget ended before it.

    sources: names of everything that may break a row, of which `first_breaker` is the number.
    """
    n = len(batch)
    assert batch.labels is not None
    columns: dict[str, Any] = {"ids": batch.ids.cpu(), "reference": batch.labels.cpu()}
    nan, whole = np.full(n, np.nan), np.zeros(n, dtype=np.int64)
    if ledger is None:
        columns |= {
            "verdict": whole + int(Verdict.UNDECIDED),
            "status": whole + int(Status.NOT_REACHED),
            "clean_correct": whole - 1,
            "prediction": whole - 1,
            "margin": nan,
            "clean_margin": nan,
            "norm": np.zeros(n),
            "found_norm": nan,
            "first_breaker": whole - 1,
        }
        return _typed(batch, columns, batch.images if keep else None)
    right, broken = ledger.right, ledger.breaker >= 0
    verdict = np.where(broken, int(Verdict.NOT_ROBUST), int(Verdict.UNDECIDED))
    lengths = ledger.lengths()
    names = {name: number for number, name in enumerate(sources)}
    number = np.array([names[name] for name in ledger.sources] + [-1], dtype=np.int64)
    finite = np.isfinite(ledger.clean_margin) & np.isfinite(ledger.margin)
    columns |= {
        "verdict": np.where(right, verdict, int(Verdict.MISCLASSIFIED)),
        "status": np.where(finite, int(Status.OK), int(Status.NON_FINITE)),
        "clean_correct": right.astype(np.int64),
        "prediction": ledger.prediction,
        "margin": ledger.margin,
        "clean_margin": ledger.clean_margin,
        "norm": lengths,
        "found_norm": np.where(broken, lengths, np.nan),
        "first_breaker": number[ledger.breaker],
    }
    return _typed(batch, columns, ledger.best if keep else None)


def _typed(batch: Batch, columns: dict[str, Any], images: Any) -> Rows:
    dtypes = {spec.name: spec.dtype for spec in AttackResult.columns()}
    typed = {
        name: torch.as_tensor(values).to(dtypes.get(name, torch.int64))
        for name, values in columns.items()
    }
    return Rows(batch.index, typed, images)
