"""Does `audit` hold our radii and a verifier's verdicts against attacks, and end with 2?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

MORE = """

def assumed():
    from torchattacks_ext.certify import LipschitzBound

    model = certifier()
    model.lipschitz = LipschitzBound.assume(0.01)
    return model
"""
LINE = ("--data", "digits", "--n", "8")


@pytest.fixture
def shed(workshop: Path) -> Path:
    with open(workshop / "shed.py", "a", encoding="utf-8") as handle:
        handle.write(MORE)
    return workshop


def test_radii_of_an_ellips_hold_and_assumed_ones_do_not(run: Any, shed: Path) -> None:
    asked = ("audit", *LINE, "--attacks", "DeepFool", "--out", shed / "out", "--model")
    sound = run(*asked, "shed:certifier")
    assert sound.code == 0 and sound.out.startswith(
        "not contradicted: 8 certificates of Ellips"
    )
    assert json.loads((shed / "out" / "audit.json").read_text())["sound"] is True
    broken = run(*asked, "shed:assumed")
    assert broken.code == 2 and "BROKEN" in broken.out
    assert "certificates of Ellips (conditional: L assumed) are broken" in broken.err
    told = json.loads((shed / "out" / "audit.json").read_text())
    assert told["sound"] is False and told["flips"]


def test_verdicts_are_held_against_the_model(run: Any, shed: Path) -> None:
    csv = shed / "v.csv"
    csv.write_text("id,verdict,verifier,seconds\n0,unknown,v 1,1\n3,robust,v 1,1\n")
    asked = ["audit", *LINE, "--model", "shed:build", "--verdicts", csv]
    found = run(*asked, "--eps", "0.9", "--attacks", "PGD", "--json")
    told = json.loads(found.out)
    assert found.code == 2 and (told["n"], told["claim"]) == (1, "v 1")
    assert "certificates of v 1 (claimed by another tool) are broken" in found.err
    csv.write_text("id,verdict\n8,robust\n")
    missing = run(*asked, "--eps", "8/255")
    assert missing.code == 2 and "id '8', which is none of the 8" in missing.err


@pytest.mark.parametrize(
    "options, said",
    [
        ((), "--model is a Sequential, which has no radii"),
        (("--eps", "0.1"), "--verdicts and --eps belong together"),
        (("--sigma", "x"), "--sigma 'x' is not a finite number"),
        (("--sigma", "0.2", "--draws", "0"), "n=0 must be"),
        (("--sigma", "0.2", "--attacks", "PGD"), "are not among"),
    ],
)
def test_what_cannot_be_audited_is_one_line(
    run: Any, workshop: Path, options: tuple[str, ...], said: str
) -> None:
    found = run("audit", *LINE, "--model", "shed:build", *options)
    assert found.code == 2 and said in found.err and not found.out


def test_a_smoothed_classifier_is_audited(run: Any, workshop: Path) -> None:
    line = ("--sigma", "0.2", "--draws", "200", "--attacks", "PGDL2")
    found = run("audit", "--data", "digits", "--n", "2", "--model", "shed:build", *line)
    assert found.code == 0 and "about smoothed Sequential" in found.out
