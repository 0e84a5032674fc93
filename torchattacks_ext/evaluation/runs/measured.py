"""What does a stage say of each image? One bool a row, and which rows it says nothing of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..._typing import Status, Verdict
from ...results.accuracy import Accuracy
from ...results.attack import AttackResult
from ...results.base.result import Result
from ...results.certificates import Certificates
from ...results.datasets.shift import Shift
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

    eps: radius of certified accuracy, in the norm of the radii; others need none. Of a stage
    `shift` it is the accuracy on its second test set.
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
    if isinstance(result, Shift) and result.other is not None:
        there = result.other
        known = there.clean_correct >= 0
        return _made(stage, there, "clean_accuracy", there.clean_correct == 1, known)
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
    counted, _ = report.worst_stages()
    for name in counted:
        result = report[name].result
        if isinstance(result, (AttackResult, ProbRobustness)):
            known &= ~result.unknown[result.find(clean.ids)]
    failed = ", ".join(stage.name for stage in report.failed)
    lacks = [f"stages that failed: {failed}"] if failed else []
    lacks += [_late(known)] if not bool(known.all()) else []
    return Measured(
        WORST_CASE,
        "attacked_accuracy",
        clean.ids,
        alive,
        known,
        {"stages": counted},
        "; ".join(lacks),
    )


def _late(known: Tensor) -> str:
    return f"{int((~known).sum())} of {len(known)} images were not measured"


def _made(
    stage: StageReport, result: Result, metric: str, right: Tensor, known: Tensor
) -> Measured:
    lacks = [_late(known)] if not bool(known.all()) else []
    odd = int((getattr(result, "status") == int(Status.NON_FINITE)).sum())
    lacks += [f"{odd} images gave NaN or infinite scores"] if odd else []
    return Measured(
        stage.name,
        metric,
        result.ids,
        right & known,
        known,
        dict(result.settings),
        "; ".join(lacks),
    )
