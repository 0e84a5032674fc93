"""How do failed rules reach a code-scanning view? SARIF 2.1.0, a result for each that fails."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from ..._version import __version__
from ...evaluation.runs.gate import GateResult, Outcome

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {"warn": "warning", "fail": "error", "error": "error", "pass": "none"}


def render_sarif(found: GateResult, artifact: str = "report.json") -> str:
    """The gate as a SARIF log: rules, and a result for each that did not pass.

    artifact: path of the report, relative to the root of the repository, where a viewer puts the
    results. A gate that could not be judged is an execution that was not successful, so that an
    empty list of results is not taken for a pass.

    >>> json.loads(render_sarif(GateResult("net", (), ())))["version"]
    '2.1.0'
    """
    names = list(dict.fromkeys(one.rule for one in found.outcomes))
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "torchattacks-ext",
                "version": __version__,
                "rules": [_rule(name) for name in names],
            }
        },
        "invocations": [
            {
                "executionSuccessful": found.state != "error",
                "exitCode": found.code,
                "toolExecutionNotifications": [
                    {"level": "error", "message": {"text": f"{stage}: {why}"}}
                    for stage, why in found.not_run
                ],
            }
        ],
        "results": [
            _result(one, names.index(one.rule), artifact)
            for one in found.outcomes
            if one.state != "pass"
        ],
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, allow_nan=False) + "\n"


def _rule(name: str) -> dict[str, Any]:
    return {"id": name, "shortDescription": {"text": name}}


def _result(one: Outcome, index: int, artifact: str) -> dict[str, Any]:
    return {
        "ruleId": one.rule,
        "ruleIndex": index,
        "level": LEVELS[one.state],
        "message": {"text": one.message},
        # a viewer matches alerts of two runs by these, so they must not change with the numbers
        "partialFingerprints": {"rule/v1": one.rule},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(artifact)},
                    "region": {"startLine": 1, "endLine": 1},
                }
            },
        ],
    }
