"""Does JSON come back as the same report?"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from torchattacks_ext.reports import plain_summary, render_json
from torchattacks_ext.results.evaluation import EvaluationReport


def strict(text: str) -> Any:
    """Parse, refusing NaN and Infinity, which JSON does not have."""

    def refuse(word: str) -> None:
        pytest.fail(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_one_report_comes_back(fake: Any) -> None:
    report = fake().full()
    text = render_json(report)
    assert EvaluationReport.from_json(text).to_dict() == report.to_dict()
    data = strict(text)
    assert data["plain_summary"] == plain_summary(report)
    assert data["summary"]["PGD"]["robust_accuracy"] == 0.4
    assert data["summary"]["CW"] == {"error": "BackendError: out of memory"}


def test_several_reports_come_back(fake: Any) -> None:
    reports = [fake().full("a"), fake(0, 0).report(fake(0, 0).clean(), name="b")]
    data = strict(render_json(reports))
    assert data["schema"] == "evaluation_list/1"
    back = [EvaluationReport.from_dict(entry) for entry in data["reports"]]
    assert [report.name for report in back] == ["a", "b"]
    assert data["reports"][1]["summary"]["clean"]["clean_accuracy"] == "nan"


def test_confidence_reaches_the_summary(fake: Any) -> None:
    data = strict(render_json(fake().full(), confidence=0.5))
    assert data["summary"]["worst_case"]["confidence"] == 0.5


def test_stages_of_other_images_do_not_stop_the_writing(fake: Any) -> None:
    made = fake()
    stage = made.attack()
    other = replace(stage, result=replace(stage.result, ids=stage.result.ids + 1))
    data = strict(render_json(made.report(made.clean(), other)))
    assert "ids" in data["summary"]["error"]
