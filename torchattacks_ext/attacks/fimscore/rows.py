"""How does a scored batch become rows of a sensitivity result?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..._typing import Norm, Status
from ...data.stream import Batch
from ...errors import ModelContractError
from ...models.broken import models_own
from ...numerics.fisher.ball import quadratic
from ...numerics.fisher.factor import Action, softmax_factor
from ...numerics.fisher.gram import margin_radius
from ...numerics.fisher.spectral import Ending
from ...numerics.fisher.top import TopFisher, log_trace
from ...numerics.losses import was_masked
from ...results.base.columns import Rows
from ...results.sensitivity import Sensitivity
from .flags import NO_GRADIENT
from .scored import TRACE_DRAWS, Scored
from .settings import FIMSettings

RADIUS_CLASSES = 9
"""Where the gradients of all classes are not there: likeliest other classes that the margin radius
looks at."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """Finished rows of one batch, and what a run counts beside them.

    backends: what gave J v. step_checks: black-box images by what the check of their step said.
    missing: images by why something of theirs could not be computed.
    """

    rows: Rows
    backends: frozenset[str] = frozenset()
    step_checks: Mapping[str, int] = field(default_factory=dict)
    missing: Mapping[str, int] = field(default_factory=dict)


def sensitivity_rows(settings: FIMSettings, batch: Batch, scored: Scored) -> Outcome:
    """Rows of a batch that was scored with gradients, with what is known beside lambda."""
    action, top, cube = scored.action, scored.top, scored.cube
    nan = torch.full_like(top.log_lam, torch.nan)
    spread = nan if scored.spread is None else scored.spread
    if cube is not None and scored.spread is None:
        spread = quadratic(action, top.u1)[1]
    trace = top.log_trace if scored.log_trace is None else scored.log_trace
    if trace is None:
        trace = log_trace(action, TRACE_DRAWS, batch.ids)[0]
    columns = {
        "log_lam": top.log_lam,
        "log_trace": trace,
        "margin_radius": _radius(action, top, settings.norm),
        "log_linf": nan if cube is None else cube.log_value,
        "log_linf_upper": nan if cube is None else cube.log_upper,
        "spread": spread,
        "log_low": top.log_lam,
        "log_high": top.log_lam,
        "residual": top.residual,
        "n_iterations": top.n_iterations,
        "ending": top.status,
    }
    rows = finished(batch, action.logits, columns)
    backends = scored.backends | ({action.backend} - {""})
    return Outcome(rows, backends, missing=_missing(scored))


def _missing(scored: Scored) -> dict[str, int]:
    """How many images lack something, by why."""
    bad = scored.top.status == int(Ending.NON_FINITE)
    counts = {NO_GRADIENT: int((bad & scored.action.logits.isfinite().all(1)).sum())}
    if scored.why:
        counts[scored.why] = len(bad)
    return {why: count for why, count in counts.items() if count}


def finished(batch: Batch, logits: Tensor, columns: dict[str, Any]) -> Rows:
    """The columns that any method has, beside those of its own."""
    n = len(batch)
    factor = softmax_factor(logits)
    answer = logits.argmax(1)
    none = torch.full((n,), -1, dtype=torch.int64)
    labels = none if batch.labels is None else batch.labels.cpu()
    right = none if batch.labels is None else (answer.cpu() == labels).long()
    bad = torch.as_tensor(columns["ending"]).cpu() == int(Ending.NON_FINITE)
    if batch.labels is not None:
        bad = bad | _label_masked(logits, batch.labels).cpu()
    whole = {
        "ids": batch.ids,
        "status": bad.long() * int(Status.NON_FINITE),
        "prediction": torch.where(bad, none, answer.cpu()),
        "reference": labels,
        "clean_correct": torch.where(bad & (right >= 0), 0, right),
        "log_rest": factor.log_pi.masked_fill(~factor.finite, torch.nan),
        "n_queries": torch.zeros(n, dtype=torch.int64),
        **columns,
    }
    return Rows(batch.index, _typed(whole))


def _label_masked(logits: Tensor, labels: Tensor) -> Tensor:
    """(N,) bool: rows whose own label is a class that the model rules out with -inf."""
    inside = (labels >= 0) & (labels < logits.shape[1])
    own = labels.long().where(inside, 0).unsqueeze(1)
    return was_masked(logits).gather(1, own).squeeze(1) & inside


def unreached(batch: Batch, keeps: bool) -> Rows:
    """Rows that the budget ended before; keeps: whether their images go along, as they came."""
    n = len(batch)
    nan, none = torch.full((n,), torch.nan), torch.full((n,), -1)
    whole = {spec.name: nan for spec in Sensitivity.columns()}
    whole |= {name: none for name in ("prediction", "reference", "clean_correct")}
    zero = torch.zeros(n)
    whole |= {name: zero for name in ("n_iterations", "n_queries", "ending")}
    whole |= {"ids": batch.ids, "status": zero + int(Status.NOT_REACHED)}
    if batch.labels is not None:
        whole["reference"] = batch.labels.cpu()
    return Rows(batch.index, _typed(whole), batch.images if keeps else None)


def raised_on(batch: Batch, keeps: bool, error: ModelContractError) -> Rows:
    """FAILED rows of a batch on which the model raised; any other refusal is raised again."""
    return unreached(batch, keeps).failed(models_own(error))


def _typed(columns: dict[str, Tensor]) -> dict[str, Tensor]:
    dtypes = {spec.name: spec.dtype for spec in Sensitivity.columns()}
    return {
        name: torch.as_tensor(values).cpu().to(dtypes.get(name, torch.int64))
        for name, values in columns.items()
    }


def _radius(action: Action, top: TopFisher, norm: Norm) -> Tensor:
    known = {"L2": top.radius_l2, "Linf": top.radius_linf}.get(norm)
    if known is not None:
        return known
    return margin_radius(action, norm, RADIUS_CLASSES)
