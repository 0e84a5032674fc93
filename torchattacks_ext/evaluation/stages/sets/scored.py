"""What are the scores of some images? Those of the logits, FIMScore's, and those of detectors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ....attacks.fimscore.fimscore import FIMScore
from ....data.stream import Batch
from ....models.logits import LogitsView
from ....numerics.detection.scores import LOGIT_SCORES
from ....results.base.columns import Table
from ....results.sensitivity import Sensitivity


def logit_scores(logits: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """name -> (N,) float64 on the CPU, nan where the logits (N, K) are not finite.

    -inf on some classes is a score of the others.

    >>> logit_scores(torch.tensor([[0.0, 1.0]]), ["max_logit", "fim"])
    {'max_logit': tensor([-1.], dtype=torch.float64)}
    """
    odd = ~torch.isfinite(logits.amax(1)) | logits.isnan().any(1)
    found = {}
    for name in names:
        if name in LOGIT_SCORES:
            scored = LOGIT_SCORES[name](logits)
            found[name] = scored.masked_fill(odd, torch.nan).cpu()
    return found


def fim_scores(probe: FIMScore, view: LogitsView, batch: Batch) -> Tensor:
    """(N,) float64 log lambda of every row; nan where there is none."""
    probe.set_model(view.model, view.meter)
    index = torch.arange(len(batch))
    whole = Batch(batch.ids, batch.images, None, index)
    table = Table(probe.score_batch(whole))
    return table.columns(Sensitivity.columns())["log_lam"]
