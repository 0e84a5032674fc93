"""Which evidence does a report hold for a subcategory of NIST's AI RMF, and what does it lack?

A map to evidence, no judgement: whether it suffices is for those who manage the risk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from ...results.base.facts import Cost
from ...results.evaluation import EvaluationReport, StageReport
from .. import stages
from ..words import count, one_line
from .wording import WORDING

State = Literal["present", "partial", "absent"]


@dataclass(frozen=True)
class Pointer:
    """Where evidence lies: a JSON pointer (RFC 6901) into report.json, and what is there."""

    place: str
    says: str


@dataclass(frozen=True)
class Evidence:
    """One subcategory.

    id, wording: of NIST AI 100-1. found: where the report has something to the sentence. lacks:
    parts of the sentence that it says nothing of. state: "present" where nothing is lacking,
    "partial" where something is, "absent" where nothing was found.
    """

    id: str
    wording: str
    found: tuple[Pointer, ...]
    lacks: tuple[str, ...]

    @property
    def state(self) -> State:
        """Present, partial or absent.

        >>> Evidence("MEASURE 2.4", "...", (), ("production",)).state
        'absent'
        """
        if not self.found:
            return "absent"
        return "partial" if self.lacks else "present"


def evidence_map(report: EvaluationReport) -> list[Evidence]:
    """One entry a subcategory of :data:`~.wording.WORDING`, in the order of the framework.

    >>> report = EvaluationReport("net", {}, {}, {"n": 0}, stages=())
    >>> {one.state for one in evidence_map(report) if one.id == "MEASURE 2.7"}
    {'absent'}
    """
    found = []
    for name, wording in WORDING.items():
        pointers, lacks = _RULES.get(name, _nothing)(report)
        found.append(Evidence(name, wording, tuple(pointers), tuple(lacks)))
    return found


Found = tuple[list[Pointer], list[str]]
Kind = Callable[[StageReport], bool]


def _stages(report: EvaluationReport, *kinds: Kind) -> Iterator[Pointer]:
    """Stages with a result that are of one of these kinds; of any where none is given."""
    for i, stage in enumerate(report.stages):
        wanted = not kinds or any(kind(stage) for kind in kinds)
        if wanted and stages.usable(stage) and stage.result:
            place = f"/stages/{i}/result"
            yield Pointer(place, f"stage {one_line(stage.name, 60)}")


def _kind(*names: str) -> Kind:
    return lambda stage: stage.kind in names


def _unmeasured(report: EvaluationReport) -> list[Pointer]:
    return [Pointer("/plain_summary", "what was measured, and what was not tested")]


def _design(report: EvaluationReport) -> Found:
    if not report.stages:
        return [], ["every part of it"]
    found = [Pointer("/plan", "the plan: methods, radii, seeds")]
    found += [Pointer("/data", "the images: number, classes, hash")]
    found += _stages(report, _kind("data-audit"))
    lacks = [
        "why these images are available, representative and suitable",
        "validation of what the measures stand for",
    ]
    return found, lacks


def _selection(report: EvaluationReport) -> Found:
    if not report.stages:
        return [], ["every part of it"]
    found = [Pointer("/plan", "the measures that were chosen"), *_unmeasured(report)]
    return found, ["which risks the MAP function enumerated, and their order"]


def _documented(report: EvaluationReport) -> Found:
    usable = list(_stages(report))
    if not usable:
        return [], ["every part of it: no stage has a result"]
    found, lacks = [], []
    if report.data.get("sha256") and report.data.get("n"):
        found.append(Pointer("/data", "the test set: number, classes, hash"))
    else:
        lacks.append("an identified test set (its hash)")
    if report.provenance.get("versions"):
        found.append(Pointer("/provenance/versions", "the tools: versions"))
    else:
        lacks.append("versions of the tools")
    found += [Pointer("/plan", "settings of the metrics"), *usable]
    names = [s.name for s in report.stages if not stages.usable(s)]
    lacks += [
        f"the metric of stage {one_line(n, 60)}, which has no result" for n in names
    ]
    return found, lacks


def _performance(report: EvaluationReport) -> Found:
    found = list(_stages(report))
    lacks = ["that the images are like those of the deployment setting(s)"]
    return found, lacks if found else ["every part of it: no stage has a result"]


def _valid(report: EvaluationReport) -> Found:
    kinds = (stages.is_clean, stages.is_stress, _kind("ood", "shift"))
    found = list(_stages(report, *kinds))
    lacks = ["a demonstration for the system that is deployed, in its use"]
    if not any(_stages(report, _kind("ood", "shift"))):
        lacks.append("measurements on images of another source")
    return found + _unmeasured(report) * bool(found), lacks


def _safe(report: EvaluationReport) -> Found:
    kinds = (*_ATTACKED, stages.is_test, stages.is_stress, _kind("ood"))
    lacks = [
        "safety risks that the MAP function identified, and the risk tolerance",
        "failing safely, monitoring in real time, response times",
    ]
    return list(_stages(report, *kinds)), lacks


def _secure(report: EvaluationReport) -> Found:
    lacks = [
        "what the MAP function identified",
        "poisoning, backdoors, extraction, and the system around the model",
    ]
    return list(_stages(report, *_ATTACKED)), lacks


def _explained(report: EvaluationReport) -> Found:
    found = []
    if report.model.get("sha256"):
        found.append(Pointer("/model", "the model: class, hash, number of parameters"))
    lacks = ["an explanation of the model", "how its output is read in its context"]
    return found, lacks


def _fair(report: EvaluationReport) -> Found:
    grouped = any(
        getattr(stage.result, "groups", None) for stage in report.stages if stage.result
    )
    found = [Pointer("/groups", "clean and worst-case accuracy of each group")]
    lacks = ["which groups the MAP function identified, and measures beyond accuracy"]
    return (found, lacks) if grouped else ([], ["accuracy by group (no groups given)"])


def _environment(report: EvaluationReport) -> Found:
    if report.cost == Cost():
        return [], ["every part of it"]
    said = f"{count(report.cost.forward)} forward and {count(report.cost.backward)} backward"
    found = [Pointer("/cost", f"cost of this evaluation: {said} evaluations, seconds")]
    return found, ["energy and emissions", "the training of the model"]


def _effective(report: EvaluationReport) -> Found:
    found = list(_stages(report, stages.is_diagnosis))
    if report.flags:
        found.append(Pointer("/flags", "doubts about the numbers"))
    lacks = ["an evaluation of the processes around the measurement"]
    if not any(_stages(report, stages.is_diagnosis)):
        lacks.append("a diagnosis of the attacks (stage diagnostics)")
    return found, lacks


def _production(report: EvaluationReport) -> Found:
    return [], ["production: alerts of the command monitor are evidence of their own"]


def _nothing(report: EvaluationReport) -> Found:
    return [], ["an evaluation of a model holds nothing of this"]


_ATTACKED: tuple[Kind, ...] = (
    stages.is_attack,
    stages.is_budgeted,
    stages.is_sweep,
    stages.is_certified,
)
_RULES: dict[str, Callable[[EvaluationReport], Found]] = {
    "MAP 2.3": _design,
    "MEASURE 1.1": _selection,
    "MEASURE 2.1": _documented,
    "MEASURE 2.3": _performance,
    "MEASURE 2.4": _production,
    "MEASURE 2.5": _valid,
    "MEASURE 2.6": _safe,
    "MEASURE 2.7": _secure,
    "MEASURE 2.9": _explained,
    "MEASURE 2.11": _fair,
    "MEASURE 2.12": _environment,
    "MEASURE 2.13": _effective,
}
"""The others are about organisations, people and production: a report has nothing to them."""
