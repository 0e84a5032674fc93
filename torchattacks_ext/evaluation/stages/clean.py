"""How often is the model right on the unchanged images? The clean stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..._typing import Status
from ...data.stream import Batch
from ...engines.judge.active import Judged
from ...errors import ConfigError, InputError
from ...results.accuracy import SCORES, Accuracy
from ...results.base.columns import Rows
from ..plan import Plan
from .base import RowStage, Shared, StageRows


class CleanStage(RowStage):
    """Clean accuracy; its answers are shared with every other stage."""

    kind = "clean"
    guarantee = (
        "exact on these images; the interval is for new images of the same source"
    )
    needs = ()

    def __init__(self, label: str, plan: Plan, settings: Mapping[str, Any]) -> None:
        super().__init__(label, plan, settings)
        if settings:
            raise ConfigError(
                f"stage 'clean' has no arguments, got {sorted(settings)}; leave them out"
            )

    @property
    def cost_per_image(self) -> float | None:
        """One forward row-pass an image."""
        return 1.0

    def rows(self, batch: Batch, shared: Shared) -> StageRows:
        """The shared clean answers as rows; no further pass."""
        seen, labels = shared.clean, labels_of(batch)
        result = Accuracy(
            ids=batch.ids.cpu(),
            groups=batch.groups,
            settings={"method": "clean", "outputs": self.plan.outputs},
            status=status_of(seen),
            reference=labels.cpu(),
            prediction=torch.from_numpy(seen.prediction),
            clean_correct=torch.from_numpy(~seen.failed).to(torch.int8),
            margin=torch.from_numpy(seen.margin),
            **_scores(seen),
        )
        close = np.flatnonzero(seen.close).tolist()
        return StageRows(result, tally={"close": close} if close else {})

    def failed(self, batch: Batch) -> Rows:
        """Rows without an answer."""
        n, labels = len(batch), labels_of(batch).cpu()
        none = torch.full((n,), -1)
        columns = {
            "ids": batch.ids.cpu(),
            "status": none.to(torch.int8),
            "reference": labels,
            "prediction": none,
            "clean_correct": none.to(torch.int8),
            "margin": torch.full((n,), torch.nan, dtype=torch.float64),
            **{name: torch.full((n,), -1.0, dtype=torch.float64) for name in SCORES},
        }
        return Rows(batch.index, columns)


def judged_before(result: Accuracy, tally: Mapping[str, Any]) -> Judged:
    """What the rows of the clean stage were made of, without another pass."""
    close = np.zeros(len(result), dtype=bool)
    close[list(tally.get("close", ()))] = True
    return Judged(
        margin=result.margin.numpy(),
        failed=(result.clean_correct != 1).numpy(),
        close=close,
        finite=(result.status == int(Status.OK)).numpy(),
        prediction=result.prediction.numpy(),
    )


def _scores(seen: Judged) -> dict[str, Any]:
    """Softmax scores as columns; {} where the judge kept none."""
    if seen.scores is None:
        return {}
    columns = torch.from_numpy(seen.scores).T
    return {name: columns[i].clone() for i, name in enumerate(SCORES)}


def labels_of(batch: Batch) -> Tensor:
    """The labels of a batch. Raises InputError where it has none."""
    if batch.labels is None:
        raise InputError("an evaluation needs labels; give them with the images")
    return batch.labels


def status_of(seen: Judged) -> Tensor:
    """(N,) int8: OK, or NON_FINITE where the logits were not finite."""
    finite = torch.from_numpy(seen.finite)
    return torch.where(finite, int(Status.OK), int(Status.NON_FINITE)).to(torch.int8)
