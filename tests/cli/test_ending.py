"""Does the exit of `evaluate` say what nobody may overlook?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SHED = """

class Touchy(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.calls = build(), 0

    def forward(self, images):
        self.calls += len(images) == 10
        if self.calls == 2:
            self.calls += 1
            raise KeyError("poisoned row")
        return self.net(images)

class Loud(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = build()

    def forward(self, images):
        return 1e6 * self.net(images)

def touchy():
    return Touchy()

def loud():
    return Loud()
"""


@pytest.fixture
def shed(workshop: Path) -> Path:
    with open(workshop / "shed.py", "a", encoding="utf-8") as handle:
        handle.write(SHED)
    return workshop


def test_a_model_that_raises_on_a_batch_ends_with_2_beside_its_report(
    run: Any, shed: Path
) -> None:
    line = "evaluate --model shed:touchy --data digits --n 30 --eps 0.05 --attacks FGSM"
    found = run(*line.split(), "--batch-size", 10, "--out", shed / "out", "--json")
    assert found.code == 2
    assert "model_raised: the model raised KeyError" in found.err
    report = json.loads(found.out)
    assert [stage["error"] for stage in report["stages"]] == [None] * 3
    assert (shed / "out" / "report.html").is_file()


def test_an_attack_without_gradient_is_said_on_stderr(run: Any, shed: Path) -> None:
    line = "evaluate --model shed:loud --data digits --n 200 --eps 0.01 --attacks FGSM"
    found = run(*line.split())
    assert found.code == 0
    assert "zero_gradient: FGSM moved" in found.err and "zero_gradient" in found.out
