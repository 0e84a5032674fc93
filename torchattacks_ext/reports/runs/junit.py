"""How does a gate reach a test viewer? JUnit XML, one test case a rule."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from ...evaluation.runs.gate import GateResult

_ODD = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold."""


def render_junit(found: GateResult) -> str:
    """The gate as JUnit XML: failures are rules that failed, errors those that were not judged.

    Warnings pass, and stand in the case's output. Stages that did not run are skipped cases beside
    the errors that they caused. The elements of a case are in the order that Jenkins' schema
    (junit-10) wants: skipped, error, failure, system-out.

    >>> render_junit(GateResult("net", (), ())).splitlines()[0]
    "<?xml version='1.0' encoding='utf-8'?>"
    """
    states = [one.state for one in found.outcomes]
    counts = {
        "tests": str(len(states) + len(found.not_run)),
        "failures": str(states.count("fail")),
        "errors": str(states.count("error")),
        "skipped": str(len(found.not_run)),
    }
    whole = {key: value for key, value in counts.items() if key != "skipped"}
    root = ET.Element("testsuites", whole)  # junit-10 knows no skipped here
    suite = ET.SubElement(root, "testsuite", {"name": clean(found.name), **counts})
    for one in found.outcomes:
        case = ET.SubElement(
            suite, "testcase", {"classname": "gate", "name": clean(one.rule)}
        )
        if one.state in ("fail", "error"):
            kind = "failure" if one.state == "fail" else "error"
            told = ET.SubElement(
                case, kind, {"message": clean(one.message), "type": one.state}
            )
            told.text = clean(one.message)
        elif one.state == "warn":
            ET.SubElement(case, "system-out").text = clean(f"warning: {one.message}")
    for stage, why in found.not_run:
        case = ET.SubElement(
            suite, "testcase", {"classname": "stage", "name": clean(stage)}
        )
        ET.SubElement(case, "skipped", {"message": clean(why)})
    ET.indent(root)
    body = ET.tostring(root, encoding="unicode")
    return f"<?xml version='1.0' encoding='utf-8'?>\n{body}\n"


def clean(text: str) -> str:
    """Text without the signs that XML cannot hold.

    >>> clean("a\\x00b")
    'a?b'
    """
    return _ODD.sub("?", text)
