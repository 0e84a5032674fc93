"""How does a report look on a terminal or in a log? Plain text of a fixed width, no colours."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any, Sequence

from ..errors import ConfigError
from ..results.evaluation import EvaluationReport
from . import breakdown
from .certified import told as certified
from .overview import context
from .overview.comparison import Reports, as_reports, compare, model_names
from .overview.scorecard import ScoreRow, scorecard
from .overview.summary import plain_summary
from .rates.claims import band_text, claims
from .rates.histograms import spreads
from .sections import sections
from .sets.cost import cost_told
from .sets.told import sets_told
from .stress import stress_told
from .words import confidence_text, count, seconds

_NARROWEST = 60
_SPACE = "  "


def render_text(reports: Reports, width: int = 100, *, confidence: float = 0.95) -> str:
    """One report, or several side by side, as plain text.

    width: most characters a line, at least 60 (ConfigError below). confidence: of the
    intervals, in (0, 1). Names and messages are shown without control characters.

    >>> report = EvaluationReport("net", {}, {}, {"n": 0}, stages=())
    >>> render_text(report).splitlines()[0]
    'Robustness report: net'
    """
    if width < _NARROWEST:
        raise ConfigError(
            f"width={width} is too narrow for the tables; give at least {_NARROWEST}"
        )
    found = as_reports(reports)
    names = model_names(found)
    lines = [*_heading(f"Robustness report: {' · '.join(names)}", "=", width)]
    if len(found) > 1:
        lines += _comparison(found, confidence, width)
    for name, report in zip(names, found):
        lines += ["", *_heading(f"Model {name}", "=", width)] if len(found) > 1 else []
        lines += _model(report, confidence, width)
    lines += _section("How to read the numbers", context.HOW_TO_READ, width)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def table(
    rows: Sequence[Sequence[str]], width: int, align: str = "", indent: str = ""
) -> list[str]:
    """Rows (the first is the head) as aligned columns; the widest are wrapped to fit.

    align: "l" or "r" a column. Every line is at most `width` long as long as four
    characters a column fit.

    >>> print("\\n".join(table([["a", "n"], ["one two", "10"]], 9, "lr")))
    a       n
    -----  --
    one    10
    two
    """
    room = width - len(indent) - len(_SPACE) * (len(rows[0]) - 1)
    widths = [max(1, *map(len, column)) for column in zip(*rows)]
    while sum(widths) > room and max(widths) > 4:
        widths[widths.index(max(widths))] -= 1
    align = align.ljust(len(widths), "l")
    lines = []
    for i, row in enumerate(rows):
        cells = [_wrap(cell, size) or [""] for cell, size in zip(row, widths)]
        for j in range(max(len(cell) for cell in cells)):
            parts = [cell[j] if j < len(cell) else "" for cell in cells]
            lines.append(indent + _SPACE.join(map(_pad, parts, widths, align)).rstrip())
        if i == 0:
            lines.append(indent + _SPACE.join("-" * size for size in widths))
    return lines


def _wrap(text: str, width: int, first: str = "", rest: str = "") -> list[str]:
    """Lines of at most `width`; names with hyphens stay whole where they fit."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
    )


def _pad(text: str, size: int, side: str) -> str:
    return text.rjust(size) if side == "r" else text.ljust(size)


def _heading(text: str, rule: str, width: int) -> list[str]:
    lines = _wrap(text, width)
    return [*lines, rule * max(len(line) for line in lines)]


def _section(title: str, items: Iterable[str], width: int) -> list[str]:
    lines = ["", *_heading(title, "-", width)]
    for item in items:
        lines += _wrap(item, width, "* ", "  ")
    return lines


def _comparison(
    found: list[EvaluationReport], confidence: float, width: int
) -> list[str]:
    side = compare(found, confidence)
    rows = [["", *side.models]]
    for stage, cells in side.rows:
        rows.append([stage, *(_cell(cell) for cell in cells)])
    title = f"Comparison ({confidence_text(confidence)} intervals)"
    lines = ["", *_heading(title, "-", width), *table(rows, width)]
    for caution in side.cautions:
        lines += _wrap(f"Note: {caution}.", width, "", "  ")
    return lines


def _cell(row: ScoreRow | None) -> str:
    if row is None:
        return "not run"
    return f"{row.value} {row.interval}".strip()


