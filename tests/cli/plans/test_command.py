"""Does `plan init` print what `plan check` and `evaluate` take?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.usefixtures("workshop")
def test_a_new_plan_is_right_and_runs(run: Any, workshop: Path) -> None:
    done = run("plan", "init", "--profile", "fast", "--threat-model", "mnist-linf-0.3")
    assert (done.code, done.err) == (0, "")
    (workshop / "plan.yaml").write_text(done.out, encoding="utf-8")
    checked = run("plan", "check", "plan.yaml")
    assert checked.code == 0 and "a plan of 7 stages, nothing is wrong" in checked.out
    assert "mnist-linf-0.3: Linf, eps 0.3" in checked.out
    facts = json.loads(run("plan", "check", "plan.yaml", "--json").out)
    assert [stage["name"] for stage in facts["stages"]][-1] == "stress"
    assert all(stage["row_passes"] for stage in facts["stages"])
    line = ["evaluate", "--model", "shed:build", "--data", "digits", "--n", "8"]
    dry = run(*line, "--plan", "plan.yaml", "--dry-run", "--json")
    assert json.loads(dry.out)["plan"] == facts["plan"]


def test_a_file_is_written_once(run: Any, workshop: Path) -> None:
    line = ["plan", "init", "--profile", "standard", "--out", "new/plan.yaml"]
    assert run(*line).code == 0
    text = (workshop / "new" / "plan.yaml").read_text(encoding="utf-8")
    assert text == run("plan", "init").out
    again = run(*line)
    assert again.code == 2 and "exists already" in again.err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["init", "--profile", "fats"], "did you mean 'fast'"),
        (["init", "--threat-model", "cifar"], "is not known"),
        (["check", "nowhere.yaml"], "plan file nowhere.yaml cannot be read"),
        (["check", "empty.yaml"], "holds nothing, expected keys"),
        (["check", "bad.yaml"], "bad.yaml, line 3: PGD takes no argument 'stps'"),
    ],
)
def test_what_is_wrong_is_one_line_and_code_2(
    line: list[str], said: str, run: Any, workshop: Path
) -> None:
    (workshop / "bad.yaml").write_text(
        "eps: 0.1\nstages:\n  - {name: PGD, stps: 5}\n", encoding="utf-8"
    )
    (workshop / "empty.yaml").touch()
    done = run("plan", *line)
    assert (done.code, done.out) == (2, "") and said in done.err
    assert done.err.count("\n") == 1


@pytest.mark.usefixtures("workshop")
def test_a_plan_of_one_stage_is_no_plan_of_1_stages(run: Any, workshop: Path) -> None:
    (workshop / "one.yaml").write_text("eps: 0.1\nstages: [clean]\n", encoding="utf-8")
    assert (
        "one.yaml: a plan of 1 stage, nothing" in run("plan", "check", "one.yaml").out
    )


@pytest.mark.usefixtures("workshop")
def test_a_look_replaces_the_guess_of_a_dry_run(run: Any) -> None:
    line = ["evaluate", "--model", "shed:build", "--data", "digits", "--eps", "0.1"]
    line += ["--attacks", "PGD", "--n", "40", "--dry-run", "--json"]
    guess, seen = (json.loads(run(*line, *more).out) for more in ([], ["--look", "20"]))
    assert guess["shares"]["looked_at"] == 0 and seen["shares"]["looked_at"] == 20
    assert guess["shares"]["right"] == 0.8 > 3 * seen["shares"]["right"]
    assert seen["row_passes"] < guess["row_passes"]


@pytest.mark.usefixtures("workshop")
def test_a_budget_from_the_command_line(run: Any) -> None:
    line = ["evaluate", "--model", "shed:build", "--data", "digits", "--n", "60"]
    line += ["--threat-model", "mnist-linf-0.1", "--attacks", "FGSM"]
    done = run(*line, "--budget", "PGD", "--half-width", "0.2", "--json")
    assert done.code == 0, done.err
    summary = json.loads(done.out)["summary"]["budgeted"]
    assert summary["attacked"] <= summary["survivors"] < 60
