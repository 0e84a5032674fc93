"""Do plan files name second sets, and is what is wrong with one said in one line?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchattacks_ext.results import Audited
from torchattacks_ext.results.evaluation import EvaluationReport

pytestmark = pytest.mark.usefixtures("workshop")
Run = Callable[..., Any]
BASE = ["evaluate", "--model", "shed:build", "--data", "digits", "--n", 12]


def archive(path: Path, n: int, side: int = 8) -> None:
    draw = np.random.default_rng(n)
    images = draw.integers(0, 256, (n, side, side), dtype=np.uint8)
    np.savez(path, images=images, labels=np.arange(n) % 10)


def plan(path: Path, *stages: str) -> Path:
    lines = "".join(f"  - {stage}\n" for stage in stages)
    path.write_text(f"eps: 0.1\nstages:\n{lines}", encoding="utf-8")
    return path


def test_a_plan_file_with_every_set(run: Run, workshop: Path) -> None:
    archive(workshop / "far.npz", 9)
    archive(workshop / "new.npz", 30)
    file = plan(
        workshop / "sets.yaml",
        "{name: ood, far: 'npz:far.npz', scores: [energy]}",
        "{name: shift, other: 'npz:new.npz', n: 20}",
        "{name: data-audit, train: digits, near: null}",
    )
    done = run(*BASE, "--plan", file, "--out", "out")
    assert done.code == 0
    report = EvaluationReport.from_json(workshop / "out" / "report.json")
    assert [s.name for s in report.stages] == ["clean", "ood", "shift", "data-audit"]
    assert report.plan["stages"][0]["far"] == "npz:far.npz"
    said = report["ood"].result.summary()["sets"]  # type: ignore[union-attr]
    assert {name: one["n"] for name, one in said.items()} == {"far": 9, "uniform": 12}
    assert report["shift"].result.summary()["other_n"] == 20  # type: ignore[union-attr]
    found = report["data-audit"].result
    assert isinstance(found, Audited) and found.in_training.tolist() == [2] * 12
    assert "Images from elsewhere: ood" in done.out and "A second test set" in done.out


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ("{name: ood, far: 'npz:none.npz'}", "none.npz is not a file"),
        ("{name: ood, scores: [odd]}", "score 'odd' is not one of"),
        ("{name: ood, noise: false}", "has no set to tell apart"),
        ("{name: shift}", "needs other="),
        ("{name: data-audit, train: 'nzp:x'}", "did you mean 'npz'"),
    ],
)
def test_a_wrong_plan_is_one_line_and_exit_2(
    run: Run, workshop: Path, stage: str, words: str
) -> None:
    done = run(*BASE, "--plan", plan(workshop / "bad.yaml", stage))
    assert done.code == 2 and words in done.err
    assert "Traceback" not in done.err


def test_a_set_of_another_shape_is_a_finding(run: Run, workshop: Path) -> None:
    archive(workshop / "large.npz", 3, side=12)
    file = plan(
        workshop / "large.yaml", "{name: ood, near: 'npz:large.npz', scores: [energy]}"
    )
    done = run(*BASE, "--plan", file)
    assert done.code == 1
    assert "near: images have shape (1, 12, 12)" in " ".join(done.out.split())
