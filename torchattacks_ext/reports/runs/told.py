"""What is said of two runs, or of a gate? Lines for a terminal, or a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...evaluation.runs.gate import GateResult
from ...evaluation.runs.paired import PairedComparison
from ..words import escape, number, one_line, share

MARKS = {"pass": "pass", "warn": "WARN", "fail": "FAIL", "error": "ERROR"}


def render_compared(found: PairedComparison, markdown: bool = False) -> str:
    """A table of stages, what fell, and what was not compared.

    >>> print(render_compared(PairedComparison(("a", "b"), 0.05, (), ())).splitlines()[0])
    a -> b: no regression at 5% over 0 stages (exact McNemar, Holm)
    """
    old, new = (one_line(name, 60) for name in found.names)
    fell = ", ".join(one_line(line.stage) for line in found.regressions)
    said = f"REGRESSION in {fell}" if fell else "no regression"
    head = (
        f"{old} -> {new}: {said} at {found.significance:.0%} over {len(found.lines)} stages "
        "(exact McNemar, Holm)"
    )
    rows = [
        (
            one_line(line.stage),
            str(line.n),
            f"{share(round(line.old * line.n), line.n)}",
            f"{share(round(line.new * line.n), line.n)}",
            f"{line.lost}/{line.gained}",
            f"{line.drop:+.4f} [{line.interval[0]:+.4f}, {line.interval[1]:+.4f}]",
            number(line.adjusted),
            number(line.detectable),
        )
        for line in found.lines
    ]
    columns = (
        "stage",
        "images",
        old,
        new,
        "lost/gained",
        "drop",
        "p (Holm)",
        "smallest detectable",
    )
    head += "; NOT ALL WAS MEASURED" if found.missing else ""
    notes = [
        f"not measured: {one_line(name)} ({one_line(why, 120)})"
        for name, why in found.missing
    ]
    copies = max((line.copies for line in found.lines), default=0)
    if copies:
        notes.append(f"{copies} images are there again: counted at their worst")
    notes += [
        f"not compared: {one_line(name)} ({one_line(why, 120)})"
        for name, why in found.skipped
    ]
    table = plain_table(columns, rows, markdown)
    head = escape(head) if markdown else head
    return "\n".join([head, "", *table, "", *plain_list(notes, markdown)]).rstrip()


def render_gate(found: GateResult, markdown: bool = False) -> str:
    """One line a rule, and what did not run.

    >>> print(render_gate(GateResult("net", (), ())).splitlines()[0])
    net: ERROR (exit code 2)
    """
    name = one_line(found.name, 60)
    head = f"{name}: {MARKS[found.state]} (exit code {found.code})"
    rows = [
        (MARKS[one.state], one_line(one.rule, 80), one_line(one.message, 200))
        for one in found.outcomes
    ]
    notes = [
        f"did not run: {one_line(stage)} ({one_line(why, 120)})"
        for stage, why in found.not_run
    ]
    title = f"## {escape(head)}" if markdown else head
    table = plain_table(("state", "rule", "found"), rows, markdown)
    return "\n".join([title, "", *table, "", *plain_list(notes, markdown)]).rstrip()


def plain_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], markdown: bool
) -> list[str]:
    """Rows below a head: aligned text, or a Markdown table of escaped cells."""
    every = [list(head), *map(list, rows)]
    if markdown:
        lines = ["| " + " | ".join(map(escape, row)) + " |" for row in every]
        return [lines[0], "|" + " --- |" * len(head), *lines[1:]]
    widths = [max(len(row[i]) for row in every) for i in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
        for row in every
    ]


def plain_list(lines: Iterable[str], markdown: bool) -> list[str]:
    """Notes below a table; in Markdown, where bare lines would run together, one bullet each."""
    return [f"- {escape(line)}" if markdown else line for line in lines]
