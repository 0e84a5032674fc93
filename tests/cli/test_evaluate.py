"""Does one command lead from a model to a report, and refuse early what cannot be?"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchattacks_ext.results.evaluation import EvaluationReport

pytestmark = pytest.mark.usefixtures("workshop")
Run = Callable[..., Any]
QUICK = "--eps 0.02 --n 12 --attacks FGSM --n-max 1000".split()
DIGITS = ["evaluate", "--model", "shed:build", "--data", "digits", *QUICK]


def test_json_is_all_that_stdout_holds(run: Run) -> None:
    done = run(*DIGITS, "--json", "--seed", 5, "--tolerance", "1/50")
    assert done.code == 0
    report = EvaluationReport.from_dict(json.loads(done.out))
    assert [stage.name for stage in report.stages] == ["clean", "FGSM", "prtest"]
    assert (report.plan["eps"], report.plan["seed"]) == (0.02, 5)
    assert report["prtest"].settings["tolerance"] == 0.02
    assert report.data["n"] == 12 and report.data["n_total"] == 445
    assert report.data["licence"] == "CC BY 4.0"
    assert report.name == "shed:build"
    assert done.err == "a factory that prints\n" * 2  # at import and when called


def test_every_argument_of_the_test_has_a_flag(run: Run) -> None:
    law = '{"name": "gaussian", "sigma": 0.1}'
    flags = ["--sampler", law, "--test", "group", "--clean-policy", "sample"]
    done = run(*DIGITS, "--json", *flags, "--n-mean", 4, "--tolerance", "0.05")
    assert done.code == 0
    found = EvaluationReport.from_dict(json.loads(done.out))["prtest"].result
    assert found is not None
    known = found.settings
    assert (known["test"], known["clean_policy"]) == ("group", "sample")
    assert known["sampler"]["name"] == "gaussian" and known["n_mean"] == 4
    assert found.n_mean.tolist() == [4] * 12  # type: ignore[attr-defined]


def test_the_text_and_the_files(run: Run, workshop: Path) -> None:
    done = run(*DIGITS, "--out", "deep/out")
    assert done.code == 0 and "shed:build" in done.out and "prtest" in done.out
    out = workshop / "deep" / "out"
    names = ["report.html", "report.json", "report.md"]
    assert sorted(path.name for path in out.iterdir()) == names
    report = EvaluationReport.from_json(out / "report.json")
    assert len(report["prtest"].result or ()) == 12
    assert (
        (out / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    )


def test_the_same_line_gives_the_same_numbers(run: Run) -> None:
    reports = []
    for batch_size in (5, 256):
        done = run(*DIGITS, "--json", "--batch-size", batch_size)
        reports.append(EvaluationReport.from_dict(json.loads(done.out)))
    first, second = (report["prtest"].result for report in reports)
    assert first is not None and second is not None
    assert first.digest() == second.digest()


def test_a_certifier_gives_its_radii(run: Run) -> None:
    """--certified adds the stage; a model that cannot certify is refused before any pass."""
    line = ["evaluate", "--data", "digits", "--eps", "0.1", "--norm", "L2", "--n", 12]
    line += ["--attacks", "PGDL2", "--certified", "--json"]
    done = run(*line, "--model", "shed:certifier")
    assert done.code == 0
    found = EvaluationReport.from_dict(json.loads(done.out))["certified"]
    assert found.result is not None and len(found.result) == 12
    assert found.cost.forward == 12 and found.settings["ball"] == ["L2", 0.1]
    for more in ([], ["--dry-run"]):
        plain = run(*line, "--model", "shed:build", *more)
        assert plain.code == 2 and "needs a model that can certify" in plain.err


def test_a_stage_that_raises_is_a_finding(run: Run, monkeypatch: Any) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("no such thing")

    monkeypatch.setattr("torchattacks.FGSM.forward", broken)
    done = run(*DIGITS, "--json", "--attacks", "FGSM,GN")
    assert done.code == 1
    report = EvaluationReport.from_dict(json.loads(done.out))
    assert [stage.name for stage in report.failed] == ["FGSM"]


def test_weights_in_a_file(run: Run, weights: Path) -> None:
    line = ["evaluate", "--model", weights, "--arch", "shed:build", "--data", "digits"]
    done = run(*line, *QUICK, "--json")
    report = EvaluationReport.from_dict(json.loads(done.out))
    assert report.name == "weights.pt"
    clean = report["clean"].result
    assert clean is not None  # the bias decides: every image is called a nine
    assert set(clean.prediction.tolist()) == {9}  # type: ignore[attr-defined]


def test_mean_and_std_wrap_the_model(run: Run) -> None:
    done = run(*DIGITS, "--json", "--mean", "0.5", "--std", "1/4")
    report = EvaluationReport.from_dict(json.loads(done.out))
    assert report.model["class"] == "NormalizedModel"
    plain = EvaluationReport.from_dict(json.loads(run(*DIGITS, "--json").out))
    margins = [r["clean"].result.margin for r in (report, plain)]  # type: ignore
    assert (margins[0] - margins[1]).abs().max() > 0.1


def test_a_dry_run_checks_and_runs_nothing(run: Run, workshop: Path) -> None:
    (workshop / "never.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def forward(self, x): raise SystemError('it was run')\n"
    )
    line = [*DIGITS, "--model", "never:Net", "--dry-run", "--out", "out"]
    done = run(*line)
    assert (done.code, done.err) == (0, "")
    assert "nothing was run" in done.out and "12 of 445 images, 1x8x8" in done.out
    assert re.search(r"FGSM +attack +about 29", done.out)
    assert not (workshop / "out").exists()
    facts = json.loads(run(*line, "--json").out)
    assert [stage["row_passes"] for stage in facts["stages"][:2]] == [12, 29]
    assert facts["row_passes"] == sum(stage["row_passes"] for stage in facts["stages"])
    assert run(*line, "--attacks", "JSMA").out.count("unknown") == 2


def test_a_plan_file_and_flags(run: Run, workshop: Path) -> None:
    (workshop / "plan.yaml").write_text(
        "eps: 8/255\nstages: [clean, {name: BIM, steps: 2}]"
    )
    line = [
        "evaluate",
        "--model",
        "shed:build",
        "--data",
        "digits",
        "--plan",
        "plan.yaml",
    ]
    facts = json.loads(run(*line, "--dry-run", "--json", "--norm", "Linf").out)
    assert [stage["name"] for stage in facts["stages"]] == ["clean", "BIM"]
    assert facts["plan"]["eps"] == 8 / 255


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--eps", "8"], "8/255"),
        (["--eps", "8/0"], "--eps '8/0' is not a finite number"),
        (["--eps", "-1"], "eps=-1.0 must be"),
        (["--norm", "L7"], "L7"),
        (["--attacks", "PDG"], "did you mean 'PGD'"),
        (["--tolerance", "2"], "tolerance"),
        (["--n-max", "0"], "n_max"),
        (["--test", "bayes"], "test='bayes' is not one of"),
        (["--clean-policy", "skip"], "clean_policy='skip' is not one of"),
        (["--n-mean", "-1"], "n_mean=-1"),
        (["--sampler", "gausian"], "did you mean 'gaussian'"),
        (["--sampler", "gaussian"], "needs 'sigma'"),
        (["--sampler", "{"], "--sampler { is not JSON"),
        (["--n", "0"], "--n=0 must be a whole number >= 1"),
        (["--batch-size", "0"], "batch_size=0: must be a whole number >= 1"),
        (["--seed", "-1"], "seed=-1: must be a whole number in 0 .. 2^63 - 1"),
        (["--max-minutes", "-1"], "max_minutes=-1.0 must be a number > 0"),
        (["--max-queries", "0"], "max_queries=0 must be an integer >= 1"),
        (["--images", "png"], "images='png' is not one of"),
        (
            ["--budget", "FGSM", "--half-width", "0"],
            "half_width=0.0 must be in (0, 0.5]",
        ),
        (["--resize", "0"], "--resize=0 must be a whole number >= 1"),
        (["--look", "-1"], "--look=-1 must be a whole number >= 0"),
        (["--data", "npz:nowhere.npz"], "--data: nowhere.npz is not a file"),
        (["--data", "digitz"], "did you mean 'digits'"),
        (["--resize", "9"], "imagefolder"),
        (["--mean", "0.5"], "--mean and --std belong together"),
        (["--mean", "1,1", "--std", "1,1"], "the images have 1 channels"),
        (["--mean", "0", "--std", "0"], "std > 0"),
        (["--device", "nonsense"], "--device nonsense cannot be used"),
        (["--plan", "nowhere.yaml"], "plan file nowhere.yaml cannot be read"),
        (["--out", "shed.py"], "shed.py is a file"),
        (["--model", "shed:broken"], "two lines"),
        (["--arch", "shed:build"], "--arch shed:build belongs to a file"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(
    flags: list[str], said: str, dry: list[str], run: Run
) -> None:
    done = run(*DIGITS, *flags, *dry)
    lines = [x for x in done.err.splitlines() if x != "a factory that prints"]
    assert (done.code, done.out, len(lines)) == (2, "", 1), done
    assert lines[0].startswith("error: ") and said in lines[0]


def test_a_look_without_a_dry_run_is_refused(run: Run) -> None:
    done = run(*DIGITS, "--look", "5")
    assert done.code == 2 and "--look=5 is of a dry run" in done.err


def test_a_model_that_does_not_fit_the_images_is_an_error(run: Run) -> None:
    done = run(*DIGITS, "--model", "shed:three_channels")
    assert done.code == 2 and done.out == ""
    assert done.err.splitlines()[-1].startswith("error: ")


def test_an_archive_of_images(run: Run, workshop: Path) -> None:
    images = np.linspace(0, 255, 6 * 64).reshape(6, 8, 8).astype(np.uint8)
    np.savez(workshop / "six.npz", images=images, labels=np.arange(6))
    done = run(*DIGITS, "--data", "npz:six.npz", "--json")
    report = EvaluationReport.from_dict(json.loads(done.out))
    assert (report.data["name"], report.data["n"]) == ("six", 6)


def test_a_plan_file_with_the_mixed_attack(run: Run, workshop: Path) -> None:
    stage = {"name": "msa", "version": "quick"}
    path = workshop / "plan.json"
    path.write_text(json.dumps({"eps": 0.02, "stages": [stage]}), encoding="utf-8")
    line = ["evaluate", "--model", "shed:build", "--data", "digits", "--n", 30]
    done = run(*line, "--plan", path, "--json")
    assert done.code == 0
    report = EvaluationReport.from_dict(json.loads(done.out))
    assert "target/noise-10" in report["msa"].result.breakdown  # type: ignore


def test_both_names_of_autoattack_are_the_real_one(run: Run) -> None:
    done = run(*DIGITS, "--attacks", "autoattack", "--dry-run", "--json")
    again = run(*DIGITS, "--attacks", "AutoAttack", "--dry-run", "--json")
    assert done.code == 0 and done.out == again.out
    facts = json.loads(done.out)["stages"][1]
    assert facts["name"] == "autoattack" and facts["row_passes"] > 12 * 4000
    assert "not torchattacks' class" in facts["notes"][0]


def test_a_report_says_which_stages_of_the_plan_file_it_lacks(
    run: Run, workshop: Path
) -> None:
    (workshop / "plan.yaml").write_text(
        "eps: 8/255\nstages: [clean, {name: BIM, steps: 2}]"
    )
    line = [*DIGITS, "--plan", "plan.yaml", "--attacks", "FGSM", "--n", "4"]
    said = "--attacks FGSM replaces stage 'BIM' (steps=2) of the plan file"
    dry = run(*line, "--dry-run")
    assert said in dry.err and f"Note: {said}." in dry.out
    done = run(*line)
    assert said in done.err and said in " ".join(done.out.split())
