"""How does another program read a report? JSON that comes back as the same report."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from ..errors import InputError
from ..results.base import codec
from ..results.evaluation import EvaluationReport
from .overview.comparison import Reports, as_reports
from .overview.summary import plain_summary

LIST_SCHEMA = "evaluation_list/1"


def render_json(reports: Reports, *, confidence: float = 0.95) -> str:
    """JSON text; non-finite numbers are the strings "nan", "inf", "-inf".

    One EvaluationReport: its own dict (``EvaluationReport.from_json`` reads it back)
    with the keys "summary" (numbers with intervals, confidence in (0, 1)), "classes" and
    "groups" (counts and intervals of each) and "plain_summary" (sentences) on top. A
    sequence: {"schema": "evaluation_list/1", "reports": [...]}, each entry as above.

    >>> report = EvaluationReport("net", {}, {}, {"n": 0}, stages=())
    >>> EvaluationReport.from_json(render_json(report)).name
    'net'
    """
    found = [_entry(report, confidence) for report in as_reports(reports)]
    single = isinstance(reports, EvaluationReport)
    data = found[0] if single else {"schema": LIST_SCHEMA, "reports": found}
    return json.dumps(data, allow_nan=False, indent=1)


def _entry(report: EvaluationReport, confidence: float) -> dict[str, Any]:
    return {
        **report.to_dict(),
        "summary": codec.plain(_summary(report, confidence)),
        **_parts(report, confidence),
        "plain_summary": plain_summary(report),
    }


def _summary(report: EvaluationReport, confidence: float) -> dict[str, Any]:
    try:
        return report.summary(confidence)
    except InputError as error:  # stages with rows of other images: no worst case
        return {"error": str(error)}


def _parts(report: EvaluationReport, confidence: float) -> dict[str, Any]:
    """Classes and groups, where there are any and their worst case is known."""
    try:
        found = {
            "classes": report.classes(confidence),
            "groups": report.groups(confidence),
        }
    except InputError:
        return {}
    return {
        name: [codec.plain(asdict(part)) for part in parts]
        for name, parts in found.items()
        if parts
    }
