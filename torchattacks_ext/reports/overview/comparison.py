"""How do several models stand beside each other? One row a stage, one column a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import InputError
from ...results.accuracy import Accuracy
from ...results.base import codec
from ...results.evaluation import EvaluationReport
from ..certified.words import CERTIFIED
from ..stages import settings_of, usable
from ..words import listing, one_line
from .scorecard import WORST_CASE, ScoreRow, scorecard

OF_THE_MODEL = {"L", "L_kind", "L_source", "covariance", "guarantee", "tier"}
"""Settings of a stage of certificates that the model decides; tiers have their own lines."""

Reports = EvaluationReport | Sequence[EvaluationReport]


@dataclass(frozen=True)
class Comparison:
    """Models side by side.

    models: a distinct name each. rows: (stage, one ScoreRow a model, None where it did
    not run the stage). cautions: reasons why two numbers of a row may not be held
    against each other.
    """

    models: tuple[str, ...]
    rows: tuple[tuple[str, tuple[ScoreRow | None, ...]], ...]
    cautions: tuple[str, ...]


def as_reports(reports: Reports) -> list[EvaluationReport]:
    """One report or several as a list. Raises InputError for none, or for anything else."""
    found = [reports] if isinstance(reports, EvaluationReport) else list(reports)
    odd = [
        type(item).__name__ for item in found if not isinstance(item, EvaluationReport)
    ]
    if odd or not found:
        raise InputError(
            f"got {odd or 'no reports'}; give one EvaluationReport or a sequence of at least one"
        )
    return found


def model_names(reports: Sequence[EvaluationReport]) -> list[str]:
    """A distinct, printable name for each report.

    Equal names get a number: "net (1)", "net (2)".
    """
    names = [one_line(report.name, 60) or "unnamed model" for report in reports]
    return [
        f"{name} ({names[: i + 1].count(name)})" if names.count(name) > 1 else name
        for i, name in enumerate(names)
    ]


def compare(
    reports: Sequence[EvaluationReport], confidence: float = 0.95
) -> Comparison:
    """The scorecards of all reports as one table; stages are matched by name and tier."""
    cards = [scorecard(report, confidence) for report in reports]
    named = [{_line(row): row for row in card[:-1]} for card in cards]
    stages = dict.fromkeys(name for card in named for name in card)
    rows: list[tuple[str, tuple[ScoreRow | None, ...]]] = [
        (name, tuple(card.get(name) for card in named)) for name in stages
    ]
    rows.append((WORST_CASE, tuple(card[-1] for card in cards)))
    return Comparison(
        tuple(model_names(reports)), tuple(rows), tuple(_cautions(reports))
    )


def _line(row: ScoreRow) -> str:
    """The name of its line; numbers that may not be called the same have lines of their own."""
    usual = row.tier in ("", CERTIFIED)
    return row.stage if usual else f"{row.stage} ({row.tier})"


def _cautions(reports: Sequence[EvaluationReport]) -> list[str]:
    if len(reports) < 2:
        return []
    found = [_data_caution(reports)]
    for name in dict.fromkeys(
        stage.name for report in reports for stage in report.stages
    ):
        odd = _odd_settings(reports, name)
        if odd:
            found.append(f"{one_line(name)} ran with other settings: {listing(odd)}")
    plans = [(report.plan.get("eps"), report.plan.get("norm")) for report in reports]
    if len(set(plans)) > 1:
        found.append(
            "the worst cases are of different balls: a model that was attacked in a smaller one "
            "looks better"
        )
    searched = {frozenset(_searches(report)) for report in reports}
    if len(searched) > 1:
        found.append(
            "the worst cases rest on different stages: a model that met fewer of them looks better "
            f"({'; '.join(_rests(reports))})"
        )
    return found


def _searches(report: EvaluationReport) -> list[str]:
    """Names of the stages that the worst case counts; a law outside the ball is none of them."""
    return [name for name in report.worst_stages()[0] if usable(report[name])]


def _rests(reports: Sequence[EvaluationReport]) -> list[str]:
    """What the worst case of each model rests on, in words."""
    pairs = zip(model_names(reports), map(_searches, reports))
    return [
        f"{name}: {listing([one_line(stage, 40) for stage in found]) if found else 'none'}"
        for name, found in pairs
    ]


def _data_caution(reports: Sequence[EvaluationReport]) -> str:
    ids = []
    for report in reports:
        clean = (s.result for s in report.stages if isinstance(s.result, Accuracy))
        ids.append(next((sorted(result.ids.tolist()) for result in clean), None))
    if None in ids:
        return "it is not known whether the models were measured on the same images"
    if any(other != ids[0] for other in ids):
        return "the models were measured on different images: differences may come from the images"
    return (
        "all models saw the same images: two overlapping intervals do not show that the models are "
        "equal, that needs a paired test"
    )


def _odd_settings(reports: Sequence[EvaluationReport], name: str) -> list[str]:
    """Names of the settings in which the stage `name` differs between the reports that have it."""
    seen = [
        codec.plain(settings_of(s)) for r in reports for s in r.stages if s.name == name
    ]
    keys = sorted({key for settings in seen for key in settings} - OF_THE_MODEL)
    return [
        one_line(key, 40)
        for key in keys
        if any(settings.get(key) != seen[0].get(key) for settings in seen)
    ]
