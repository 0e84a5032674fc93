"""Tables for papers: do they compile, and are names no commands?"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from torchattacks_ext.evaluation.runs import runs_table
from torchattacks_ext.reports.overview.tabulated import render_csv, render_latex
from torchattacks_ext.reports.runs import render_runs
from torchattacks_ext.reports.runs.tables import safe

ODD = r"net_a & 5% #1 $x$ {b} ~ ^ \input{x} é … – “q”"
PAGE = r"""\documentclass{article}
\usepackage{booktabs}
\begin{document}
%s
\end{document}
"""


def compiles(text: str, place: Path) -> str:
    """What pdflatex says of a page; raises where it stops."""
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed (texlive-latex-recommended)")
    styles = subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True)
    if styles.returncode:
        pytest.skip("booktabs.sty is not installed (texlive-latex-recommended)")
    (place / "page.tex").write_text(PAGE % text, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=place, capture_output=True, timeout=120)
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said[-1500:]
    return said


@pytest.mark.slow
def test_tables_compile(fake: Any, tmp_path: Path) -> None:
    reports = [fake().full(ODD), fake(200, 180).full("second")]
    table = runs_table(reports, seeds={ODD: "seeds_&", "second": "seeds_&"})
    parts = [render_latex(reports), render_runs(table, "latex")]
    assert r"\input{x}" not in "".join(parts)
    said = compiles("\n\n".join(parts), tmp_path)
    assert "Output written on page.pdf (1 page" in said
    assert "Missing character" not in said and "Undefined" not in said


@pytest.mark.slow
def test_a_page_that_cannot_compile_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        compiles(r"\begin{tabular}{l} \toprul \end{tabular}", tmp_path)


def test_a_scorecard_has_one_line_a_stage(fake: Any) -> None:
    report = fake().full()
    lines = render_latex(report).splitlines()
    assert len(lines) == 4 + 1 + len(report.stages) + 1 + 2
    assert sum(line.endswith(r"\\") for line in lines) == len(report.stages) + 2
    assert all(line.count("&") == 4 for line in lines if line.endswith(r"\\"))
    assert "failed: BackendError" in "".join(lines)
    two = render_latex([report, fake().full("b")])
    assert two.count(r"\multicolumn") == 2


def test_a_spreadsheet_gets_numbers_and_no_formula(fake: Any) -> None:
    import csv

    rows = list(csv.DictReader(render_csv(fake().full("=1+1")).splitlines()))
    assert rows[0]["model"] == "'=1+1" and float(rows[0]["share"]) == 187 / 200
    failed = next(row for row in rows if row["stage"] == "CW")
    assert failed["share"] == "" and failed["error"].startswith("BackendError")
    assert rows[0]["error"] == "" and safe("") == ""


def test_correlations_that_are_not_known_are_not_told(fake: Any) -> None:
    two = [fake().full("a"), fake().full("b")]
    assert "Spearman" not in render_runs(runs_table(two))
    one = fake()
    three = [
        one.report(fake(200, right).clean(), one.attack("PGD", left), name=str(right))
        for right, left in ((180, 80), (170, 90), (160, 70))
    ]
    text = render_runs(runs_table(three))
    assert "Spearman clean / PGD: 0.5 over 3 runs, mean difference +45.0 points" in text
