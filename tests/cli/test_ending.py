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

class Best:
    def __init__(self, model, eps):
        self.model, self.eps = model, eps

    def __call__(self, images, labels):
        shown = images.clone().requires_grad_()
        loss = nn.functional.cross_entropy(self.model(shown), labels)
        loss.backward()
        return images + self.eps * shown.grad.sign()

def waves():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, bias=False))
    net[1].weight.data = torch.arange(640.0).view(10, 64).sin()
    return net

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


def test_an_attack_that_cannot_be_used_is_no_failure_and_a_class_of_ones_own_is_run(
    run: Any, shed: Path
) -> None:
    line = "evaluate --model shed:waves --data digits --n 60 --eps 0.5"
    found = run(*line.split(), "--attacks", "FGSM,TIFGSM,shed:Best", "--json")
    assert found.code == 0, found.err
    report = json.loads(found.out)
    stages = {stage["name"]: stage for stage in report["stages"]}
    assert stages["TIFGSM"]["not_applicable"].startswith("TIFGSM needs images")
    verdicts = [
        stages[name]["result"]["columns"]["verdict"] for name in ("FGSM", "shed:Best")
    ]
    assert verdicts[0] == verdicts[1] and "not_robust" in verdicts[0]
    worst = report["summary"]["worst_case"]
    assert worst["stages"][:2] == ["FGSM", "shed:Best"]
