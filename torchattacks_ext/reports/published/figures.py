"""Which numbers does a report hold, and under which condition does each hold? One a line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...errors import InputError
from ...numerics.arguments import check_confidence
from ...results.accuracy import Accuracy
from ...results.attack import AttackResult
from ...results.base.result import Result
from ...results.certificates import Certificates
from ...results.evaluation import EvaluationReport, StageReport
from ...results.prob_robustness import ProbRobustness
from ...results.stress import Stress
from ...results.sweep import Sweep
from ..certified.words import CERTIFIED, CONFIDENT, main_share
from ..laws import law_text
from ..stages import settings_of, usable
from ..words import exact_rate, listing, one_line, radius

UPPER_BOUND = "upper bound of the robust accuracy: no attack proves robustness"
NAMES = {
    "accuracy": "clean accuracy",
    "attacked_accuracy": "attacked accuracy (upper bound of the robust accuracy)",
    "certified_accuracy": "certified accuracy",
    "probabilistic_robustness": "probabilistic robustness (share of images)",
    "corrupted_accuracy": "accuracy under a corruption",
}
"""Metric -> what people call it. An attacked accuracy is never called robust accuracy."""


@dataclass(frozen=True)
class Figure:
    """One number of a report.

    stage: where it is from. metric: of :data:`NAMES`. condition: under which it holds, in words
    that no other number of the report has. value: in [0, 1]. low, high: its interval. n: images.
    worth: what the number is worth. facts: attack, norm, eps, corruption, severity, where there
    are any.
    """

    stage: str
    metric: str
    condition: str
    value: float
    low: float
    high: float
    n: int
    worth: str
    facts: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """What people call the metric."""
        return NAMES[self.metric]


def figures(report: EvaluationReport, confidence: float = 0.95) -> list[Figure]:
    """Every number in [0, 1] that is a share of images, in the order of the stages.

    Left out, never zero: stages without a result, attacks that did not get through all images,
    radii that nothing proves, and what is no single share (sensitivity, intervals of a sample).
    confidence: of each interval, in (0, 1); ConfigError otherwise.

    >>> figures(EvaluationReport("net", {}, {}, {"n": 0}, stages=()))
    []
    """
    check_confidence(confidence)
    found: list[Figure] = []
    for stage in report.stages:
        if usable(stage) and stage.result is not None and len(stage.result):
            found += _of(stage, stage.result, report.plan, confidence)
    found += _worst(report, confidence)
    return _apart([one for one in found if math.isfinite(one.value)])


def _apart(found: list[Figure]) -> list[Figure]:
    """Conditions that words made equal (long names, radii of one printed value) get a number."""
    seen: dict[str, int] = {}
    kept = []
    for one in found:
        seen[one.condition] = number = seen.get(one.condition, 0) + 1
        more = f"{one.condition} ({number})"
        kept.append(one if number == 1 else replace(one, condition=more))
    return kept


def ball(settings: Mapping[str, Any]) -> str:
    """Norm and radius as a condition; a radius that words would round is written in full.

    >>> ball({"norm": "Linf", "eps": 8 / 255}), ball({"norm": "L2", "eps": 1 / 7}), ball({})
    ('Linf, eps 8/255', 'L2, eps 0.14285714285714285', '')
    """
    norm, eps = settings.get("norm"), settings.get("eps")
    if norm is None or eps is None:
        return ""
    said = radius(eps)
    size = repr(float(eps)) if said.startswith("about") else said
    return f"{one_line(norm, 20)}, eps {size}"


def _of(
    stage: StageReport, result: Result, plan: Mapping[str, Any], confidence: float
) -> Iterator[Figure]:
    name = one_line(stage.name, 60)
    if isinstance(result, Accuracy):
        said, n = result.summary(confidence), int(result.answered.sum())
        low, high = said["clean_accuracy_interval"]
        worth = "estimate from a sample of images"
        share = float(said["clean_accuracy"])
        yield Figure(name, "accuracy", name, share, low, high, n, worth)
    elif isinstance(result, AttackResult):
        yield from _attacked(stage, result, confidence)
    elif isinstance(result, ProbRobustness):
        yield from _drawn(stage, result, confidence)
    elif isinstance(result, Certificates):
        yield from _certified(name, result, plan, confidence)
    elif isinstance(result, Stress):
        yield from _stressed(name, result, confidence)
    elif isinstance(result, Sweep):
        yield from _swept(stage, result, confidence)


def _attacked(
    stage: StageReport, result: AttackResult, confidence: float
) -> Iterator[Figure]:
    settings, name = settings_of(stage), one_line(stage.name, 60)
    said = result.summary(confidence)
    low, high = said["robust_accuracy_interval"]
    method = _method(settings)
    own = "" if method in (name, "") else f"{method}, "
    yield Figure(
        name,
        "attacked_accuracy",
        f"{name}: {own}{ball(settings) or 'no ball'}",
        float(said["robust_accuracy"]),
        low,
        high,
        len(result),
        UPPER_BOUND,
        _facts(settings, attack=method or name),
    )


def _drawn(
    stage: StageReport, result: ProbRobustness, confidence: float
) -> Iterator[Figure]:
    if result.asked.kind != "label" or bool(result.unknown.any()):
        return
    settings, name = settings_of(stage), one_line(stage.name, 60)
    low, high = result.summary(confidence)[result.asked.interval]
    law, rate = law_text(settings), exact_rate(settings.get("tolerance"))
    yield Figure(
        name,
        "probabilistic_robustness",
        f"{name}: {law}, tolerance {rate}",
        float(result.pra),
        low,
        high,
        len(result),
        "share of images that a test found to fail rarely; random changes only, no attacker",
        (("law", law), ("tolerance", settings.get("tolerance"))),
    )


def _certified(
    name: str, result: Certificates, plan: Mapping[str, Any], confidence: float
) -> Iterator[Figure]:
    main = main_share(result, plan, confidence)
    if main is None or result.tier not in (CERTIFIED, CONFIDENT):
        return  # nothing else may be called certified
    where = {"norm": main.norm, "eps": main.at.eps}
    yield Figure(
        name,
        "certified_accuracy",
        f"{name}: {ball(where)}, {result.tier}",
        float(main.at.value),
        main.at.low,
        main.at.high,
        len(result),
        f"share of images with a radius; status {result.tier}",
        _facts(where, tier=result.tier),
    )


def _stressed(name: str, result: Stress, confidence: float) -> Iterator[Figure]:
    for corruption in result.corruptions:
        for severity in result.severities:
            at = result.share(corruption, severity, confidence)
            facts = (("corruption", corruption), ("severity", severity))
            yield Figure(
                name,
                "corrupted_accuracy",
                f"{name}: {corruption}, severity {severity}",
                float(at.value),
                at.low,
                at.high,
                len(result),
                "accuracy under random corruptions; no attacker",
                facts,
            )


def _swept(stage: StageReport, result: Sweep, confidence: float) -> Iterator[Figure]:
    settings, name = settings_of(stage), one_line(stage.name, 60)
    for at in result.curve(confidence)[1:]:  # the first is the clean one
        where = {"norm": settings.get("norm"), "eps": at.eps}
        method = _method(settings)
        yield Figure(
            name,
            "attacked_accuracy",
            f"{name}: {method}, {ball(where)}",
            float(at.value),
            at.low,
            at.high,
            len(result),
            UPPER_BOUND,
            _facts(where, attack=method),
        )


def _worst(report: EvaluationReport, confidence: float) -> Iterator[Figure]:
    try:
        said = report.worst_case(confidence)
    except InputError:  # stages of other images have no worst case
        return
    if said is None or said.get("robust_accuracy_bounds") or said["failed_stages"]:
        return
    rests = listing([one_line(name, 40) for name in said["stages"]], 40)
    low, high = said["robust_accuracy_interval"]
    yield Figure(
        "worst_case",
        "attacked_accuracy",
        f"worst case over {rests}: {ball(report.plan) or 'no ball'}",
        float(said["robust_accuracy"]),
        low,
        high,
        int(said["n"]),
        UPPER_BOUND,
        _facts(report.plan, attack=f"worst case over {rests}"),
    )


def _method(settings: Mapping[str, Any]) -> str:
    """The method and its version: what decides how strong it is.

    >>> _method({"method": "MSA", "version": "fast"}), _method({})
    ('MSA fast', '')
    """
    words = [settings.get("method"), settings.get("version")]
    return " ".join(one_line(word, 60) for word in words if word)


def _facts(settings: Mapping[str, Any], **more: Any) -> tuple[tuple[str, Any], ...]:
    known = {key: settings.get(key) for key in ("norm", "eps")}
    return tuple((k, v) for k, v in {**more, **known}.items() if v is not None)
