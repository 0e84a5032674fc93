"""How does a report look on a code host or a CI job's page? GitHub-flavoured Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
from .sets.page import Told
from .sets.told import sets_told
from .stress import stress_told
from .words import confidence_text, cost_text, count
from .words import escape as escape


def render_markdown(reports: Reports, *, confidence: float = 0.95) -> str:
    """One report, or several side by side, as Markdown with pipe tables.

    confidence: of the intervals, in (0, 1). Pipes, newlines, HTML and Markdown in names
    and messages are escaped.

    >>> report = EvaluationReport("net", {}, {}, {"n": 0}, stages=())
    >>> render_markdown(report).splitlines()[0]
    '# Robustness report: net'
    """
    found = as_reports(reports)
    names = model_names(found)
    blocks = [f"# Robustness report: {escape(' · '.join(names))}"]
    if len(found) > 1:
        blocks += _comparison(found, confidence)
    for name, report in zip(names, found):
        if len(found) > 1:
            blocks.append(f"## Model {escape(name)}")
        blocks += _model(report, confidence, "###" if len(found) > 1 else "##")
    blocks += ["## How to read the numbers", _bullets(context.HOW_TO_READ)]
    return "\n\n".join(blocks) + "\n"


def _bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {escape(item)}" for item in items)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], align: str) -> str:
    """A pipe table of cells that are escaped already. align: "l" or "r" a column."""
    rule = ["---:" if side == "r" else ":---" for side in align]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *rows])


def _comparison(found: list[EvaluationReport], confidence: float) -> list[str]:
    side = compare(found, confidence)
    rows = [[escape(stage), *map(_cell, cells)] for stage, cells in side.rows]
    head = ["Stage", *map(escape, side.models)]
    title = f"## Comparison ({confidence_text(confidence)} intervals)"
    return [title, _table(head, rows, "l" * len(head)), _bullets(side.cautions)]


def _cell(row: ScoreRow | None) -> str:
    if row is None:
        return "not run"
    return f"{escape(row.value)} {escape(row.interval)}".strip()


def _model(report: EvaluationReport, confidence: float, mark: str) -> list[str]:
    doubts = [f"[{d.code}] {d.message} ({d.where})" for d in context.doubts(report)]
    facts = [
        [escape(name), escape(value)] for name, value in context.provenance(report)
    ]
    return [
        f"{mark} Summary",
        _bullets(plain_summary(report)),
        f"{mark} Doubts",
        _bullets(doubts or ["None was raised."]),
        f"{mark} Scorecard",
        _scorecard(scorecard(report, confidence), confidence),
        *_breakdowns(report, mark),
        *_certified(report, confidence, mark),
        *_stress(report, confidence, mark),
        *_told_tables(sets_told(report, confidence), mark),
        *_sections(report, confidence, mark),
        *_tests(report, confidence, mark),
        *_told_tables(cost_told(report), mark),
        f"{mark} What was not tested",
        _bullets(context.not_tested(report)),
        f"{mark} Methods",
        _bullets(f"{name}: {text}" for name, text in context.methods(report)),
        f"{mark} Provenance",
        _table(["Fact", "Value"], facts, "ll"),
    ]


def _breakdowns(report: EvaluationReport, mark: str) -> list[str]:
    blocks = []
    for told in breakdown.breakdowns(report):
        rows = [[escape(cell) for cell in row] for row in told.rows]
        blocks += [
            f"{mark} What each part of the attack did: {escape(told.stage)}",
            _table(breakdown.HEAD, rows, breakdown.ALIGN),
            _bullets(told.notes),
        ]
        if told.matrix:
            head, *lines = [[escape(cell) for cell in row] for row in told.matrix]
            blocks.append(f"{breakdown.MATRIX_TITLE}:")
            blocks.append(_table(head, lines, "l" + "r" * (len(head) - 1)))
    return blocks


def _certified(report: EvaluationReport, confidence: float, mark: str) -> list[str]:
    blocks = []
    for told in certified.certified_told(report, confidence):
        rows = [[escape(cell) for cell in row] for row in told.rows]
        blocks += [
            f"{mark} {escape(told.title)}",
            _table(certified.HEAD, rows, certified.ALIGN),
            _bullets(told.notes),
        ]
    return blocks


def _stress(report: EvaluationReport, confidence: float, mark: str) -> list[str]:
    blocks = []
    for told in stress_told(report, confidence):
        head, *rows = [[escape(cell) for cell in row] for row in told.rows]
        blocks += [
            f"{mark} {escape(told.title)}",
            _table(head, rows, told.align),
            _bullets(told.notes),
        ]
    return blocks


def _told_tables(tables: Iterable[Told], mark: str) -> list[str]:
    blocks = []
    for told in tables:
        head, *rows = [[escape(cell) for cell in row] for row in told.rows]
        blocks += [
            f"{mark} {escape(told.title)}",
            _table(head, rows, told.align.ljust(len(head), "l")),
            *([_bullets(told.notes)] if told.notes else []),
        ]
    return blocks


def _sections(report: EvaluationReport, confidence: float, mark: str) -> list[str]:
    blocks = []
    for told in sections(report, confidence):
        head, *rows = [[escape(cell) for cell in row] for row in told.rows]
        blocks += [f"{mark} {escape(told.title)}", _table(head, rows, told.align)]
        blocks += [_bullets(told.notes)] if told.notes else []
    return blocks


def _tests(report: EvaluationReport, confidence: float, mark: str) -> list[str]:
    blocks = []
    for said, spread in zip(claims(report, confidence), spreads(report)):
        rows = [[escape(name), escape(value)] for name, value in said.rows]
        blocks += [
            f"{mark} What may be said of the whole data set: {escape(said.stage)}",
            _table(["Fact", "Value"], rows, "ll"),
            escape(said.beside),
            *([escape(band_text(said))] if said.band else []),
            *([_bullets(said.caveats)] if said.caveats else []),
        ]
        if said.groups:
            cells = [[escape(cell) for cell in row] for row in said.groups]
            blocks += [
                _table(said.group_head, cells, "lrlrrrr"),
                escape(said.group_note),
            ]
        for title, (head, *counts) in spread.tables:
            blocks += [f"{escape(title)}:", _table(head, counts, "lrrr"[: len(head)])]
        blocks += [escape(spread.caption)] * bool(spread.tables)
    return blocks


def _scorecard(rows: list[ScoreRow], confidence: float) -> str:
    head = [
        "Stage",
        "Result",
        f"{confidence_text(confidence)} interval",
        "n",
        "Guarantee",
        "Remarks",
        "Cost",
    ]
    cells = []
    for row in rows:
        failed = () if row.error is None else (f"FAILED: {row.error}",)
        remarks = "<br>".join(map(escape, (*failed, *row.details, *row.notes)))
        n = "" if row.n is None else count(row.n)
        words = map(escape, (row.stage, row.value, row.interval, n, row.guarantee))
        cells.append([*words, remarks, escape(cost_text(row.cost))])
    return _table(head, cells, "lllrlll")
