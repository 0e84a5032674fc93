"""What may be said of the whole data set after a random test? Facts and values, in words.

Every renderer shows the same rows. What does not hold is left out with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...results.attack import AttackResult
from ...results.base.facts import Cost
from ...results.claims import SilBand
from ...results.evaluation import EvaluationReport, StageReport
from ...results.grounds import GUARANTEES, Asked
from ...results.prob_robustness import ProbRobustness
from .. import stages
from ..laws import boundary_text, law_ball, law_of, law_text, rounding_text
from ..words import (
    NOT_KNOWN,
    at_least,
    at_most,
    confidence_text,
    count,
    exact_rate,
    interval,
    level,
    one_line,
    rate,
    share,
    things,
)
from .groups import HEAD, group_head, group_rows

_TESTS = {
    "eprocess": "e-process: valid whenever it stops, and when it is extended",
    "sprt": "sequential ratio test: valid whenever it stops, and when it is extended",
    "fixed": "binomial test of a fixed number of draws: valid whenever it stops, for that one "
    "design",
    "group": "group-sequential: valid whenever it stops, for that one plan of looks",
    "splitting": "splitting (last-particle method), for very small rates",
}
_NOISE = "Random-noise robustness says nothing about an adversary."


@dataclass(frozen=True)
class Claims:
    """The report block of one PRTest stage.

    stage: its name. rows: (fact, value). band: the sentence on the SIL numeric band, "" without
    a bound of the mean failure rate. in_band: whether the bound falls in one. caveats: to be
    printed with the first band of a report. beside: what an adversary does, next to what noise
    does. groups: a row a group, cells as in group_head. group_note: how to read them, ""
    without groups.
    """

    stage: str
    rows: tuple[tuple[str, str], ...]
    band: str
    in_band: bool
    caveats: tuple[str, ...]
    beside: str
    groups: tuple[tuple[str, ...], ...]
    group_note: str
    group_head: tuple[str, ...] = HEAD


def claims(report: EvaluationReport, confidence: float = 0.95) -> list[Claims]:
    """One block for each PRTest stage with a result, in their order.

    confidence: in (0, 1); ConfigError otherwise. A report from an older file may lack
    settings: their rows say "n/a".

    >>> claims(EvaluationReport("net", {}, {}, {"n": 0}, stages=()))
    []
    """
    found: list[Claims] = []
    for stage in report.stages:
        if stages.usable(stage) and isinstance(stage.result, ProbRobustness):
            block = _block(report, stage, stage.result, confidence)
            told = any(earlier.band for earlier in found)
            found.append(replace(block, caveats=()) if told else block)
    return found


def band_text(said: Claims) -> str:
    """The sentence on the band, and that it is no more than a band; "" without one."""
    if not said.band:
        return ""
    what = "This is a band of numbers, not" if said.in_band else "A band would not be"
    more = ":" if said.caveats else "; the caveats above hold here too."
    return f"Mean failure rate: {said.band}. {what} a level that the system has{more}"


def _block(
    report: EvaluationReport,
    stage: StageReport,
    result: ProbRobustness,
    confidence: float,
) -> Claims:
    said, settings = result.summary(confidence), stages.settings_of(stage)
    band = _band(result, said, settings, confidence)
    groups, note = group_rows(said.get("groups", {}), result.asked, confidence)
    cost = result.cost if stage.cost == Cost() else stage.cost
    return Claims(
        one_line(stage.name),
        (
            *_design(settings, confidence),
            *_verdicts(result, said),
            *_bounds(said, result.asked, f"one-sided {confidence_text(confidence)}"),
            *_origin(result, settings, cost),
        ),
        "" if band is None else band.text,
        band is not None and band.band is not None,
        () if band is None else band.caveats,
        _beside(report, result),
        groups,
        note,
        group_head(result.asked),
    )


def _design(settings: Mapping[str, Any], confidence: float) -> list[tuple[str, str]]:
    known = bool(law_of(settings))
    ball = law_ball(settings) or ("none holds every draw" if known else NOT_KNOWN)
    level_text = level(settings.get("significance"))
    return [
        ("perturbation", law_text(settings)),
        ("ball (eps, norm)", ball),
        ("boundary", boundary_text(settings)),
        ("8-bit rounding", rounding_text(settings)),
        ("a failure is", _failure(settings)),
        ("tolerance (κ)", exact_rate(settings.get("tolerance"))),
        ("significance (α)", f"{level_text}, each side of each image"),
        ("confidence (1 − δ)", f"{confidence_text(confidence)}, of each bound below"),
    ]


def _failure(settings: Mapping[str, Any]) -> str:
    if str(settings.get("mode", "")).startswith("targeted"):
        return "the target as the answer"
    words = {
        "label": "an answer other than the label",
        "prediction": "an answer other than that to the clean image",
    }
    return words.get(str(settings.get("reference")), NOT_KNOWN)


def _verdicts(result: ProbRobustness, said: Mapping[str, Any]) -> list[tuple[str, str]]:
    n, certified = len(result), said["certified"]
    level_text = confidence_text(said["confidence"])
    asked = result.asked
    ends = interval(said[asked.interval])
    sides = f", two-sided {level_text} interval {ends} for new images"
    name = "certified" if asked.kind == "label" else f"certified ({asked.each})"
    more = said["robust"] - certified
    wrong = f"{count(more)} (the clean answer is wrong)"
    return [
        ("images (m)", count(n)),
        (name, share(certified, n) + sides * bool(n)),
        *([("robust, not certified", wrong)] if more else []),
        *_unfinished(said, asked, n),
        ("refuted (not robust)", count(said["not_robust"])),
        ("undecided", count(said["undecided"])),
        (
            "misclassified",
            (
                f"{count(said['misclassified'])} (clean answer wrong, no test)"
                if asked.kind == "label"
                else "not known: labels were not asked"
            ),
        ),
    ]


def _unfinished(said: Mapping[str, Any], asked: Asked, n: int) -> list[tuple[str, str]]:
    """Images that the run did not get through, and what share they leave open."""
    ends = said.get(f"{asked.share}_bounds")
    if ends is None:
        return []
    low, high = (share(round(end * n), n) for end in ends)
    many = things(round(n * (ends[1] - ends[0])), "image")
    return [
        ("not finished", f"{many}: between {low} and {high} are certified in the end")
    ]


def _bounds(said: Mapping[str, Any], asked: Asked, each: str) -> list[tuple[str, str]]:
    """The three bounds; each is one-sided and says so, or why it is left out."""
    n, least, ends = said["n"], said["count_bound"], said["population_bounds"]
    good = "robust" if asked.kind == "label" else asked.good
    counted = (
        f"at least {count(least or 0)} of these {things(n, 'image')} are {good}, {each}, if they "
        "were not chosen by any outcome of the test"
    )
    outside = ""
    if ends is not None:
        outside = (
            f"{at_least(ends[0])}, {at_most(ends[1])} of all images of the source are "
            f"{asked.good}, each {each}, if these were drawn at random from it"
        )
    return [
        ("count bound", _or_reason(counted, said, "count_bound")),
        ("population bounds", _or_reason(outside, said, "population_bounds")),
        ("mean failure rate", _mean(said, each)),
    ]


def _or_reason(text: str, said: Mapping[str, Any], name: str) -> str:
    if said[name] is not None:
        return text
    return f"left out: {one_line(said['left_out'].get(name, NOT_KNOWN))}"


def _mean(said: Mapping[str, Any], each: str) -> str:
    ends, mean = said["mean_failure_bounds"], said["mean_failure"]
    reason = _or_reason("", said, "mean_failure_bounds")
    if mean is None:
        return reason
    found = f"{rate(float(mean))} of the draws failed"
    if ends is None:
        return f"{found}; bounds {reason}"
    return (
        f"{at_least(ends[0])}, {at_most(ends[1])}, each {each} ({found}); of these images, and "
        "it says nothing of unseen ones"
    )


def _origin(
    result: ProbRobustness, settings: Mapping[str, Any], cost: Cost
) -> list[tuple[str, str]]:
    splits = settings.get("test") == "splitting"
    drawn = things(int(result.n_samples.sum()), "evaluation" if splits else "draw")
    mean = int(result.n_mean.sum())
    more = f", and {count(mean)} for the mean failure rate" if mean else ""
    passes = f"{count(cost.forward)} forward, {count(cost.backward)} backward"
    seed = one_line(settings.get("seed", NOT_KNOWN), 40)
    shared = " (noise shared between the images)" * bool(settings.get("shared_noise"))
    return [
        ("total draws", f"{drawn} for the verdicts{more}"),
        ("row-passes", passes),
        ("seed", seed + shared),
        ("test", _word(settings.get("test"), _TESTS)),
        ("guarantee", _word(result.guarantee, GUARANTEES)),
    ]


def _word(value: object, words: Mapping[str, str]) -> str:
    if value is None:
        return f"{NOT_KNOWN} (not recorded)"
    return words.get(str(value), one_line(value, 60))


def _band(
    result: ProbRobustness,
    said: Mapping[str, Any],
    settings: Mapping[str, Any],
    confidence: float,
) -> SilBand | None:
    if said["mean_failure_bounds"] is None:
        return None
    return replace(result.sil(confidence), law=law_text(settings))


def _beside(report: EvaluationReport, result: ProbRobustness) -> str:
    """The sentence that keeps noise and adversary apart, with both numbers where they exist."""
    ran = [
        (int(attack.robust.sum()), len(attack), stage)
        for stage in report.stages
        for attack in [stage.result]
        if isinstance(attack, AttackResult)
        and stages.usable(stage)
        and len(attack)
        and not bool(attack.unknown.any())
    ]
    if not ran:
        return f"{_NOISE} No attack gave a result to set beside it."
    left, n, stage = min(ran, key=lambda one: one[0] / one[1])
    ball = stages.ball_text(stages.settings_of(stage))
    where = f"{one_line(stage.name, 40)}{f', {ball}' if ball else ''}"
    many = f", the lowest of {things(len(ran), 'attack')}" if len(ran) > 1 else ""
    certified = share(int(result.certified.sum()), len(result))
    what = {
        "label": "Probabilistic robust accuracy",
        "prediction": "Certified to keep the clean answer, right or wrong",
        "target": "Certified not to reach the target",
    }[result.asked.kind]
    return (
        f"{_NOISE} {what}: {certified}. Robust accuracy under attack: at most "
        f"{share(left, n)} ({where}{many})."
    )
