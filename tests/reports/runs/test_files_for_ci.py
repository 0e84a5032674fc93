"""Do viewers read what a gate writes? SARIF by Microsoft's validator, JUnit by junitparser."""

from __future__ import annotations

import json
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torchattacks_ext.evaluation.runs.gate import GateResult, Outcome
from torchattacks_ext.reports.runs import render_junit, render_sarif

TOOL = "@microsoft/sarif-multitool"
VERSION = "5.7.0"
ODD = 'a "name" <with> & signs, é, \x00 and\nlines'
LEVELS = {"none", "note", "warning", "error"}
JUNIT_10 = {
    "testsuites": {"name", "time", "tests", "failures", "errors"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped"},
    "testcase": {"name", "classname", "time", "group"},
}
"""Attributes that the schema junit-10 of Jenkins allows, of those that a gate may need."""


def gates() -> dict[str, GateResult]:
    rules = (
        Outcome("clean_accuracy of clean", "pass", "fine", 0.9, 0.88, 0.5, 100),
        Outcome(
            "attacked_accuracy of PGD", "warn", "near the edge", 0.5, 0.4, 0.41, 100
        ),
        Outcome(ODD, "fail", f"below: {ODD}", 0.5, 0.4, 0.45, 100),
        Outcome("attacked_accuracy of CW", "error", "stage 'CW' has no result"),
    )
    whole = GateResult(ODD, rules, (("CW", "it raised <this>"), ("b", "not run")))
    return {
        "whole": whole,
        "passed": GateResult("net", rules[:1], ()),
        "empty": GateResult("net", (), ()),
    }


# ------------------------------------------------------------------ SARIF
@pytest.fixture(scope="module")
def validate(tmp_path_factory: Any) -> Callable[[str], list[tuple[str, str]]]:
    """The rules of the validator that a log breaks, each with its level."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(
                f"{program} is not installed, which the validator of SARIF needs"
            )
    place = tmp_path_factory.mktemp("npm")
    packages = [f"{TOOL}@{VERSION}", f"{TOOL}-linux@{VERSION}"]
    install = ["npm", "install", "--no-audit", "--no-fund", *packages]
    done = subprocess.run(
        install, cwd=place, capture_output=True, text=True, timeout=300
    )
    found = place / "node_modules" / f"{TOOL}-linux" / "Sarif.Multitool"
    if done.returncode or not found.is_file():
        said = (done.stderr.strip().splitlines() or ["no words"])[-1]
        pytest.skip(f"npm cannot install {TOOL} {VERSION}: {said}")
    found.chmod(0o755)

    def run(text: str) -> list[tuple[str, str]]:
        (place / "log.sarif").write_text(text, encoding="utf-8")
        out = place / "found.json"
        out.unlink(missing_ok=True)
        command = [str(found), "validate", "log.sarif", "--output", str(out)]
        subprocess.run(command, cwd=place, check=True, capture_output=True, timeout=120)
        results = json.loads(out.read_text(encoding="utf-8-sig"))["runs"][0]["results"]
        return [(one["ruleId"], one.get("level", "warning")) for one in results]

    return run


@pytest.mark.slow
@pytest.mark.parametrize("name", ["whole", "passed", "empty"])
def test_sarif_is_valid(validate: Any, name: str) -> None:
    found = validate(render_sarif(gates()[name], "runs/a b/report.json"))
    # SARIF2005: the tool has no address of its own
    assert [one for one in found if one[0] != "SARIF2005"] == []


@pytest.mark.slow
def test_the_validator_sees_what_is_wrong(validate: Any) -> None:
    """It exits with 0 whatever it finds, so that its findings must be read."""
    log = json.loads(render_sarif(gates()["whole"]))
    log["runs"][0]["results"][0].pop("message")
    assert ("JSON1002", "error") in validate(json.dumps(log))
    log = json.loads(render_sarif(gates()["whole"]))
    log["runs"][0]["results"][0]["ruleIndex"] = 99
    assert ("SARIF1009", "error") in validate(json.dumps(log))


def test_sarif_has_known_levels_and_stable_fingerprints() -> None:
    """An unknown level makes the validator silent, so levels are checked here."""
    log = json.loads(render_sarif(gates()["whole"], "a b/report.json"))["runs"][0]
    assert [one["level"] for one in log["results"]] == ["warning", "error", "error"]
    assert {one["level"] for one in log["results"]} <= LEVELS
    notes = log["invocations"][0]["toolExecutionNotifications"]
    assert [one["level"] for one in notes] == ["error", "error"]
    for one in log["results"]:
        assert one["partialFingerprints"] == {"rule/v1": one["ruleId"]}
        place = one["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "a%20b/report.json"
        rule = log["tool"]["driver"]["rules"][one["ruleIndex"]]
        assert rule["id"] == one["ruleId"]


# ------------------------------------------------------------------ JUnit
def test_junit_is_read_back_as_it_was_written() -> None:
    junitparser = pytest.importorskip("junitparser")
    for found in gates().values():
        (suite,) = list(junitparser.JUnitXml.fromstring(render_junit(found).encode()))
        states = [one.state for one in found.outcomes]
        counts = suite.tests, suite.failures, suite.errors, suite.skipped
        skipped = len(found.not_run)
        wanted = len(states) + skipped, states.count("fail"), states.count("error")
        assert counts == (*wanted, skipped)
        suite.update_statistics()
        assert (suite.tests, suite.failures, suite.errors, suite.skipped) == counts
        cases = list(suite)
        names = [one.rule for one in found.outcomes] + [s for s, _ in found.not_run]
        names = [name.replace("\x00", "?") for name in names]
        assert [" ".join(c.name.split()) for c in cases] == [
            " ".join(name.split()) for name in names
        ]
        for case, one in zip(cases, found.outcomes):
            told = {type(r).__name__: r.message for r in case.result}
            kind = {"fail": "Failure", "error": "Error"}.get(one.state)
            message = " ".join(one.message.replace("\x00", "?").split())
            said = {k: " ".join(v.split()) for k, v in told.items()}
            assert said == ({} if kind is None else {kind: message})
            output = case.system_out or ""
            assert ("near the edge" in output) == (one.state == "warn")
        for case, (_, why) in zip(cases[len(found.outcomes) :], found.not_run):
            (only,) = case.result
            assert (type(only).__name__, only.message) == ("Skipped", why)


def test_junit_has_no_attribute_and_no_order_that_jenkins_refuses() -> None:
    order = ["skipped", "error", "failure", "system-out"]
    for found in gates().values():
        root = ET.fromstring(render_junit(found).split("\n", 1)[1])
        for element in root.iter():
            allowed = JUNIT_10.get(element.tag)
            assert allowed is None or set(element.attrib) <= allowed, element.tag
            if element.tag == "testcase":
                places = [order.index(child.tag) for child in element]
                assert places == sorted(places)
        suites = root.findall("testsuite")
        assert len(suites) == 1 and "name" in suites[0].attrib


def test_the_files_are_written_whole(tmp_path: Path) -> None:
    """Lines of a name survive in neither format as lines of the file's structure."""
    for text in (render_junit(gates()["whole"]), render_sarif(gates()["whole"])):
        assert "\x00" not in text
        path = tmp_path / "file"
        path.write_text(text, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == text
