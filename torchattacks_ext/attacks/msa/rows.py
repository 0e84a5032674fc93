"""How does a ledger become rows of an attack's result?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..._typing import Status, Verdict
from ...data.stream import Batch
from ...engines.judge.active import Array
from ...engines.judge.ledger import Ledger
from ...numerics.norms import norm_of
from ...results.attack import AttackResult
from ...results.base.columns import Rows
from ...results.unfixed import PROTOCOLS
from .draws import Fresh
from .joint import Deployed, alone_name


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
        return typed_rows(batch, columns, batch.images if keep else None)
    right, broken = ledger.right, ledger.breaker >= 0
    verdict = np.where(broken, int(Verdict.NOT_ROBUST), int(Verdict.UNDECIDED))
    lengths = ledger.lengths()
    names = {name: number for number, name in enumerate(sources)}
    number = np.array([names[name] for name in ledger.sources] + [-1], dtype=np.int64)
    stopped = whole - 1
    for row, name in ledger.stopped.items():
        stopped[row] = names[name]
    finite = np.isfinite(ledger.clean_margin) & np.isfinite(ledger.margin)
    columns |= {
        "verdict": np.where(right, verdict, int(Verdict.MISCLASSIFIED)),
        "status": _status(finite, ledger.unfinished),
        "clean_correct": right.astype(np.int64),
        "prediction": ledger.prediction,
        "margin": ledger.margin,
        "clean_margin": ledger.clean_margin,
        "norm": lengths,
        "found_norm": np.where(broken, lengths, np.nan),
        "first_breaker": number[ledger.breaker],
        "stopped_by": stopped,
    }
    return typed_rows(batch, columns, ledger.best if keep else None)


def _status(finite: Array, unfinished: Array) -> Array:
    """Codes (B,): NOT_REACHED where the budget left something out."""
    status = np.where(unfinished, int(Status.NOT_REACHED), int(Status.OK))
    return np.where(finite, status, int(Status.NON_FINITE))


def fresh_rows(rows: Rows, found: Fresh) -> Rows:
    """The rows with verdicts by majority of fresh draws, and the draws' counts."""
    verdict = np.where(found.broken, int(Verdict.NOT_ROBUST), int(Verdict.UNDECIDED))
    verdict[~found.right] = int(Verdict.MISCLASSIFIED)
    columns: dict[str, Any] = {
        "verdict": verdict,
        "clean_correct": found.right.astype(np.int64),
        "fresh_draws": np.full(len(rows), found.n),
        "fresh_correct": found.found,
        "clean_fresh_correct": found.clean,
        "control_fresh_correct": found.control,
        "control_broken": found.doubted.astype(np.int64),
    }
    return Rows(rows.index, dict(rows.columns) | _as_tensors(columns), rows.images)


def joint_rows(
    batch: Batch,
    part: Tensor,
    found: Deployed,
    sources: Sequence[str],
    headline: str,
    keep: bool,
) -> Rows:
    """Rows of one deployed batch, at positions `part` of the data; verdicts of the headline."""
    joint = found.joint
    ledger = found.alone if headline == "iso" else joint
    robust, right = found.robust(headline), found.clean
    shown = joint.best if headline == "realised" else ledger.witness
    whole = headline == "realised"
    margin = joint.best_margin if whole else ledger.margin
    name = alone_name if headline == "iso" else str
    number = {source: i for i, source in enumerate(sources)}
    breaker = [number[name(s)] for s in ledger.sources] + [-1]
    length = norm_of(shown - joint.images, joint.norm).double().cpu().numpy()
    verdict = np.where(robust, int(Verdict.UNDECIDED), int(Verdict.NOT_ROBUST))
    columns: dict[str, Any] = {
        "ids": batch.ids.cpu()[part],
        "reference": joint.labels.cpu(),
        "verdict": np.where(right, verdict, int(Verdict.MISCLASSIFIED)),
        "status": _status(
            np.isfinite(joint.clean_margin) & np.isfinite(margin),
            found.answers(headline) < 0,
        ),
        "clean_correct": right.astype(np.int64),
        "prediction": joint.best_prediction if whole else ledger.prediction,
        "margin": margin,
        "clean_margin": joint.clean_margin,
        "norm": length,
        "found_norm": np.where(robust | ~right, np.nan, length),
        "first_breaker": np.array(breaker)[ledger.breaker],
    }
    columns |= {f"{p}_correct": found.answers(p) for p in PROTOCOLS}
    typed = {**_unused(len(part)), **_as_tensors(columns)}
    return Rows(batch.index[part], typed, shown if keep else None)


def _unused(n: int) -> dict[str, Tensor]:
    """Columns that only some targets have a use for, as if they were not there."""
    return {
        spec.name: torch.full((n,), int(spec.missing), dtype=spec.dtype)
        for spec in AttackResult.columns()
        if spec.missing is not None and spec.name != "first_breaker"
    }


def typed_rows(batch: Batch, columns: dict[str, Any], images: Any) -> Rows:
    """Rows of a whole batch with every column of the result in its dtype; images may be None."""
    return Rows(batch.index, {**_unused(len(batch)), **_as_tensors(columns)}, images)


def _as_tensors(columns: dict[str, Any]) -> dict[str, Tensor]:
    dtypes = {spec.name: spec.dtype for spec in AttackResult.columns()}
    return {
        name: torch.as_tensor(values).to(dtypes.get(name, torch.int64))
        for name, values in columns.items()
    }
