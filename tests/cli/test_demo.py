"""Does the demo train, compare and write? With one epoch here; CI runs it whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from torchattacks_ext.cli.demo import FILES, demo_plan
from torchattacks_ext.evaluation import demo as nets
from torchattacks_ext.evaluation.stages import build_stages
from torchattacks_ext.results.evaluation import EvaluationReport

Run = Callable[..., Any]


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """One epoch each: the shape of the demo, not its numbers."""
    monkeypatch.setattr(nets, "EPOCHS", dict.fromkeys(nets.KINDS, 1))


@pytest.mark.usefixtures("hasty")
def test_the_demo_compares_two_nets(run: Run, tmp_path: Path) -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    done = run("demo", "--out", tmp_path / "out", "--n", 10)
    assert (done.code, done.err) == (0, "")
    assert "standard" in done.out and "adversarial" in done.out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(FILES)
    for kind in nets.KINDS:
        report = EvaluationReport.from_json(tmp_path / "out" / f"{kind}.json")
        names = [stage.name for stage in report.stages]
        assert names == ["clean", "FGSM", "PGD", "DeepFool", "Square", "prtest"]
        assert report.failed == () and report.data["n"] == 10
        assert report.name == kind and report.data["licence"] == "CC BY 4.0"
        assert report["prtest"].settings["n_mean"] == 16
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "mean failure rate" in page and "SIL" in page
    assert "numeric band" in done.out
    assert "standard" in page and "adversarial" in page
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


@pytest.mark.slow
@pytest.mark.usefixtures("hasty")
def test_the_seed_decides_everything(run: Run, tmp_path: Path) -> None:
    digests = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        run("demo", "--out", tmp_path / name, "--n", 2, "--seed", seed)
        raw = json.loads((tmp_path / name / "adversarial.json").read_text("utf-8"))
        digests.append([stage["result"]["digest"] for stage in raw["stages"]])
        digests[-1].append(raw["model"]["sha256"])
    assert digests[0] == digests[1]
    assert digests[0][-1] != digests[2][-1]


def test_the_plan_is_one_that_runs() -> None:
    from torchattacks_ext.evaluation.plan import check_plan

    assert len(build_stages(check_plan(demo_plan(7)))) == 6


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--n", "0"], "n=0 must be a whole number >= 1"),
        (["--seed", "-1"], "--seed -1 must be >= 0"),
        (["--out", "file"], "file is a file"),
    ],
)
def test_what_cannot_work_is_refused_before_training(
    flags: list[str],
    said: str,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    done = run("demo", *flags)
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert said in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_without_scikit_learn_the_extra_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn", None)
    done = run("demo", "--out", tmp_path / "out")
    assert done.code == 2
    assert "pip install 'torchattacks_ext[demo]'" in done.err
