"""What stands beside a number of the scorecard? Its question, groups, what a worst case lacks."""

from __future__ import annotations

from ..._typing import Status
from ...results.accuracy import Accuracy
from ...results.attack import AttackResult
from ...results.base.result import Result
from ...results.evaluation import EvaluationReport, StageReport
from .. import stages
from ..words import listing, number, one_line, share, things

_SETS = {
    "ood": "Do its scores tell these images from others?",
    "shift": "How many are correct on a second test set?",
    "data-audit": "Are the images sound, and not those of the training?",
}


def question(stage: StageReport) -> str:
    """What the stage asks, in plain words."""
    if stages.is_clean(stage):
        return "How many are correct without any change?"
    if stages.is_attack(stage):
        return "How many stay correct under this attack?"
    if stages.is_budgeted(stage):
        return "How many would stay correct under this attack, if it were run on all?"
    if stages.is_score(stage):
        return "How far do the outputs move for the worst tiny change?"
    if stages.is_diagnosis(stage):
        return "May the numbers of gradient attacks be believed?"
    if stages.is_certified(stage):
        return "How many are right and provably stay so?"
    if stages.is_stress(stage):
        return "How many are correct under noise, blur, weather and the like?"
    if stage.kind in _SETS:
        return _SETS[stage.kind]
    if stages.is_sweep(stage):
        return "How many stay correct as the changes grow?"
    if stages.is_test(stage):
        return "How many are shown to fail rarely under random perturbations?"
    return "A stage of its own kind"


def group_shares(result: Result) -> tuple[str, ...]:
    """The share of each group, the lowest first; () without groups, or where another table tells.

    Rows that failed are in no share, as in that of the whole.
    """
    if not isinstance(result, (Accuracy, AttackResult)):
        return ()
    found = []
    for name, part in result.by_group().items():
        ok = part.status != int(Status.FAILED)
        held = (
            part.robust if isinstance(part, AttackResult) else part.clean_correct == 1
        )
        found.append((name, int((held & ok).sum()), int(ok.sum())))
    found.sort(key=lambda one: one[1] / one[2] if one[2] else 0.0)
    told = [
        f"{one_line(name, 40) or '(no name)'} {share(k, n)}" for name, k, n in found
    ]
    return (f"groups: {listing(told, 12)}",) if told else ()


def found_norm(stage: StageReport, result: AttackResult) -> str:
    """The median size of what a minimum-norm attack found by itself; "" for other attacks."""
    entry = stages.zoo_entry(stage)
    if entry is None or entry.family not in ("minimum-norm", "optimisation"):
        return ""
    norms = result.found_norm[
        result.found_norm.isfinite() & (result.clean_correct == 1)
    ]
    if not len(norms):
        return (
            "minimum-norm attack: it fooled the model on no correct image, at any size"
        )
    norm = one_line(stages.settings_of(stage).get("norm", ""), 20)
    return (
        f"minimum-norm attack: median {norm} size of its changes {number(float(norms.median()))}, "
        f"before the ball ({things(len(norms), 'correct image')} fooled)"
    )


def outside_note(names: list[str]) -> tuple[str, ...]:
    """Random tests that are not in the worst case."""
    shown = listing([one_line(name, 40) for name in names]) if names else ""
    text = f"not in it: {shown}, whose draws leave the ball of the plan"
    return (text,) * bool(names)


def skipped(report: EvaluationReport) -> tuple[str, ...]:
    """Stages that did not try every image: what they skipped counts as withstanding."""
    codes = (int(Status.FAILED), int(Status.NOT_REACHED))
    clean = next((s.result for s in report.stages if stages.is_clean(s)), None)
    # without a clean answer they are left out
    out = 0 if not isinstance(clean, Accuracy) else int((~clean.answered).sum())
    names = []
    for stage in report.stages:
        status = getattr(stage.result, "status", None)
        if (
            status is not None
            and sum(int((status == code).sum()) for code in codes) > out
        ):
            names.append(one_line(stage.name))
    return (
        f"images that {', '.join(names)} did not try count as withstanding it",
    ) * bool(names)


def status_notes(result: Result) -> tuple[str, ...]:
    """What did not go as asked, in counts."""
    status = getattr(result, "status", None)
    if status is None:
        return ()
    words = {
        Status.NON_FINITE: "with NaN or infinite scores",
        Status.NOT_REACHED: "not reached before the budget ended",
        Status.FAILED: "on which the model or the method raised",
    }
    found = {code: int((status == int(code)).sum()) for code in words}
    return tuple(
        f"{things(found[code], 'image')} {words[code]}" for code in words if found[code]
    )
