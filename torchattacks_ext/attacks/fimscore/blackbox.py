"""How is a model scored that shows its scores only? Rows of the black-box methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..._typing import LogitsFn
from ...data.stream import Batch
from ...errors import ModelContractError
from ...numerics.fisher.blackbox.judge import StepCheck
from ...numerics.fisher.blackbox.sketch import sketch
from ...numerics.fisher.blackbox.srp import srp_blackbox
from ...numerics.fisher.spectral import Ending
from ...results.base.columns import Rows
from .rows import finished

if TYPE_CHECKING:
    from .fimscore import FIMScore

ROUND = 25
"""Directions between two looks at the interval, where a target is set."""


def blackbox_rows(probe: FIMScore, view: LogitsFn, batch: Batch) -> Rows:
    """Rows of one batch from forward passes alone; counts of step checks go to the probe.

    Raises ModelContractError for a model that gives labels only.
    """
    with torch.no_grad():
        logits = view(batch.images)
        _refuse_labels(logits)
        columns = _sketched(probe, view, batch)
        if probe.method == "srp_blackbox":
            columns = _theirs(probe, view, batch)
    nan = torch.full((len(batch),), torch.nan, dtype=torch.float64)
    unknown = ("log_trace", "margin_radius", "log_linf", "log_linf_upper", "spread")
    columns |= {name: nan for name in (*unknown, "residual")}
    return finished(batch, logits, columns | {"n_iterations": nan.isnan().long() * 0})


def _sketched(probe: FIMScore, view: LogitsFn, batch: Batch) -> dict[str, Any]:
    if probe.method != "blackbox":
        return {}
    found = sketch(
        view,
        batch.images,
        batch.ids,
        seed=probe.seed,
        n_directions=probe.n_directions,
        target=probe.target,
        n_round=ROUND,
        grey=probe.grey,
        bounds=probe.bounds,
        max_rows=probe.batch_size,
    )
    for check in found.h_check.tolist():
        probe._steps[StepCheck(check).name.lower()] += 1
    return {
        "log_lam": found.log_lam,
        "log_low": found.low,
        "log_high": found.high,
        "n_queries": found.n_queries,
        "ending": found.status,
    }


def _theirs(probe: FIMScore, view: LogitsFn, batch: Batch) -> dict[str, Any]:
    """The paper's black box, for reproduction; it has no interval."""
    lam = srp_blackbox(
        view,
        batch.images,
        batch.ids,
        seed=probe.seed,
        n_directions=probe.n_directions,
        max_rows=probe.batch_size,
    )
    log_lam = lam.log()
    ending = torch.full((len(batch),), int(Ending.CAP))
    ending[lam.isnan()] = int(Ending.NON_FINITE)
    return {
        "log_lam": log_lam,
        "log_low": log_lam,
        "log_high": torch.full_like(log_lam, torch.inf),
        "n_queries": torch.full((len(batch),), 2 * probe.n_directions + 1),
        "ending": ending,
    }


def _refuse_labels(logits: Tensor) -> None:
    """One-hot scores, or their clamped logarithms, are labels: no probability moves in them."""
    top = logits.amax(1, keepdim=True)
    rest = logits.masked_fill(logits == top, torch.nan)
    far = (top - rest).nan_to_num(torch.inf).amin()
    kinds = torch.unique(logits)
    hot = len(logits) and len(kinds) == 2 and ((logits == top).sum(1) == 1).all()
    if bool(hot) and (kinds.tolist() == [0.0, 1.0] or float(far) > 80):
        raise ModelContractError(
            "the model gives labels only (one-hot scores): the Fisher information is about "
            "probabilities and cannot be sketched from labels; give probabilities "
            '(outputs="probs") or logits'
        )
