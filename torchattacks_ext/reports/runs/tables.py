"""How does a table of many runs look in a terminal, a page, a paper, a spreadsheet?"""

from __future__ import annotations

import csv
import io
import math
from typing import Literal, get_args

from ...errors import ConfigError
from ...evaluation.runs.table import Cell, RunsTable, Spread
from ..words import interval, number, one_line, percent
from .told import plain_list, plain_table

Form = Literal["text", "markdown", "latex", "csv"]
_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def render_runs(found: RunsTable, form: Form = "text") -> str:
    """Models by metrics. form: "text", "markdown", "latex" (booktabs), "csv" (a line a cell).

    Raises ConfigError for another form.
    """
    if form not in get_args(Form):
        raise ConfigError(f"form={form!r} is not one of {get_args(Form)}")
    if form == "csv":
        return _csv(found)
    head = ["model", *(one_line(stage) for stage, _ in found.columns)]
    rows = [
        [one_line(name, 60), *(_words(cell) for cell in row)]
        for name, row in zip(found.names, found.cells)
    ]
    rows += [
        [f"{one_line(group, 50)} (seeds)", *(_seeds(one) for one in spreads)]
        for group, spreads in found.spreads.items()
    ]
    rows.append(["worst", *(one_line(name, 60) for name in found.worst)])
    if form == "latex":
        return _latex(head, rows, found)
    page = form == "markdown"
    notes = [
        f"Spearman {one_line(a)} / {one_line(b)}: {number(value)} over {n} runs, mean difference "
        f"{100 * drop:+.1f} points"
        for a, b, value, n, drop in found.ranks
        if not math.isnan(value)  # fewer than three runs, or equal ones
    ]
    notes += [one_line(text, 200) for text in found.cautions]
    table = plain_table(head, rows, page)
    return "\n".join([*table, "", *plain_list(notes, page)]).rstrip()


def _words(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    ends = interval((cell.low, cell.high)).removesuffix(" %")
    return f"{percent(cell.k, cell.n).removesuffix(' %')} {ends}"


def _seeds(one: Spread | None) -> str:
    if one is None:
        return "-"
    if one.runs < 2:
        return f"{100 * one.mean:.1f} (one seed)"
    ends = f"[{100 * one.low:.1f}, {100 * one.high:.1f}]"
    return f"{100 * one.mean:.1f} sd {100 * one.sd:.1f} {ends}"


def _latex(head: list[str], rows: list[list[str]], found: RunsTable) -> str:
    lines = [" & ".join(map(tex, row)) + r" \\" for row in (head, *rows)]
    body = [lines[0], r"\midrule", *lines[1 : len(found.names) + 1], r"\midrule"]
    told = (
        f"% percent of the images, exact {found.confidence:.0%} intervals; needs "
        r"\usepackage{booktabs}"
    )
    return "\n".join(
        [
            told,
            rf"\begin{{tabular}}{{l{'r' * len(found.columns)}}}",
            r"\toprule",
            *body,
            *lines[len(found.names) + 1 :],
            r"\bottomrule",
            r"\end{tabular}",
            *(f"% {tex(one_line(text, 200))}" for text in found.cautions),
        ]
    )


def tex(text: str) -> str:
    r"""Text as LaTeX prints it.

    >>> tex("a_b & 5%")
    'a\\_b \\& 5\\%'
    """
    return "".join(_TEX.get(sign, sign) for sign in text)


def _csv(found: RunsTable) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["model", "stage", "metric", "right", "n", "share", "low", "high"])
    for name, row in zip(found.names, found.cells):
        for (stage, metric), cell in zip(found.columns, row):
            if cell is not None:
                numbers = (cell.k, cell.n, cell.share, cell.low, cell.high)
                names = safe(one_line(name)), safe(one_line(stage))
                writer.writerow([*names, metric, *numbers])
    return out.getvalue()


def safe(text: str) -> str:
    """A name that no spreadsheet takes for a formula.

    >>> safe("=1+1"), safe("")
    ("'=1+1", '')
    """
    return f"'{text}" if text and text[0] in "=+-@\t\r" else text
