"""The map to the AI RMF: official words, places that exist, and never a verdict."""

from __future__ import annotations

import json
import re
from typing import Any

from torchattacks_ext.reports import render_json
from torchattacks_ext.reports.published import (
    evidence_map,
    render_rmf,
    render_rmf_json,
)
from torchattacks_ext.reports.published.wording import SOURCE, WORDING


def resolve(place: str, document: Any) -> Any:
    """What a JSON pointer (RFC 6901) leads to; KeyError, IndexError where it leads nowhere."""
    for step in place.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        document = document[int(step) if isinstance(document, list) else step]
    return document


def test_every_place_exists_in_the_report(fake: Any) -> None:
    report = fake().full()
    document = json.loads(render_json(report))
    places = [p.place for one in evidence_map(report) for p in one.found]
    assert len(places) > 20
    for place in places:
        assert resolve(place, document) not in (None, "", [], {}), place


def test_a_report_has_no_more_than_it_has(fake: Any) -> None:
    states = {one.id: one.state for one in evidence_map(fake().full())}
    assert states["MEASURE 2.7"] == states["MEASURE 2.6"] == "partial"
    assert states["MEASURE 2.1"] == "partial", "a stage of it failed"
    never = ("2.2", "2.4", "2.8", "2.10")
    assert {states[f"MEASURE {name}"] for name in never} == {"absent"}
    assert states["MEASURE 2.11"] == states["MANAGE 4.1"] == "absent"
    one = fake()
    bare = {e.id: e for e in evidence_map(one.report(one.clean()))}
    assert bare["MEASURE 2.7"].state == "absent"
    assert bare["MEASURE 2.1"].state == "present"
    unnamed = one.report(one.clean(), data={"n": one.n}, provenance={})
    lacks = {e.id: e.lacks for e in evidence_map(unnamed)}["MEASURE 2.1"]
    assert len(lacks) == 2
    empty = evidence_map(one.report())
    assert {e.state for e in empty if e.id != "MEASURE 2.9"} == {"absent"}


def test_groups_are_evidence_of_their_own(fake: Any) -> None:
    from dataclasses import replace

    one = fake()
    clean = one.clean()
    groups = tuple("day" if i % 2 else "night" for i in range(one.n))
    grouped = replace(clean, result=replace(clean.result, groups=groups))
    report = one.report(grouped)
    found = {e.id: e for e in evidence_map(report)}["MEASURE 2.11"]
    assert found.state == "partial"
    assert resolve(found.found[0].place, json.loads(render_json(report)))


def test_the_pages_quote_and_do_not_judge(fake: Any) -> None:
    report = fake().full()
    page, data = render_rmf(report), json.loads(render_rmf_json(report))
    assert SOURCE in page and data["source"] == SOURCE and "AI 100-1" in SOURCE
    assert {e["id"]: e["wording"] for e in data["entries"]} == WORDING
    for wording in WORDING.values():
        assert wording in page and wording.endswith(".")
    assert {e["state"] for e in data["entries"]} <= {"present", "partial", "absent"}
    judging = re.compile(
        r"\b(pass|passes|passed|compl\w+|conform\w*|satisf\w+|met)\b", re.I
    )
    for text in (page, json.dumps(data)):
        assert judging.findall(text) == []


def test_a_stage_that_failed_is_no_measurement(fake: Any) -> None:
    from torchattacks_ext.results.evaluation import StageReport

    one = fake()
    failed = [
        StageReport(kind, kind, error="X: y") for kind in ("shift", "diagnostics")
    ]
    for report in (one.report(one.clean()), one.report(one.clean(), *failed)):
        lacks = {e.id: e.lacks for e in evidence_map(report)}
        assert "measurements on images of another source" in lacks["MEASURE 2.5"]
        assert any(
            "a diagnosis of the attacks" in said for said in lacks["MEASURE 2.13"]
        )
