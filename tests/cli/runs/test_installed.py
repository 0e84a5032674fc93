"""Do the installed commands end with the exit codes that scripts trust? Each in its own process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from torchattacks_ext import evaluate
from torchattacks_ext.reports import render_json
from torchattacks_ext.testing.props import balanced_net, example_images

ROOT = Path(__file__).resolve().parents[3]
CODE = "from torchattacks_ext.cli.main import run; run()"


def command(*args: str) -> subprocess.CompletedProcess[str]:
    """The console script's own function, as setup.cfg names it."""
    line = [sys.executable, "-c", CODE, *args]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_the_console_script_is_what_is_run_here() -> None:
    text = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    assert "torchattacks-ext = torchattacks_ext.cli.main:run" in text


@pytest.fixture(scope="module")
def runs(tmp_path_factory: Any) -> dict[str, str]:
    """Folders: a run, one that is worse on most images, one whose attack raised."""
    place: Path = tmp_path_factory.mktemp("runs")
    net, images = balanced_net(), example_images(40)
    labels = net(images).argmax(1)
    worse = balanced_net()
    with torch.no_grad():
        list(worse.parameters())[-1].copy_(torch.linspace(-9, 9, 5))
    plan = {"eps": "4/255", "stages": ["FGSM"]}
    found = {
        name: evaluate(model, (images, labels), plan, name=name)
        for name, model in (("old", net), ("worse", worse))
    }
    stages = found["old"].stages
    failed = replace(stages[1], result=None, error="it raised")
    found["failed"] = replace(found["old"], stages=(stages[0], failed))
    for name, report in found.items():
        (place / name).mkdir()
        (place / name / "report.json").write_text(render_json(report))
    policy = place / "policy.yaml"
    policy.write_text("rules: [{metric: attacked_accuracy, stage: FGSM, fail: 0.1}]")
    return {name: str(place / name) for name in [*found, "policy.yaml"]}


Lines = Callable[[dict[str, str]], list[str]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "code"),
    [
        (lambda r: ["compare", r["old"], r["old"]], 0),
        (lambda r: ["compare", r["old"], r["worse"]], 1),
        (lambda r: ["compare", r["old"], "nowhere"], 2),
        (lambda r: ["gate", r["old"], "--policy", r["policy.yaml"]], 0),
        (lambda r: ["gate", r["worse"], "--policy", r["policy.yaml"]], 1),
        (lambda r: ["gate", r["failed"], "--policy", r["policy.yaml"]], 2),
        (lambda r: ["report", r["old"], "--form", "rmf"], 0),
        (lambda r: ["report", r["failed"]], 1),
        (lambda r: ["report", "nowhere"], 2),
        (lambda r: ["card", "nowhere", "-o", "README.md.part"], 2),
    ],
    ids=[
        f"{name}-{code}" for name in ("compare", "gate", "report") for code in range(3)
    ]
    + ["card-2"],
)
def test_exit_codes(runs: dict[str, str], line: Lines, code: int) -> None:
    done = command(*line(runs))
    assert done.returncode == code, done.stderr
    if code == 2 and line(runs)[0] != "gate":
        assert done.stdout == "" and done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_card_ends_as_its_run_did(runs: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    for name, code in (("old", 0), ("failed", 1)):
        out = tmp_path / name / "README.md"
        out.parent.mkdir()
        done = command("card", runs[name], "-o", str(out))
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert out.read_text(encoding="utf-8").startswith("---\n")
