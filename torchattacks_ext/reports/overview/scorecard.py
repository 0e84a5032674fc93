"""What are the lines of the scorecard? One row a stage, the same for every renderer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..._typing import Status, Verdict
from ...errors import InputError
from ...results.accuracy import Accuracy
from ...results.attack import AttackResult
from ...results.base.facts import Cost
from ...results.base.result import Result
from ...results.evaluation import EvaluationReport, StageReport
from ...results.grounds import LIMITS
from ...results.prob_robustness import ProbRobustness
from ...results.sensitivity import Sensitivity
from .. import stages
from ..sensitivity.words import GUARANTEE, sensitivity_words
from ..words import (
    count,
    exact_rate,
    interval,
    level,
    listing,
    number,
    one_line,
    percent,
    share,
    things,
)
from .remarks import group_shares, outside_note

WORST_CASE = "worst case"
_ORDER = (Verdict.ROBUST, Verdict.NOT_ROBUST, Verdict.UNDECIDED, Verdict.MISCLASSIFIED)


@dataclass(frozen=True)
class ScoreRow:
    """One line of the scorecard, in words.

    stage: its name. asks: the question in plain words. value: the main number,
    "failed", "not run" or "not known". interval: of `value`, in percent. n: images.
    guarantee: what the number is worth. details: further numbers. notes: caveats. cost:
    row-passes and seconds, None where nothing ran. error: why it failed. estimate:
    (value, low, high) as fractions for a drawing, None without a share.
    """

    stage: str
    asks: str
    value: str
    interval: str = ""
    n: int | None = None
    guarantee: str = ""
    details: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    cost: Cost | None = None
    error: str | None = None
    estimate: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class _Score:
    """What a family of results says of itself: `part` of `whole` images, or `words` instead."""

    part: int
    whole: int
    sides: tuple[float, float] | None
    guarantee: str
    details: tuple[str, ...] = ()
    words: str = ""


def scorecard(report: EvaluationReport, confidence: float = 0.95) -> list[ScoreRow]:
    """One row a stage, in their order, and the worst case over all of them.

    confidence: of each interval, in (0, 1); ConfigError otherwise. A stage that raised
    has the value "failed" and its reason, never a number. Intervals are exact (Clopper
    & Pearson 1934) and rounded outwards to .1 %.

    >>> report = EvaluationReport("net", {}, {}, {"n": 0}, stages=())
    >>> scorecard(report)[-1].value
    'not known'
    """
    rows = [_stage_row(stage, confidence) for stage in report.stages]
    return [*rows, _worst_row(report, confidence)]


def _stage_row(stage: StageReport, confidence: float) -> ScoreRow:
    name, notes = one_line(stage.name), tuple(one_line(note) for note in stage.notes)
    result = stage.result
    if stage.error is not None or result is None:
        failed = stage.error is not None
        return ScoreRow(
            name,
            _question(stage),
            "failed" if failed else "not run",
            guarantee="none: nothing is known from this stage",
            notes=notes,
            cost=stage.cost,
            error=one_line(stage.error) or "no reason given" if failed else None,
        )
    score = _score(stage, result, confidence)
    drawable = score.whole and score.sides and not score.words
    return ScoreRow(
        name,
        _question(stage),
        score.words or share(score.part, score.whole),
        interval(score.sides) if score.sides else "",
        len(result),
        score.guarantee,
        (*score.details, *group_shares(result)),
        notes + _status_notes(result),
        result.cost if stage.cost == Cost() else stage.cost,
        estimate=(
            (score.part / score.whole, *score.sides)
            if drawable and score.sides
            else None
        ),
    )


def _score(stage: StageReport, result: Result, confidence: float) -> _Score:
    summary = result.summary(confidence)
    if isinstance(result, Accuracy):
        low, high = summary["clean_accuracy_interval"]
        right = _sum(result.clean_correct == 1)
        known = _sum(result.answered)
        return _Score(right, known, (low, high), "estimate from a sample of images")
    if isinstance(result, AttackResult):
        return _attack(stage, result, summary["robust_accuracy_interval"])
    if isinstance(result, ProbRobustness):
        return _test(stage, result, summary[result.asked.interval])
    if isinstance(result, Sensitivity):
        words, details = sensitivity_words(summary)
        return _Score(0, 0, None, GUARANTEE, details, words)
    facts = tuple(f"{one_line(k, 60)}: {one_line(v, 120)}" for k, v in summary.items())
    return _Score(
        0, 0, None, "see the documentation of this stage", facts, "see details"
    )


def _attack(stage: StageReport, result: AttackResult, sides: list[float]) -> _Score:
    left, right = _sum(result.robust), _sum(result.clean_correct == 1)
    ball = stages.ball_text(stages.settings_of(stage))
    if bool(result.unknown.any()):
        return _incomplete(result, ball)
    broken = right - left
    success = (
        f"breaks {percent(broken, right)} ({count(broken)} of {count(right)}) of the correct images"
        if right
        else "success rate n/a (no image is answered correctly without any change)"
    )
    details = tuple(filter(None, (ball, success, _found_norm(stage, result))))
    guarantee = "upper bound: no attack proves robustness"
    return _Score(left, len(result), (sides[0], sides[1]), guarantee, details)


def _incomplete(result: AttackResult, ball: str) -> _Score:
    """An attack that did not get through all images: between which numbers the truth lies."""
    failed, n = _sum(result.status == int(Status.FAILED)), len(result)
    left, late = _sum(result.robust), _sum(result.unknown)
    why = f"failed on {count(failed)}" if failed else f"did not finish {count(late)}"
    between = f"between {share(left, n)} and {share(left + late, n)} withstand it"
    details = tuple(filter(None, (ball, between)))
    words = f"incomplete ({why} of {things(n, 'image')})"
    return _Score(0, 0, None, "none: the stage is incomplete", details, words)


def _found_norm(stage: StageReport, result: AttackResult) -> str:
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


def _test(stage: StageReport, result: ProbRobustness, sides: list[float]) -> _Score:
    settings = stages.settings_of(stage)
    names = {verdict: verdict.name.lower().replace("_", " ") for verdict in _ORDER}
    details = (
        ", ".join(f"{count(result.count(v))} {name}" for v, name in names.items()),
        *_robust_but_wrong(result),
        f"tolerance {exact_rate(settings.get('tolerance'))} of {stages.law_text(settings)}",
        _draws(result, settings),
    )
    asked = result.asked
    if asked.kind != "label":
        details = (f"certified: it {asked.each}; labels were not asked", *details)
    guarantee = (
        f"test, level {level(settings.get('significance'))} each side per image"
        f"{LIMITS.get(str(result.guarantee), '')}; random perturbations only, no claim about an "
        "attacker"
    )
    certified = _sum(result.certified)
    return _Score(certified, len(result), (sides[0], sides[1]), guarantee, details)


def _robust_but_wrong(result: ProbRobustness) -> tuple[str, ...]:
    more = result.count(Verdict.ROBUST) - _sum(result.certified)
    text = f"{count(more)} of the robust ones with a wrong clean answer, not certified"
    return (text,) * bool(more)


def _draws(result: ProbRobustness, settings: Mapping[str, Any]) -> str:
    drawn = result.n_samples[result.n_samples > 0]
    median = f", median {count(int(drawn.median()))} an image" if len(drawn) else ""
    splits = settings.get("test") == "splitting"
    noun = "model evaluations" if splits else "samples"
    return f"{count(_sum(result.n_samples))} {noun}{median}"


def _question(stage: StageReport) -> str:
    if stages.is_clean(stage):
        return "How many are correct without any change?"
    if stages.is_attack(stage):
        return "How many stay correct under this attack?"
    if stages.is_score(stage):
        return "How far do the outputs move for the worst tiny change?"
    if stages.is_test(stage):
        return "How many are shown to fail rarely under random perturbations?"
    return "A stage of its own kind"


def _status_notes(result: Result) -> tuple[str, ...]:
    """What did not go as asked, in counts."""
    status = getattr(result, "status", None)
    if status is None:
        return ()
    words = {
        Status.NON_FINITE: "with NaN or infinite scores",
        Status.NOT_REACHED: "not reached before the budget ended",
        Status.FAILED: "on which the model or the method raised",
    }
    found = {code: _sum(status == int(code)) for code in words}
    return tuple(
        f"{things(found[code], 'image')} {words[code]}" for code in words if found[code]
    )


def _worst_row(report: EvaluationReport, confidence: float) -> ScoreRow:
    asks = "How many are correct and broken by no stage?"
    names = [one_line(stage.name, 40) for stage in report.failed]
    failed = (f"failed, so not counted: {listing(names)}",) * bool(names)
    try:
        worst, alive = report.worst_case(confidence), report.survivors()
    except InputError as error:  # rows of other images: no worst case, never a pass
        return ScoreRow(WORST_CASE, asks, "failed", notes=failed, error=one_line(error))
    if worst is None or alive is None:
        why = (
            "needs the clean stage and at least one attack or random test with a result"
        )
        return ScoreRow(WORST_CASE, asks, "not known", notes=(why, *failed))
    left, n = _sum(alive), worst["n"]
    low, high = worst["robust_accuracy_interval"]
    return ScoreRow(
        WORST_CASE,
        asks,
        share(left, n),
        interval((low, high)),
        n,
        "upper bound: stronger or other searches may leave fewer",
        (f"rests on {listing([one_line(name, 40) for name in worst['stages']])}",),
        notes=failed + outside_note(worst["outside_the_ball"]) + _skipped(report),
        estimate=(left / n, low, high) if n else None,
    )


def _skipped(report: EvaluationReport) -> tuple[str, ...]:
    """Stages that did not try every image: what they skipped counts as withstanding."""
    codes = (int(Status.FAILED), int(Status.NOT_REACHED))
    clean = next((s.result for s in report.stages if stages.is_clean(s)), None)
    # without a clean answer they are left out
    out = 0 if not isinstance(clean, Accuracy) else _sum(~clean.answered)
    names = []
    for stage in report.stages:
        status = getattr(stage.result, "status", None)
        if status is not None and sum(_sum(status == code) for code in codes) > out:
            names.append(one_line(stage.name))
    return (
        f"images that {', '.join(names)} did not try count as withstanding it",
    ) * bool(names)


def _sum(values: Tensor) -> int:
    return int(values.sum())
