"""How do the images of a random test differ? Their bounds and the draws they took, in counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..._typing import Verdict
from ...results.evaluation import EvaluationReport
from ...results.prob_robustness import ProbRobustness
from ..drawing.charts import Chart, Say, decade_table, log_histogram
from ..stages import settings_of, usable
from ..words import exact, exact_rate, number, one_line, rate, things

_DRAWN = (Verdict.ROBUST, Verdict.UNDECIDED, Verdict.NOT_ROBUST)
_RARE = 1e-5
"""Below such a tolerance rates are written as powers of ten: 1e-8 reads better than 1e-6 %."""

_STOPS = (
    "The test of an image stops as soon as it is decided, so certified images lie just below the "
    "tolerance of {tolerance} and are not sampled further: the bound says that they fail at most "
    "this often, not how often they fail."
)
_CAPTIONS = {
    "fixed": "The number of draws is fixed beforehand; an image stops early only where the draws "
    "that are left cannot change its verdict. Bounds take those draws at their worst.",
    "group": "An image is looked at a few planned times and stops at the first look that decides "
    "it (tolerance {tolerance}): its bound says that it fails at most this often, not how often.",
    "splitting": "Evaluations count every move of every particle. An image stops as soon as "
    "enough particles have died to certify it (tolerance {tolerance}); all bounds hold for an "
    "ideal kernel only.",
}


@dataclass(frozen=True)
class Spread:
    """The two histograms of one PRTest: as drawings, and as tables with a row a decade.

    name: of the stage. tables: (title, rows, the first being the head). caption: what stops an
    image, and how many rows had no draw.
    """

    name: str
    charts: tuple[Chart, ...]
    tables: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]
    caption: str


@dataclass(frozen=True)
class _View:
    """One quantity of every image that was drawn from, by verdict."""

    groups: Mapping[str, list[float]]
    title: str
    axis: str
    say: Say
    anchor: float = 1.0
    ceiling: float = float("inf")
    line: str = ""


def spreads(report: EvaluationReport) -> list[Spread]:
    """One for each PRTest stage with a result; without charts where no image was drawn from.

    >>> spreads(EvaluationReport("net", {}, {}, {"n": 0}, stages=()))
    []
    """
    return [
        _spread(stage.name, stage.result, settings_of(stage))
        for stage in report.stages
        if usable(stage) and isinstance(stage.result, ProbRobustness)
    ]


def _spread(name: str, result: ProbRobustness, settings: Mapping[str, Any]) -> Spread:
    charts, tables = [], []
    for view in (_bounds(result, settings), _spent(result, settings)):
        chart = log_histogram(
            view.groups,
            title=view.title,
            axis=view.axis,
            anchor=view.anchor,
            ceiling=view.ceiling,
            line=view.line,
            say=view.say,
        )
        if chart is not None:
            charts.append(chart)
            rows = decade_table(
                view.groups, anchor=view.anchor, ceiling=view.ceiling, say=view.say
            )
            tables.append((view.title, rows))
    return Spread(
        one_line(name), tuple(charts), tuple(tables), _caption(result, settings)
    )


def _caption(result: ProbRobustness, settings: Mapping[str, Any]) -> str:
    text = _CAPTIONS.get(str(settings.get("test")), _STOPS)
    text = text.format(tolerance=exact_rate(settings.get("tolerance")))
    none = int((result.n_samples == 0).sum())
    if not none:
        return text
    return (
        f"{text} Not shown: {things(none, 'image')} without any draw for a verdict (decided by "
        "the clean answer, or not reached)."
    )


def _by_verdict(result: ProbRobustness, values: torch.Tensor) -> dict[str, list[float]]:
    drawn = result.n_samples > 0
    return {
        verdict.name.lower()
        .replace("_", " "): values[drawn & (result.verdict == int(verdict))]
        .tolist()
        for verdict in _DRAWN
    }


def _bounds(result: ProbRobustness, settings: Mapping[str, Any]) -> _View:
    tolerance = settings.get("tolerance")
    known = tolerance if isinstance(tolerance, float) and 0 < tolerance < 1 else None
    least = result.p_fail_upper[result.p_fail_upper > 0]
    rare = bool((least < _RARE).any()) or (known is not None and known < _RARE)
    say: Say = number if rare else rate
    return _View(
        _by_verdict(result, result.p_fail_upper),
        "Upper bound of the failure rate, per image",
        "upper bound of the failure rate (log scale)",
        say,
        known or 1.0,
        1.0,
        f"tolerance {(exact if rare else exact_rate)(known)}" if known else "",
    )


def _spent(result: ProbRobustness, settings: Mapping[str, Any]) -> _View:
    splits = settings.get("test") == "splitting"
    return _View(
        _by_verdict(result, result.n_samples.double()),
        f"{'Model evaluations' if splits else 'Random draws'} spent, per image",
        f"{'evaluations' if splits else 'draws'} (log scale)",
        lambda value: f"{value:,.0f}",
    )
