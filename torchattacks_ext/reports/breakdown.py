"""Which part of an attack broke what, and at what cost? Its books as tables and a heat map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._typing import Verdict
from ..results.attack import AttackResult
from ..results.evaluation import EvaluationReport
from .drawing.charts import Mark
from .stages import usable
from .words import NOT_KNOWN, count, one_line, percent, percent_of, seconds, things

TARGET = "target"
"""The name of the target among the models of a breakdown."""
HEAD = (
    "source",
    "tried",
    "fooled",
    "transfer",
    "broken first",
    "forward",
    "backward",
    "time",
)
ALIGN = "lrrrrrrr"
"""Sides of the columns: text left, numbers right."""
CENSORED = (
    "The table is censored: a row that an earlier part broke is not tried by later ones, so a part "
    "that stands late may be stronger than it looks."
)
_HOW = (
    "Tried and fooled count a row once for each run (restart or target class); fooled is on the "
    "model that was attacked, broken is on the target. Transfer is broken first over fooled; it "
    "may exceed 100 % where a step on the way breaks the target before the surrogate. Forward and "
    "backward are row-passes."
)
WIDTH = 480
_LEFT, _RIGHT, _TOP, _LINE = 128, 8, 24, 26


@dataclass(frozen=True)
class Cell:
    """A rectangle of the heat map; opacity of its fill, its text, and what a pointer shows."""

    x: float
    y: float
    width: float
    height: float
    opacity: float
    text: str
    title: str


@dataclass(frozen=True)
class HeatMap:
    """Attacks (lines) by models (columns): the share of tried rows that were broken first."""

    title: str
    description: str
    height: int
    lines: tuple[Mark, ...]
    columns: tuple[Mark, ...]
    cells: tuple[Cell, ...]
    width: int = WIDTH


@dataclass(frozen=True)
class Breakdown:
    """The books of one attack stage, in words.

    stage: its name. rows: cells as in HEAD, in the order of the plan. notes: how to read them.
    matrix: a head and a line an attack, () without surrogates; heat: the same drawn, or None.
    """

    stage: str
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    matrix: tuple[tuple[str, ...], ...]
    heat: HeatMap | None


MATRIX_TITLE = "Share of the tried rows that each attack on each model broke first"


def breakdowns(report: EvaluationReport) -> list[Breakdown]:
    """One for each attack stage whose result holds a breakdown, in their order.

    >>> breakdowns(EvaluationReport("net", {}, {}, {"n": 0}, stages=()))
    []
    """
    found = []
    for stage in report.stages:
        if usable(stage) and isinstance(stage.result, AttackResult):
            books = _books(stage.result)
            if books:
                found.append(_told(one_line(stage.name), books, stage.result))
    return found


def _books(result: AttackResult) -> dict[str, Mapping[str, Any]]:
    """Source -> its account, in the order of the plan; {} where the result has none."""
    known = result.breakdown
    if not known:
        return {}
    order = dict.fromkeys([*result.sources, *known])
    return {name: known.get(name, {}) for name in order}


def _whole(entry: Mapping[str, Any], key: str) -> int:
    value = entry.get(key, 0)
    return int(value) if isinstance(value, (int, float)) else 0


def _told(
    stage: str, books: Mapping[str, Mapping[str, Any]], result: AttackResult
) -> Breakdown:
    models = list(dict.fromkeys(name.partition("/")[0] for name in books))
    mixed = any(model != TARGET for model in models)
    notes = (_total(books, result), CENSORED, _HOW)
    return Breakdown(
        stage,
        tuple(_row(name, entry) for name, entry in books.items()),
        notes,
        _matrix(books, models) if mixed else (),
        _heat(books, models) if mixed else None,
    )


def _total(books: Mapping[str, Mapping[str, Any]], result: AttackResult) -> str:
    """The verdicts count: where the parts name another number, both are said."""
    broken = int((result.verdict == int(Verdict.NOT_ROBUST)).sum())
    named = sum(_whole(entry, "broken") for entry in books.values())
    said = f"{things(broken, 'image')} of {count(len(result))} broken in all"
    if named == broken:
        return f"{said}."
    return f"{said}; the parts name {count(named)}, and close calls were decided anew."


def _row(name: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    tried, fooled, broken = (_whole(entry, k) for k in ("tried", "fooled", "broken"))
    if not entry:
        return (one_line(name, 60), "not run", *[""] * (len(HEAD) - 2))
    own = name.partition("/")[0] == TARGET
    time = entry.get("seconds")
    return (
        one_line(name, 60),
        count(tried),
        "-" if own else count(fooled),
        "-" if own else percent(broken, fooled),
        count(broken),
        count(_whole(entry, "forward")),
        count(_whole(entry, "backward")),
        seconds(float(time)) if isinstance(time, (int, float)) else NOT_KNOWN,
    )


def _attacks(books: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name.partition("/")[2] for name in books))


def _share(entry: Mapping[str, Any] | None) -> float | None:
    """Rows broken first over rows tried; None where none was tried."""
    if not entry or not _whole(entry, "tried"):
        return None
    return min(_whole(entry, "broken") / _whole(entry, "tried"), 1.0)


def _words(value: float | None) -> str:
    return "" if value is None else percent_of(value)


def _matrix(
    books: Mapping[str, Mapping[str, Any]], models: list[str]
) -> tuple[tuple[str, ...], ...]:
    head = ("attack", *(one_line(model, 40) for model in models))
    rows = [head]
    for attack in _attacks(books):
        shares = [_share(books.get(f"{model}/{attack}")) for model in models]
        rows.append((one_line(attack, 40), *map(_words, shares)))
    return tuple(rows)


def _heat(books: Mapping[str, Mapping[str, Any]], models: list[str]) -> HeatMap:
    attacks, wide = _attacks(books), (WIDTH - _LEFT - _RIGHT) / len(models)
    cells = []
    for i, attack in enumerate(attacks):
        for j, model in enumerate(models):
            entry = books.get(f"{model}/{attack}")
            at = (round(_LEFT + j * wide + 1, 2), _TOP + i * _LINE + 1.0)
            cells.append(_cell(at, wide - 2, f"{model}/{attack}", entry))
    letters = max(int(wide / 7), 2)
    shown = [one_line(model, letters) for model in models]
    return HeatMap(
        MATRIX_TITLE,
        f"{MATRIX_TITLE}: {things(len(attacks), 'attack')} by {things(len(models), 'model')}. The "
        "numbers stand in the table above.",
        _TOP + len(attacks) * _LINE + 4,
        tuple(
            Mark(_LEFT - 8, _TOP + i * _LINE + _LINE / 2 + 4, one_line(attack, 18))
            for i, attack in enumerate(attacks)
        ),
        tuple(
            Mark(round(_LEFT + (j + 0.5) * wide, 2), _TOP - 8, name)
            for j, name in enumerate(shown)
        ),
        tuple(cells),
    )


def _cell(
    at: tuple[float, float], wide: float, name: str, entry: Mapping[str, Any] | None
) -> Cell:
    value = _share(entry)
    if value is None or entry is None:
        said, opacity = "not tried", 0.0
    else:
        broken, tried = _whole(entry, "broken"), _whole(entry, "tried")
        said = f"{count(broken)} of {count(tried)} tried rows broken first"
        opacity = 0.0 if not value else round(0.12 + 0.5 * value, 3)
    return Cell(
        *at,
        round(wide, 2),
        _LINE - 2,
        opacity,
        _words(value),
        f"{one_line(name, 80)}: {said}",
    )
