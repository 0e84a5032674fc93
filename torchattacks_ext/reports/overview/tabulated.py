"""How does a scorecard go into a paper or a spreadsheet? LaTeX with booktabs, or CSV."""

from __future__ import annotations

import csv
import io

from ..runs.tables import safe, tex
from ..words import confidence_text, count, one_line
from .comparison import Reports, as_reports, model_names
from .scorecard import ScoreRow, scorecard

COLUMNS = (
    "model",
    "stage",
    "result",
    "share",
    "low",
    "high",
    "n",
    "guarantee",
    "forward",
    "backward",
    "seconds",
    "error",
)


def render_latex(reports: Reports, *, confidence: float = 0.95) -> str:
    """The scorecard of one report, or of several one below the other, as a booktabs table.

    confidence: of the intervals, in (0, 1).

    >>> from torchattacks_ext.results import EvaluationReport
    >>> report = EvaluationReport("net", {}, {}, {"n": 0}, stages=())
    >>> render_latex(report).splitlines()[1]
    '\\\\begin{tabular}{llrrl}'
    """
    found = as_reports(reports)
    head = ("Stage", "Result", "Interval", "n", "Worth")
    names = model_names(found)
    lines = [
        f"% {tex(', '.join(names))}: {confidence_text(confidence)} intervals; needs "
        r"\usepackage{booktabs}",
        r"\begin{tabular}{llrrl}",
        r"\toprule",
        _line(head),
    ]
    for name, report in zip(names, found):
        lines.append(r"\midrule")
        if len(found) > 1:
            lines.append(rf"\multicolumn{{5}}{{l}}{{{tex(name)}}} \\")
        lines += [_line(_cells(row)) for row in scorecard(report, confidence)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def render_csv(reports: Reports, *, confidence: float = 0.95) -> str:
    """The same as CSV, a line a stage; shares and their ends as fractions, empty for none.

    >>> from torchattacks_ext.results import EvaluationReport
    >>> report = EvaluationReport("net", {}, {}, {"n": 0}, stages=())
    >>> render_csv(report).splitlines()[1].split(",")[:3]
    ['net', 'worst case', 'not known']
    """
    found = as_reports(reports)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name, report in zip(model_names(found), found):
        for row in scorecard(report, confidence):
            cost = row.cost
            ends = row.estimate or ("", "", "")
            spent = (
                ("", "", "")
                if cost is None
                else (cost.forward, cost.backward, cost.seconds)
            )
            n = "" if row.n is None else row.n
            texts = safe(name), safe(row.stage), safe(row.value)
            error = safe(row.error or "")
            writer.writerow([*texts, *ends, n, row.guarantee, *spent, error])
    return out.getvalue()


def _cells(row: ScoreRow) -> tuple[str, ...]:
    n = "" if row.n is None else count(row.n)
    error = "" if row.error is None else f": {one_line(row.error, 60)}"
    return row.stage, row.value + error, row.interval, n, row.guarantee


def _line(cells: tuple[str, ...]) -> str:
    return " & ".join(map(tex, cells)) + r" \\"
