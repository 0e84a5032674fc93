"""Does a crossing end the command line with 2, both sides named, and what was measured stay?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ASSUMED = """

def assumed():
    from torchattacks_ext.certify import LipschitzBound

    model = certifier()
    model.lipschitz = LipschitzBound.assume(0.01)
    return model
"""
LINE = ["--data", "digits", "--n", "40", "--eps", "2", "--norm", "L2", "--certified"]


@pytest.fixture
def shed(workshop: Path) -> Path:
    with open(workshop / "shed.py", "a", encoding="utf-8") as handle:
        handle.write(ASSUMED)
    return workshop


def test_a_broken_certificate_ends_evaluate_with_2_and_keeps_the_report(
    run: Any, shed: Path
) -> None:
    asked = ["--attacks", "DeepFool", "--out", shed / "out"]
    found = run("evaluate", "--model", "shed:assumed", *LINE, *asked)
    assert found.code == 2, found.err
    assert "broken_certificate" in found.err and "DeepFool changed" in found.err
    assert "that certified gives" in found.err
    report = json.loads((shed / "out" / "report.json").read_text(encoding="utf-8"))
    assert {stage["name"] for stage in report["stages"]} >= {"certified", "DeepFool"}
    crossed = run("bracket", shed / "out")
    assert crossed.code == 2 and crossed.out == ""
    assert "Ellips (conditional: L assumed)" in crossed.err
    assert "broken there by DeepFool" in crossed.err


def test_bracket_of_a_sound_run_and_of_a_planted_verdict(run: Any, shed: Path) -> None:
    asked = ["--attacks", "DeepFool", "--out", shed / "out"]
    assert run("evaluate", "--model", "shed:certifier", *LINE, *asked).code == 0
    sound = run("bracket", shed / "out")
    assert sound.code == 0 and "robust share in" in sound.out
    told = json.loads(run("bracket", shed / "out", "--json").out)
    assert told["at_least"] <= told["at_most"] and told["norm"] == "L2"
    csv = shed / "verdicts.csv"
    lines = [f"{i},robust,someone 1.0,1" for i in range(40)]
    csv.write_text("id,verdict,verifier,seconds\n" + "\n".join(lines))
    crossed = run("bracket", shed / "out", "--verdicts", csv)
    assert crossed.code == 2 and "by someone 1.0 (claimed" in crossed.err
    csv.write_text("id,verdict\n1,robsut\n")
    wrong = run("bracket", shed / "out", "--verdicts", csv)
    assert wrong.code == 2 and "line 2: verdict 'robsut'" in wrong.err
