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
from ...results.certificates import Certificates
from ...results.datasets.budgeted import Budgeted
from ...results.diagnosis.diagnosis import Diagnosis
from ...results.evaluation import EvaluationReport, StageReport
from ...results.grounds import LIMITS
from ...results.prob_robustness import ProbRobustness
from ...results.sensitivity import Sensitivity
from ...results.stress import Stress
from ...results.sweep import Sweep
from .. import stages
from ..certified.words import WORTH, details, main_share
from ..classes import calibration_words
from ..sensitivity.words import GUARANTEE, sensitivity_words
from ..sets.told import SETS, set_score
from ..stress import stress_score
from ..sweep import sweep_score
from ..words import (
    count,
    exact_rate,
    interval,
    level,
    listing,
    one_line,
    percent,
    share,
    things,
)
from .budgets import GUARANTEE as SAMPLED
from .budgets import budget_words, rests_on
from .diagnosed import GUARANTEE as DOUBTS
from .diagnosed import diagnosis_words
from .remarks import (
    found_norm,
    group_shares,
    outside_note,
    question,
    skipped,
    status_notes,
)

WORST_CASE = "worst case"
_ORDER = (Verdict.ROBUST, Verdict.NOT_ROBUST, Verdict.UNDECIDED, Verdict.MISCLASSIFIED)


@dataclass(frozen=True)
class ScoreRow:
    """One line of the scorecard, in words.

    stage: its name. asks: the question in plain words. value: the main number,
    "failed", "not run" or "not known". interval: of `value`, in percent. n: images.
    guarantee: what the number is worth. details: further numbers. notes: caveats. cost:
    row-passes and seconds, None where nothing ran. error: why it failed. estimate:
    (value, low, high) as fractions for a drawing, None without a share. tier: what the
    number may be called, where there is more than one answer; tiers share no line.
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
    tier: str = ""


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
    rows = [_stage_row(stage, report.plan, confidence) for stage in report.stages]
    return [*rows, _worst_row(report, confidence)]


def _stage_row(
    stage: StageReport, plan: Mapping[str, Any], confidence: float
) -> ScoreRow:
    name, notes = one_line(stage.name), tuple(one_line(note) for note in stage.notes)
    result = stage.result
    if stage.error is not None or result is None:
        return _without(stage, name, notes)
    score = _score(stage, result, plan, confidence)
    drawable = score.whole and score.sides and not score.words
    return ScoreRow(
        name,
        question(stage),
        score.words or share(score.part, score.whole),
        interval(score.sides) if score.sides else "",
        len(result),
        score.guarantee,
        (*score.details, *group_shares(result)),
        notes + status_notes(result),
        result.cost if stage.cost == Cost() else stage.cost,
        estimate=(
            (score.part / score.whole, *score.sides)
            if drawable and score.sides
            else None
        ),
        tier=result.tier if isinstance(result, Certificates) else "",
    )


def _without(stage: StageReport, name: str, notes: tuple[str, ...]) -> ScoreRow:
    """The line of a stage without a result: it raised, cannot be used here, or was not run."""
    failed, unfit = stage.error is not None, stage.not_applicable
    return ScoreRow(
        name,
        question(stage),
        "failed" if failed else "not run" if unfit is None else "not applicable",
        guarantee="none: nothing is known from this stage",
        details=() if unfit is None else (one_line(unfit),),
        notes=notes,
        cost=stage.cost,
        error=one_line(stage.error) or "no reason given" if failed else None,
    )


def _score(
    stage: StageReport, result: Result, plan: Mapping[str, Any], confidence: float
) -> _Score:
    summary = result.summary(confidence)
    if isinstance(result, Accuracy):
        low, high = summary["clean_accuracy_interval"]
        right = _sum(result.clean_correct == 1)
        known = _sum(result.answered)
        worth, told = "estimate from a sample of images", calibration_words(summary)
        return _Score(right, known, (low, high), worth, told)
    if isinstance(result, AttackResult):
        return _attack(stage, result, summary["robust_accuracy_interval"])
    if isinstance(result, ProbRobustness):
        return _test(stage, result, summary[result.asked.interval])
    if isinstance(result, Sensitivity):
        words, details = sensitivity_words(summary)
        return _Score(0, 0, None, GUARANTEE, details, words)
    if isinstance(result, Diagnosis):
        words, details = diagnosis_words(result)
        return _Score(0, 0, None, DOUBTS, details, words)
    if isinstance(result, Certificates):
        return _certified(result, plan, confidence)
    if isinstance(result, Stress):
        return _Score(*stress_score(result, confidence))
    if isinstance(result, Budgeted):
        words, details, whole = budget_words(result)
        return _Score(0, 0, None, SAMPLED[whole], details, words)
    if isinstance(result, SETS):
        said = str(stage.settings.get("guarantee", ""))
        return _Score(0, 0, None, said, *set_score(result, confidence))
    if isinstance(result, Sweep):
        return _Score(*sweep_score(result, confidence))
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
    details = tuple(filter(None, (ball, success, found_norm(stage, result))))
    guarantee = "upper bound: no attack proves robustness"
    return _Score(left, len(result), (sides[0], sides[1]), guarantee, details)


def _certified(
    result: Certificates, plan: Mapping[str, Any], confidence: float
) -> _Score:
    """Images that are right and certified in the plan's ball."""
    main = main_share(result, plan, confidence)
    worth, told = WORTH[result.tier], details(result, result.summary(confidence))
    if main is None:
        return _Score(0, 0, None, worth, told, "not known")
    sides, k = (main.at.low, main.at.high), round(main.at.value * len(result))
    return _Score(k, len(result), sides, worth, (main.words, *told))


def _incomplete(result: AttackResult, ball: str) -> _Score:
    """An attack that did not get through all images: between which numbers the truth lies."""
    failed, n = _sum(result.status == int(Status.FAILED)), len(result)
    left, late = _sum(result.robust), _sum(result.unknown)
    why = f"failed on {count(failed)}" if failed else f"did not finish {count(late)}"
    between = f"between {share(left, n)} and {share(left + late, n)} withstand it"
    details = tuple(filter(None, (ball, between)))
    words = f"incomplete ({why} of {things(n, 'image')})"
    return _Score(0, 0, None, "none: the stage is incomplete", details, words)


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


def _worst_row(report: EvaluationReport, confidence: float) -> ScoreRow:
    asks = "How many are correct and broken by no stage?"
    names = [one_line(stage.name, 40) for stage in report.failed]
    failed = (f"failed, so not counted: {listing(names)}",) * bool(names)
    names = [one_line(stage.name, 40) for stage in report.not_applicable]
    failed += (f"not applicable here: {listing(names)}",) * bool(names)
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
        rests_on(report, worst["stages"]),
        notes=failed + outside_note(worst["outside_the_ball"]) + skipped(report),
        estimate=(left / n, low, high) if n else None,
    )


def _sum(values: Tensor) -> int:
    return int(values.sum())
