"""Are names that are HTML or Markdown only names on a job's page?"""

from __future__ import annotations

from typing import Any

import pytest

from torchattacks_ext.evaluation.runs import compare_runs, gate, runs_table
from torchattacks_ext.reports.monitor import render_alert
from torchattacks_ext.reports.overview.tabulated import render_latex
from torchattacks_ext.reports.runs import render_compared, render_gate, render_runs
from torchattacks_ext.reports.runs.tables import tex
from torchattacks_ext.results.base.facts import Flag
from torchattacks_ext.results.monitor import Alert

EVIL = "<img src=x onerror=alert(1)>\n\\input{a} [x](javascript:y) | `z`"


def page(kind: str, fake: Any) -> str:
    old, new = fake().full(EVIL), fake(200, 180).full("second " + EVIL)
    if kind == "gate":
        rule = {"metric": "clean_accuracy", "stage": EVIL, "fail": 0.5}
        return render_gate(gate(old, {"rules": [rule]}), markdown=True)
    if kind == "compared":
        return render_compared(compare_runs(old, new), True)
    if kind == "table":
        return render_runs(runs_table([old, new]), "markdown")
    facts: dict[str, Any] = {"kind": "batch", "alarm": False, "n": 9}
    facts |= {"significance": 0.01, "n_reference": 1, "guarantee": "rare"}
    return render_alert(Alert(**facts, flags=(Flag("odd", EVIL),)), markdown=True)


@pytest.mark.parametrize("kind", ["gate", "compared", "table", "alert"])
def test_names_of_html_are_text_in_markdown(kind: str, fake: Any) -> None:
    text = page(kind, fake)
    assert "&lt;img" in text and "<img" not in text
    assert "\\[x\\](" in text and "\\`z\\`" in text


def test_notes_of_a_page_do_not_run_together(fake: Any) -> None:
    notes = page("gate", fake).split("\n\n")[-1].splitlines()
    assert notes and all(line.startswith("- ") for line in notes)


def test_what_a_table_may_not_say_goes_into_the_paper_too(fake: Any) -> None:
    one = fake(100, 80)
    table = runs_table([fake().full("a"), one.report(one.clean(), name="b")])
    assert table.cautions
    text = render_runs(table, "latex")
    assert all(f"% {tex(said)}" in text for said in table.cautions)


def test_intervals_that_are_not_exact_are_not_called_exact(fake: Any) -> None:
    assert "exact" not in render_latex(fake().full()).splitlines()[0]


def test_an_interval_is_the_same_in_a_report_and_in_a_table_of_runs(fake: Any) -> None:
    """Rounded outwards in both: 45 of 50 is [78.1, 96.7] %, not [78.2, 96.7]."""
    one = fake(50, 45)
    report = one.report(one.clean(), name="a")
    assert "[78.1, 96.7]" in render_latex(report)
    assert "90.0 [78.1, 96.7]" in render_runs(runs_table([report]))
    most = fake(5000, 4999)
    table = runs_table([most.report(most.clean(), name="b")])
    assert "> 99.9 [" in render_runs(table)


def test_a_bound_below_its_limit_is_not_told_as_equal(fake: Any) -> None:
    one = fake(50, 45)
    report = one.report(one.clean(), name="a")
    rule = {"metric": "clean_accuracy", "stage": "clean", "fail": 0.8012}
    found = gate(report, {"rules": [rule]})
    assert found.code == 1 and 0.80115 < found.outcomes[0].lower < 0.8012
    assert "lower bound 0.8011 at 95% is below 0.8012" in found.outcomes[0].message


def test_no_run_is_called_worst_among_equal_ones(fake: Any) -> None:
    named = {"a": 40, "b": 45, "c": 40}
    made = [
        fake(50, right).report(fake(50, right).clean(), name=name)
        for name, right in named.items()
    ]
    assert runs_table(made).worst[0] == "a, c"
    assert runs_table(made[::2]).worst[0] == "all alike"
    assert runs_table(made[:1]).worst[0] == "a"
