"""What do several tables of certificates say beside each other? A table, and two pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ...results.base.facts import Cost
from ...results.certificates import GRID, Certificates
from ...results.evaluation import EvaluationReport
from ..stages import usable
from ..told import Section
from ..words import confidence_text, interval, percent_of, radius
from .entries import MOST, Entry, entries_of, short_time
from .lines import certified_costs, certified_lines
from .words import REPRODUCTION, WORTH

TITLE = "Certificates side by side"


def certified_side(
    tables: Mapping[str, Certificates],
    *,
    radii: Sequence[float] | None = None,
    costs: Mapping[str, Cost] | None = None,
    confidence: float = 0.95,
) -> Section:
    """Status, certified accuracy at some radii, row-passes and seconds of each table, with figures.

    tables: name -> certificates with labels, of one norm; the best may be of the same images.
    radii: those of the columns; None takes the usual ones of the norm, and those of tables with a
    single one. costs: name -> cost of the whole table; None takes what the tables say. Tables stand
    in the order of their status, and no number joins two of them.

    Raises InputError for no tables, empty or unlabelled ones; StatusError for different norms;
    ConfigError for a confidence outside (0, 1).

    >>> from torchattacks_ext.certify import foreign_certificates
    >>> table = foreign_certificates([1, 2], [0.3, 0.1], [1, 0], norm="L2", verifier="somebody")
    >>> certified_side({"theirs": table}, radii=[0.2]).rows[1]
    ('A theirs', 'claimed by another tool', 'n/a', 'n/a', '100.0 %', '50.0 % [1.2, 98.8] %')
    """
    entries = entries_of(tables, costs)
    at = _columns(entries) if radii is None else sorted(set(map(float, radii)))
    norm = entries[0].table.norm
    head = ["Name", "Status", "Row-passes", "Time", "Right"]
    head += [f"Beyond {radius(eps)}" for eps in at]
    rows = [tuple(head)]
    rows += [_row(one, at, confidence) for one in entries]
    figures = certified_lines(entries, confidence=confidence) + certified_costs(entries)
    level = confidence_text(confidence)
    return Section(
        TITLE,
        tuple(rows),
        "ll" + "r" * (len(at) + 3),
        _notes(entries),
        figures,
        f"Right and certified beyond radii in {norm}, with exact {level} intervals; forward "
        "row-passes and time of one image.",
    )


def sides_told(report: EvaluationReport, confidence: float = 0.95) -> list[Section]:
    """The section of a report with two stages of labelled certificates or more.

    >>> sides_told(EvaluationReport("net", {}, {}, {"n": 0}, stages=()))
    []
    """
    found, costs = {}, {}
    for stage in report.stages:
        table = stage.result
        if not usable(stage) or not isinstance(table, Certificates) or not len(table):
            continue
        if bool((table.reference[table.answered] < 0).any()):
            continue
        if bool(table.answered.any()):
            found[stage.name], costs[stage.name] = table, stage.cost
    norms = {table.norm for table in found.values()}
    if not 2 <= len(found) <= MOST or len(norms) > 1:
        return []
    return [certified_side(found, costs=costs, confidence=confidence)]


def _columns(entries: Sequence[Entry]) -> list[float]:
    only = {e.table.fixed_radius for e in entries if e.table.fixed_radius is not None}
    return sorted({*GRID[entries[0].table.norm], *only})


def _row(one: Entry, at: Sequence[float], confidence: float) -> tuple[str, ...]:
    points = [one.at(eps, confidence) for eps in at]
    cells = [
        (
            "not asked"
            if p is None
            else f"{percent_of(p.value)} {interval((p.low, p.high))}"
        )
        for p in points
    ]
    known = math.isfinite(one.forward)
    passes = f"{one.forward:,.0f}" if one.forward >= 10 else f"{one.forward:.3g}"
    price = (passes, short_time(one.seconds)) if known else ("n/a", "n/a")
    right = percent_of(one.table.clean_accuracy)
    return (f"{one.letter} {one.name}", one.tier, *price, right, *cells)


def _notes(entries: Sequence[Entry]) -> tuple[str, ...]:
    tiers = dict.fromkeys(one.tier for one in entries)
    worth = [f"{tier}: {WORTH.get(tier, WORTH[REPRODUCTION])}." for tier in tiers]
    sizes = {len(one.table) for one in entries}
    more = (
        () if len(sizes) == 1 else ("The tables are of different numbers of images.",)
    )
    return (
        *worth,
        "Right: of the images that were reached; a certifier that abstains is not right.",
        *more,
    )
