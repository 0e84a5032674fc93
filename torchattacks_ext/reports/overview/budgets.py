"""What may be said of an attack that ran on a sample only? An interval, never a full run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ...results.datasets.budget import BudgetedAccuracy
from ...results.datasets.budgeted import Budgeted
from ...results.evaluation import EvaluationReport
from .. import stages
from ..words import confidence_text, count, interval, listing, number, one_line, share

GUARANTEE = {
    False: (
        "interval for what a full run of this attack would leave of these images, from a sample; "
        "no attack proves robustness"
    ),
    True: "upper bound: no attack proves robustness",
}
"""By whether every survivor was attacked."""


def budget_words(result: Budgeted) -> tuple[str, tuple[str, ...], bool]:
    """The number in words, its details, and whether it is that of a full run."""
    if result.chosen is not None or not bool(result.answered.any()):
        return "not known", (), False
    found = result.accuracy()
    words = (
        share(_left(found), found.n)
        if found.full_run
        else f"{_sides(found)} (estimated from a sample)"
    )
    given = result.settings.get("cheap", ())
    before = [given] if isinstance(given, Mapping) else list(given)
    cheap, full = listing([*map(_named, before)]), _named(result.settings["attack"])
    verb = "leave" if len(before) > 1 else "leaves"
    over = f"{confidence_text(found.confidence)} interval over the draw of the attacked ones; "
    details = (
        stages.ball_text(result.settings),
        f"{full} attacked {_of(found.attacked, found.survivors)} images that {cheap} left"
        + ("" if found.full_run else ": not a full run"),
        f"{'' if found.full_run else over}{cheap} alone {verb} {share(found.survivors, found.n)}",
    )
    return words, tuple(filter(None, details)), found.full_run


def budget_sentences(report: EvaluationReport) -> list[str]:
    """One plain sentence a stage of sampled attacks."""
    return [_sentence(*one) for one in _known(report)]


def rests_on(report: EvaluationReport, names: Iterable[str]) -> tuple[str, ...]:
    """What a worst case counts, and which sampled attacks it does not: they saw some images only.

    >>> rests_on(EvaluationReport("net", {}, {}, {}, ()), ["FGSM", "PGD"])
    ('rests on FGSM and PGD',)
    """
    beside = [
        f"does not count {name}, which broke {share(_broken(found), found.n)} of the images"
        for name, found in _known(report)
    ]
    return f"rests on {listing([one_line(name, 40) for name in names])}", *beside


def _known(report: EvaluationReport) -> Iterator[tuple[str, BudgetedAccuracy]]:
    """Stages of sampled attacks that have a number, by name."""
    for stage in report.stages:
        result = stage.result
        if not stages.usable(stage) or not isinstance(result, Budgeted):
            continue
        if result.chosen is None and bool(result.answered.any()):
            yield one_line(stage.name, 40), result.accuracy()


def _broken(found: BudgetedAccuracy) -> int:
    return found.broken_cheap + sum(one.broken for one in found.strata)


def _left(found: BudgetedAccuracy) -> int:
    return found.survivors - sum(one.broken for one in found.strata)


def _sentence(name: str, found: BudgetedAccuracy) -> str:
    if found.full_run:
        return (
            f"The expensive attack of {name} was run on every image that cheap ones left; "
            f"{share(_left(found), found.n)} of the images are still answered correctly, which is "
            "an upper bound as well."
        )
    return (
        f"The expensive attack of {name} was run on {_of(found.attacked, found.survivors)} images "
        f"that a cheap one left; from these it is estimated that it would leave {_sides(found)} of "
        f"the images ({confidence_text(found.confidence)} interval). It was not run on all."
    )


def _sides(found: BudgetedAccuracy) -> str:
    """The interval in words, rounded outwards."""
    return interval((found.lower, found.upper)).replace(", ", " to ").translate(_BARE)


_BARE = {ord("["): None, ord("]"): None}


def _named(attack: Mapping[str, Any]) -> str:
    """An attack with its arguments."""
    given = {key: value for key, value in attack.items() if key != "name"}
    said = ", ".join(f"{key}={_short(value)}" for key, value in given.items())
    name = one_line(attack.get("name", "?"), 40)
    return f"{name} ({one_line(said, 80)})" if said else name


def _short(value: Any) -> str:
    return number(value) if isinstance(value, float) else str(value)


def _of(part: int, whole: int) -> str:
    return f"{count(part)} of the {count(whole)}"
