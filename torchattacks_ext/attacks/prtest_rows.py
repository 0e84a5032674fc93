"""How do slots of PRTest become rows of its result, and rows of an earlier result slots again?"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._typing import Status, Verdict
from ..data.stream import Batch
from ..engines.active import Array, Judged, Slots
from ..numerics.sequential import failure_bounds, log_e_high, log_e_low
from ..results.columns import Rows
from ..results.prob_robustness import ProbRobustness


def fresh_slots(batch: Batch, reference: Tensor, clean: Judged, rows: Array) -> Slots:
    """Slots without any draw for the `rows` of a batch."""
    place = torch.from_numpy(rows).to(batch.images.device)
    zeros = np.zeros(len(rows), dtype=np.int64)
    return Slots(
        images=batch.images[place],
        ids=batch.ids[place],
        reference=reference[place],
        index=batch.index.numpy()[rows],
        clean_margin=clean.margin[rows],
        n=zeros.copy(),
        s=zeros.copy(),
        worst_margin=np.full(len(rows), np.inf),
        worst_draw=zeros - 1,
        n_close=zeros.copy(),
        n_drawn=zeros.copy(),
        non_finite=np.zeros(len(rows), dtype=bool),
        log_robust=np.zeros(len(rows)),
        log_not_robust=np.zeros(len(rows)),
    )


def resumed_slots(
    batch: Batch, earlier: ProbRobustness, rows: Array, old: Tensor
) -> Slots:
    """Slots of the `rows` of a batch that go on from the rows `old` of an earlier result."""

    def column(name: str) -> Array:
        return np.array(getattr(earlier, name)[old].numpy())

    place = torch.from_numpy(rows).to(batch.images.device)
    return Slots(
        images=batch.images[place],
        ids=batch.ids[place],
        reference=earlier.reference[old].to(batch.images.device),
        index=batch.index.numpy()[rows],
        clean_margin=column("clean_margin"),
        n=column("n_samples"),
        s=column("n_failures"),
        worst_margin=column("worst_margin"),
        worst_draw=column("worst_draw"),
        n_close=column("n_close"),
        n_drawn=column("n_drawn"),
        non_finite=column("status") == int(Status.NON_FINITE),
        log_robust=-np.log(column("p_value_robust")),
        log_not_robust=-np.log(column("p_value_not_robust")),
    )


def old_rows(batch: Batch, earlier: ProbRobustness, rows: Array, old: Tensor) -> Rows:
    """Rows of an earlier result at their places in this run, unchanged."""
    names = ["ids", *(spec.name for spec in earlier.columns())]
    columns = {name: getattr(earlier, name)[old] for name in names}
    return Rows(batch.index[torch.from_numpy(rows)], columns)


def slot_rows(
    slots: Slots,
    verdict: Array,
    clean_correct: Array,
    tolerance: float,
    significance: float,
    images: Tensor | None,
) -> Rows:
    """Rows of slots at their last completed look; `images` are the worst draws, if kept."""
    n, s = slots.n, slots.s
    lower, upper = failure_bounds(n, s, tolerance, significance)
    status = np.where(n == 0, int(Status.NOT_REACHED), int(Status.OK))
    status = np.where(slots.non_finite, int(Status.NON_FINITE), status)
    started = n > 0
    columns: dict[str, Any] = {
        "ids": slots.ids.cpu(),
        "reference": slots.reference.cpu(),
        "verdict": verdict,
        "status": status,
        "clean_correct": clean_correct,
        "n_samples": n,
        "n_failures": s,
        "p_fail": np.where(started, s / np.maximum(n, 1), np.nan),
        "p_fail_lower": lower,
        "p_fail_upper": upper,
        "p_value_robust": np.exp(-np.maximum(slots.log_robust, 0)),
        "p_value_not_robust": np.exp(-np.maximum(slots.log_not_robust, 0)),
        "log_e_robust": np.where(started, log_e_low(n, s, tolerance), 0.0),
        "log_e_not_robust": np.where(started, log_e_high(n, s, tolerance), 0.0),
        "clean_margin": slots.clean_margin,
        "worst_margin": slots.worst_margin,
        "worst_draw": slots.worst_draw,
        "n_close": slots.n_close,
        "n_drawn": slots.n_drawn,
    }
    return _typed(slots.index, columns, images)


def plain_rows(
    batch: Batch,
    rows: Array,
    reference: Tensor,
    clean: Judged | None,
    verdict: Verdict,
    clean_correct: int,
    keep: bool,
) -> Rows:
    """Rows that end without a draw.

    Misclassified, already at the target, or not reached (clean None).
    """
    place = torch.from_numpy(rows)
    images = batch.images[place.to(batch.images.device)] if keep else None
    n = len(rows)
    zeros = np.zeros(n, dtype=np.int64)
    finite = np.ones(n, dtype=bool) if clean is None else clean.finite[rows]
    reached = int(Status.NOT_REACHED if clean is None else Status.OK)
    columns: dict[str, Any] = {
        "ids": batch.ids.cpu()[place],
        "reference": reference.cpu()[place],
        "verdict": zeros + int(verdict),
        "status": np.where(finite, reached, int(Status.NON_FINITE)),
        "clean_correct": zeros + clean_correct,
        "n_samples": zeros,
        "n_failures": zeros,
        "p_fail": np.full(n, np.nan),
        "p_fail_lower": np.zeros(n),
        "p_fail_upper": np.ones(n),
        "p_value_robust": np.ones(n),
        "p_value_not_robust": np.ones(n),
        "log_e_robust": np.zeros(n),
        "log_e_not_robust": np.zeros(n),
        "clean_margin": np.full(n, np.nan) if clean is None else clean.margin[rows],
        "worst_margin": np.full(n, np.inf),
        "worst_draw": zeros - 1,
        "n_close": zeros if clean is None else clean.close[rows].astype(np.int64),
        "n_drawn": zeros,
    }
    return _typed(batch.index.numpy()[rows], columns, images)


def _typed(index: Array, columns: dict[str, Any], images: Tensor | None) -> Rows:
    dtypes = {spec.name: spec.dtype for spec in ProbRobustness.columns()}
    typed = {
        name: torch.as_tensor(values).to(dtypes.get(name, torch.int64))
        for name, values in columns.items()
    }
    return Rows(torch.from_numpy(np.ascontiguousarray(index)), typed, images)
