"""How is a model scored that shows its scores only? Rows of the black-box methods."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor

from ..._typing import LogitsFn
from ...data.stream import Batch
from ...errors import ModelContractError
from ...numerics.fisher.blackbox.judge import StepCheck
from ...numerics.fisher.blackbox.sketch import sketch
from ...numerics.fisher.blackbox.srp import srp_blackbox
from ...numerics.fisher.spectral import Ending
from .rows import Outcome, finished
from .settings import ROUND, FIMSettings


def blackbox_rows(settings: FIMSettings, view: LogitsFn, batch: Batch) -> Outcome:
    """Rows of one batch from forward passes alone.

    Raises ModelContractError for a model that gives labels only.
    """
    with torch.no_grad():
        logits = view(batch.images)
        _refuse_labels(logits)
        if settings.method == "srp_blackbox":
            columns, checks = _theirs(settings, view, batch), Counter[str]()
        else:
            columns, checks = _sketched(settings, view, batch)
    nan = torch.full((len(batch),), torch.nan, dtype=torch.float64)
    unknown = ("log_trace", "margin_radius", "log_linf", "log_linf_upper", "spread")
    columns |= {name: nan for name in (*unknown, "residual")}
    columns["n_iterations"] = torch.zeros(len(batch), dtype=torch.int64)
    return Outcome(finished(batch, logits, columns), step_checks=checks)


def _sketched(
    settings: FIMSettings, view: LogitsFn, batch: Batch
) -> tuple[dict[str, Any], Counter[str]]:
    """Columns of our sketch, and how many images each answer of the step check has."""
    found = sketch(
        view,
        batch.images,
        batch.ids,
        seed=settings.seed,
        n_directions=settings.n_directions,
        target=settings.target,
        n_round=ROUND,
        grey=settings.grey,
        bounds=settings.bounds,
        max_rows=settings.batch_size,
    )
    columns = {
        "log_lam": found.log_lam,
        "log_low": found.low,
        "log_high": found.high,
        "n_queries": found.n_queries,
        "ending": found.status,
    }
    names = (StepCheck(check).name.lower() for check in found.h_check.tolist())
    return columns, Counter(names)


def _theirs(settings: FIMSettings, view: LogitsFn, batch: Batch) -> dict[str, Any]:
    """The paper's black box, for reproduction; it has no interval."""
    lam = srp_blackbox(
        view,
        batch.images,
        batch.ids,
        seed=settings.seed,
        n_directions=settings.n_directions,
        max_rows=settings.batch_size,
    )
    log_lam = lam.log()
    ending = torch.full((len(batch),), int(Ending.CAP))
    ending[lam.isnan()] = int(Ending.NON_FINITE)
    return {
        "log_lam": log_lam,
        "log_low": log_lam,
        "log_high": torch.full_like(log_lam, torch.inf),
        "n_queries": torch.full((len(batch),), 2 * settings.n_directions + 1),
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
