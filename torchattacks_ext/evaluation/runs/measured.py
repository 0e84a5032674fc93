"""What does a stage say of each image? One bool a row, and which rows it says nothing of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..._typing import Status, Verdict
from ...results.accuracy import Accuracy
from ...results.attack import AttackResult
from ...results.base.result import Result
from ...results.certificates import Certificates
from ...results.evaluation import EvaluationReport, StageReport
from ...results.prob_robustness import ProbRobustness

METRICS = (
    "clean_accuracy",
    "attacked_accuracy",
    "probabilistic_robustness",
    "certified_accuracy",
)
"""What rules and comparisons may be about. A share of images that withstood an attack is called
attacked accuracy: its lower bound bounds an upper bound of the robust accuracy."""
WORST_CASE = "worst_case"


@dataclass(frozen=True, eq=False)
class Measured:
    """One stage of one run, image by image.

    name: of the stage. metric: one of :data:`METRICS`. ids (N,) int64. right (N,) bool. known (N,)
    bool: rows of which the stage says something. settings: what must be equal between two runs.
    lacks: why it is not whole; "" where it is.
    """

    name: str
    metric: str
    ids: Tensor
    right: Tensor
    known: Tensor
    settings: dict[str, Any]
    lacks: str = ""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def n_right(self) -> int:
        """Rows that are right, and known to be."""
        return int((self.right & self.known).sum())


def measured(stage: StageReport, eps: float | None = None) -> Measured | None:
    """What a stage with a result says; None for one that says nothing of single images.

    eps: radius of certified accuracy, in the norm of the radii; others need none.
    """
    result = stage.result
    if result is None:
        return None
    if isinstance(result, Accuracy):
        known = result.clean_correct >= 0
        return _made(stage, result, "clean_accuracy", result.clean_correct == 1, known)
    if isinstance(result, AttackResult):
        return _made(stage, result, "attacked_accuracy", result.robust, ~result.unknown)
    if isinstance(result, ProbRobustness):
        right = result.verdict == int(Verdict.ROBUST)
        late = (int(Status.NOT_REACHED), int(Status.FAILED))
        known = (result.status != late[0]) & (result.status != late[1])
        return _made(stage, result, "probabilistic_robustness", right, known)
    if isinstance(result, Certificates) and eps is not None:
        right = result.certified(eps)
        return _made(stage, result, "certified_accuracy", right, result.answered)
    return None


def worst_case(report: EvaluationReport) -> Measured | None:
    """The worst case over all stages, as one more stage; None where there is none."""
    alive, clean = report.survivors(), (
        report.stages[0].result if report.stages else None
    )
    if alive is None or not isinstance(clean, Accuracy):
        return None
    known = clean.clean_correct >= 0
    for stage in report.stages:
        if isinstance(stage.result, AttackResult):
            rows = stage.result.find(clean.ids)
            known &= ~stage.result.unknown[rows]
    counted, _ = report.worst_stages()
    lacks = ", ".join(stage.name for stage in report.failed)
    return Measured(
        WORST_CASE,
        "attacked_accuracy",
        clean.ids,
        alive,
        known,
        {"stages": counted},
        f"stages that failed: {lacks}" if lacks else "",
    )


def _made(
    stage: StageReport, result: Result, metric: str, right: Tensor, known: Tensor
) -> Measured:
    late = int((~known).sum())
    odd = int(torch.isnan(right.double()).sum())
    lacks = f"{late} of {len(known)} images were not measured" if late or odd else ""
    return Measured(
        stage.name,
        metric,
        result.ids,
        right & known,
        known,
        dict(result.settings),
        lacks,
    )
