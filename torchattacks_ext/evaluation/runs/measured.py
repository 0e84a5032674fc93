"""What does a stage say of each image? One bool a row, and which rows it says nothing of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..._typing import Status
from ...results.accuracy import Accuracy
from ...results.attack import AttackResult
from ...results.base.result import Result
from ...results.certificates import TIERS, Certificates
from ...results.datasets.shift import Shift
from ...results.evaluation import EvaluationReport, StageReport
from ...results.prob_robustness import ProbRobustness
from ...results.sample import Sample

METRICS = (
    "clean_accuracy",
    "attacked_accuracy",
    "probabilistic_robustness",
    "certified_accuracy",
)
"""What rules and comparisons may be about. A share of images that withstood an attack is called
attacked accuracy: its lower bound bounds an upper bound of the robust accuracy."""
CLAIMED = "claimed_accuracy"
"""Of radii that nothing proves: no rule may be about it."""
WORST_CASE = "worst_case"
FREE = {"n_classes", "guarantee", "tier", "L", "L_kind", "L_source", "covariance"}
"""Settings that the model decides, which may differ between two runs."""


@dataclass(frozen=True, eq=False)
class Measured:
    """One stage of one run, image by image.

    name: of the stage. metric: one of :data:`METRICS`, or :data:`CLAIMED`. ids (N,) int64. right
    (N,) bool. known (N,) bool: rows of which the stage says something. settings: what must be equal
    between two runs. lacks: why it is not whole; "" where it is. copies: rows that show an image
    again, which no bound may count as one more. doubt: why its rows say nothing of new images; ""
    for none.
    """

    name: str
    metric: str
    ids: Tensor
    right: Tensor
    known: Tensor
    settings: dict[str, Any]
    lacks: str = ""
    copies: int = 0
    doubt: str = ""

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
    if isinstance(result, Shift):
        result = result.other
    if isinstance(result, Accuracy):
        known = result.clean_correct >= 0
        return _made(stage, result, "clean_accuracy", result.clean_correct == 1, known)
    if isinstance(result, AttackResult):
        return _made(stage, result, "attacked_accuracy", result.robust, ~result.unknown)
    if isinstance(result, ProbRobustness):
        late = result.status == int(Status.NOT_REACHED)
        late |= (result.status == int(Status.FAILED)) | result.unknown
        kind = (
            result.asked.kind
        )  # labels, or that an answer stays, or that a target is missed
        metric = METRICS[2] if kind == "label" else f"{kind}_share"
        return _made(stage, result, metric, result.certified, ~late)
    if isinstance(result, Certificates) and eps is not None:
        metric = METRICS[3] if result.tier in TIERS[:2] else CLAIMED
        return _made(stage, result, metric, result.certified(eps), result.answered)
    return None


def worst_case(report: EvaluationReport) -> Measured | None:
    """The worst case over all stages, as one more stage; None where there is none."""
    results = [stage.result for stage in report.stages]
    clean = next((one for one in results if isinstance(one, Accuracy)), None)
    alive = report.survivors()
    if alive is None or clean is None:
        return None
    known = clean.clean_correct >= 0
    settings: dict[str, Any] = {}
    counted, _ = report.worst_stages()
    for name in counted:
        result = report[name].result
        if isinstance(result, (AttackResult, ProbRobustness)):
            known &= ~result.unknown[result.find(clean.ids)]
            settings |= {f"{name}.{k}": v for k, v in _comparable(result).items()}
    failed = ", ".join(stage.name for stage in report.failed)
    lacks = [f"stages that failed: {failed}"] if failed else []
    return Measured(
        WORST_CASE,
        "attacked_accuracy",
        clean.ids,
        alive,
        known,
        settings,
        "; ".join([*lacks, *_doubts(clean, known)]),
        max(map(_copies, results)),
        clean.chosen or "",
    )


def _made(
    stage: StageReport, result: Result, metric: str, right: Tensor, known: Tensor
) -> Measured:
    return Measured(
        stage.name,
        metric,
        result.ids,
        right & known,
        known,
        _comparable(result),
        "; ".join(_doubts(result, known)),
        _copies(result),
        result.chosen or "",
    )


def _comparable(result: Result) -> dict[str, Any]:
    return {k: v for k, v in result.settings.items() if k not in FREE}


def _copies(result: Result | None) -> int:
    return result.n_copies if isinstance(result, Sample) else 0


def _doubts(result: Result, known: Tensor) -> list[str]:
    """Why nothing may be said of new images: rows without an answer, NaN, rows that were chosen."""
    found = []
    if not bool(known.all()):
        late = int((~known).sum())
        found.append(f"{late} of {len(known)} images were not measured")
    odd = int((getattr(result, "status") == int(Status.NON_FINITE)).sum())
    if odd:
        found.append(f"{odd} images gave NaN or infinite scores")
    if result.chosen is not None:
        found.append(result.chosen)
    return found
