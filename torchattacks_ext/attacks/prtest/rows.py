"""How do slots of PRTest become rows of its result, and rows of an earlier result slots again?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..._typing import Status, Verdict
from ...data.stream import Batch
from ...engines.judge.active import Array, Judged, Slots
from ...numerics.rates.rules import Rule
from ...results.base.columns import Rows
from ...results.prob_robustness import ProbRobustness


@dataclass(frozen=True)
class Admitted:
    """Rows of a batch that start anew, and what is known of them before their first draw.

    clean: the judged clean images; None where the budget ended before them. right: (B,) int8,
    whether the clean answer is the label, -1 where that cannot be said. n_mean, mean_failures:
    (B,) draws for the mean failure rate of the data set, and failures among them.
    """

    batch: Batch
    reference: Tensor
    clean: Judged | None
    right: Array
    n_mean: Array
    mean_failures: Array


def fresh_slots(new: Admitted, rows: Array) -> Slots:
    """Slots without any draw for the `rows` of a batch."""
    batch, zeros = new.batch, np.zeros(len(rows), dtype=np.int64)
    place = torch.from_numpy(rows).to(batch.images.device)
    margin = np.full(len(rows), np.nan) if new.clean is None else new.clean.margin[rows]
    return Slots(
        images=batch.images[place],
        ids=batch.ids[place],
        reference=new.reference[place],
        index=batch.index.numpy()[rows],
        clean_correct=new.right[rows],
        clean_margin=margin,
        n=zeros.copy(),
        s=zeros.copy(),
        worst_margin=np.full(len(rows), np.inf),
        worst_draw=zeros - 1,
        n_close=zeros.copy(),
        n_drawn=zeros.copy(),
        non_finite=np.zeros(len(rows), dtype=bool),
        log_robust=np.zeros(len(rows)),
        log_not_robust=np.zeros(len(rows)),
        n_mean=new.n_mean[rows],
        mean_failures=new.mean_failures[rows],
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
        clean_correct=column("clean_correct"),
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
        n_mean=column("n_mean"),
        mean_failures=column("mean_failures"),
    )


def old_rows(batch: Batch, earlier: ProbRobustness, rows: Array, old: Tensor) -> Rows:
    """Rows of an earlier result at their places in this run, unchanged."""
    names = ["ids", *(spec.name for spec in earlier.columns())]
    columns = {name: getattr(earlier, name)[old] for name in names}
    return Rows(batch.index[torch.from_numpy(rows)], columns)


def slot_rows(slots: Slots, verdict: Array, rule: Rule, images: Tensor | None) -> Rows:
    """Rows of slots at their last completed look; `images` are the worst draws, if kept."""
    n, s = slots.n, slots.s
    lower, upper = rule.bounds(n, s)
    log_e = rule.log_e(n, s)
    started = n > 0
    columns: dict[str, Any] = slot_columns(slots) | {
        "verdict": verdict,
        "p_fail": np.where(started, s / np.maximum(n, 1), np.nan),
        "p_fail_lower": lower,
        "p_fail_upper": upper,
        "p_value_robust": np.exp(-np.maximum(slots.log_robust, 0)),
        "p_value_not_robust": np.exp(-np.maximum(slots.log_not_robust, 0)),
        "log_e_robust": np.where(started, log_e[0], 0.0),
        "log_e_not_robust": np.where(started, log_e[1], 0.0),
        "n_deaths": np.full(len(n), -1),
    }
    return typed_rows(slots.index, columns, images)


def slot_columns(slots: Slots) -> dict[str, Any]:
    """The columns that every test takes from its slots as they are."""
    status = np.where(slots.n == 0, int(Status.NOT_REACHED), int(Status.OK))
    return {
        "ids": slots.ids.cpu(),
        "reference": slots.reference.cpu(),
        "status": np.where(slots.non_finite, int(Status.NON_FINITE), status),
        "clean_correct": slots.clean_correct,
        "n_samples": slots.n,
        "n_failures": slots.s,
        "clean_margin": slots.clean_margin,
        "worst_margin": slots.worst_margin,
        "worst_draw": slots.worst_draw,
        "n_close": slots.n_close,
        "n_drawn": slots.n_drawn,
        "n_mean": slots.n_mean,
        "mean_failures": slots.mean_failures,
    }


def plain_rows(new: Admitted, rows: Array, verdict: Verdict, keep: bool) -> Rows:
    """Rows that end without a draw of the test.

    Misclassified, already at the target, or not reached (clean None).
    """
    slots, clean = fresh_slots(new, rows), new.clean
    finite = np.ones(len(rows), dtype=bool) if clean is None else clean.finite[rows]
    reached = int(Status.NOT_REACHED if clean is None else Status.OK)
    if clean is not None:
        slots.n_close = clean.close[rows].astype(np.int64)
    ones, zeros = np.ones(len(rows)), np.zeros(len(rows))
    columns: dict[str, Any] = slot_columns(slots) | {
        "verdict": zeros.astype(np.int64) + int(verdict),
        "status": np.where(finite, reached, int(Status.NON_FINITE)),
        "p_fail": ones * np.nan,
        "p_fail_lower": zeros,
        "p_fail_upper": ones,
        "p_value_robust": ones,
        "p_value_not_robust": ones,
        "log_e_robust": zeros,
        "log_e_not_robust": zeros,
        "n_deaths": zeros.astype(np.int64) - 1,
    }
    return typed_rows(slots.index, columns, slots.images if keep else None)


def typed_rows(index: Array, columns: dict[str, Any], images: Tensor | None) -> Rows:
    """Rows whose columns have the dtypes that the result declares."""
    dtypes = {spec.name: spec.dtype for spec in ProbRobustness.columns()}
    typed = {
        name: torch.as_tensor(values).to(dtypes.get(name, torch.int64))
        for name, values in columns.items()
    }
    return Rows(torch.from_numpy(np.ascontiguousarray(index)), typed, images)