def _model(report: EvaluationReport, confidence: float, width: int) -> list[str]:
    lines = _section("Summary", plain_summary(report), width)
    doubts = [f"[{d.code}] {d.message} ({d.where})" for d in context.doubts(report)]
    lines += _section("Doubts", doubts or ["None was raised."], width)
    lines += _scorecard(scorecard(report, confidence), confidence, width)
    lines += _breakdowns(report, width)
    lines += _certified(report, confidence, width)
    lines += _told_tables(stress_told(report, confidence), width)
    lines += _told_tables(sets_told(report, confidence), width)
    lines += _told_tables(sections(report, confidence), width)
    lines += _tests(report, confidence, width)
    lines += _told_tables(cost_told(report), width)
    lines += _section("What was not tested", context.not_tested(report), width)
    cited = [f"{name}: {text}" for name, text in context.methods(report)]
    lines += _section("Methods", cited, width)
    facts = [["fact", "value"], *map(list, context.provenance(report))]
    return [*lines, "", *_heading("Provenance", "-", width), *table(facts, width)]


def _breakdowns(report: EvaluationReport, width: int) -> list[str]:
    lines = []
    for told in breakdown.breakdowns(report):
        title = f"What each part of the attack did: {told.stage}"
        rows = [breakdown.HEAD, *told.rows]
        lines += ["", *_heading(title, "-", width)]
        lines += [*table(rows, width, breakdown.ALIGN), ""]
        for note in told.notes:
            lines += _wrap(note, width, "* ", "  ")
        if told.matrix:
            align = "l" + "r" * (len(told.matrix[0]) - 1)
            lines += ["", *_wrap(f"{breakdown.MATRIX_TITLE}:", width)]
            lines += table(told.matrix, width, align)
    return lines


def _certified(report: EvaluationReport, confidence: float, width: int) -> list[str]:
    lines = []
    for told in certified.certified_told(report, confidence):
        lines += ["", *_heading(told.title, "-", width)]
        lines += [*table([certified.HEAD, *told.rows], width, certified.ALIGN), ""]
        for note in told.notes:
            lines += _wrap(note, width, "* ", "  ")
    return lines


def _told_tables(tables: Iterable[Any], width: int) -> list[str]:
    lines = []
    for told in tables:
        lines += ["", *_heading(told.title, "-", width)]
        lines += [*table(told.rows, width, told.align), ""]
        for note in told.notes:
            lines += _wrap(note, width, "* ", "  ")
    return lines


def _tests(report: EvaluationReport, confidence: float, width: int) -> list[str]:
    lines = []
    for said, spread in zip(claims(report, confidence), spreads(report)):
        title = f"What may be said of the whole data set: {said.stage}"
        rows = [["fact", "value"], *map(list, said.rows)]
        lines += ["", *_heading(title, "-", width), *table(rows, width)]
        lines += ["", *_wrap(said.beside, width)]
        lines += ["", *_wrap(band_text(said), width)] if said.band else []
        for caveat in said.caveats:
            lines += _wrap(caveat, width, "* ", "  ")
        if said.groups:
            lines += ["", *table([said.group_head, *said.groups], width, "lrlrrrr")]
            lines += _wrap(said.group_note, width)
        for title, counts in spread.tables:
            lines += ["", *_wrap(f"{title}:", width), *table(counts, width, "lrrr")]
        lines += ["", *_wrap(spread.caption, width)] if spread.tables else []
    return lines


def _scorecard(rows: list[ScoreRow], confidence: float, width: int) -> list[str]:
    head = [
        "Stage",
        "Result",
        f"{confidence_text(confidence)} interval",
        "n",
        "Forward",
        "Backward",
        "Time",
    ]
    cells = [head]
    for row in rows:
        cost = ["", "", ""]
        if row.cost is not None:
            cost = [
                count(row.cost.forward),
                count(row.cost.backward),
                seconds(row.cost.seconds),
            ]
        cells.append(
            [
                row.stage,
                row.value,
                row.interval,
                "" if row.n is None else count(row.n),
                *cost,
            ]
        )
    lines = [
        "",
        *_heading("Scorecard", "-", width),
        *table(cells, width, "lllrrrr"),
        "",
    ]
    for row in rows:
        lines += _told(row, width)
    return lines


def _told(row: ScoreRow, width: int) -> list[str]:
    lines = _wrap(f"{row.stage}: {row.asks}", width)
    for text in _remarks(row):
        lines += _wrap(text, width, "  ", "    ")
    return lines


def _remarks(row: ScoreRow) -> list[str]:
    return [
        *([] if row.error is None else [f"FAILED: {row.error}"]),
        *row.details,
        *([f"guarantee: {row.guarantee}"] if row.guarantee else []),
        *(f"note: {text}" for text in row.notes),
    ]
