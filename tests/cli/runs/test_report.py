"""`report` and `card` as commands: every form, the exit codes, and no text of a user's lost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from torchattacks_ext import evaluate
from torchattacks_ext.cli.main import main
from torchattacks_ext.cli.runs.report import FILES
from torchattacks_ext.reports import render_json, render_text
from torchattacks_ext.results import EvaluationReport
from torchattacks_ext.results.base.facts import Flag
from torchattacks_ext.testing.props import balanced_net, example_images

FORMS = [form for form in FILES if form != "card"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: Any) -> Path:
    """A folder as `evaluate --out` and a state leave it."""
    net, images = balanced_net(), example_images(24)
    plan = {"eps": "4/255", "stages": ["FGSM"]}
    report = evaluate(net, (images, net(images).argmax(1)), plan, name="net")
    place: Path = tmp_path_factory.mktemp("run")
    (place / "report.json").write_text(render_json(report), encoding="utf-8")
    return place


def written(place: Path, report: EvaluationReport) -> str:
    place.mkdir(exist_ok=True)
    (place / "report.json").write_text(render_json(report), encoding="utf-8")
    return str(place)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_goes_to_stdout_and_into_a_file(
    run: Path, tmp_path: Path, capsys: Any, form: str
) -> None:
    assert main(["report", str(run), "--form", form]) == 0
    shown = capsys.readouterr().out
    assert (
        main(["report", str(run / "report.json"), "--form", form, "-o", str(tmp_path)])
        == 0
    )
    assert capsys.readouterr().out == ""
    text = (tmp_path / FILES[form]).read_text(encoding="utf-8")
    assert shown.rstrip("\n") == text.rstrip("\n") and "net" in text
    if form in ("json", "claim", "rmf-json"):
        json.loads(text)


def test_it_is_the_report_that_was_saved(run: Path, capsys: Any) -> None:
    whole = EvaluationReport.from_json(run / "report.json")
    main(["report", str(run), "--confidence", "0.9"])
    assert capsys.readouterr().out == render_text(whole, confidence=0.9)
    main(["report", str(run), "--form", "json"])
    again = EvaluationReport.from_json(capsys.readouterr().out)
    assert again.to_dict() == whole.to_dict()
    main(["report", str(run), str(run), "--form", "markdown"])
    assert "## Comparison" in capsys.readouterr().out


def test_it_exits_as_the_run_did(run: Path, tmp_path: Path, capsys: Any) -> None:
    whole = EvaluationReport.from_json(run / "report.json")
    stages = whole.stages
    failed = replace(stages[1], result=None, error="it raised")
    raised = Flag("model_raised", "the model raised on 2 images", 2)
    for name, report, code in [
        ("failed", replace(whole, stages=(stages[0], failed)), 1),
        ("raised", replace(whole, flags=(raised,)), 2),
    ]:
        place = written(tmp_path / name, report)
        assert main(["report", place, "--form", "rmf"]) == code
        assert main(["report", str(run), place]) == code


def test_a_card_is_written_kept_and_replaced(
    run: Path, tmp_path: Path, capsys: Any
) -> None:
    pytest.importorskip("huggingface_hub")
    card = tmp_path / "README.md"
    args = ["card", str(run), "-o", str(card)]
    assert main([*args, "--name", "my-net", "--dataset", "own/digits"]) == 0
    first = card.read_text(encoding="utf-8")
    assert "name: my-net" in first and "type: own/digits" in first
    assert main(["report", str(run), "--form", "card", "-o", str(tmp_path)]) == 0
    card.write_text(first + "\nmine\n", encoding="utf-8")
    capsys.readouterr()
    assert main(args) == 2
    err = capsys.readouterr().err
    assert "--update" in err and err.count("\n") == 1
    assert card.read_text(encoding="utf-8") == first + "\nmine\n"
    assert main([*args, "--update"]) == 0
    assert card.read_text(encoding="utf-8").endswith("\nmine\n")
    assert main([*args, "--force"]) == 0
    assert "mine" not in card.read_text(encoding="utf-8")
    assert main([*args, "--force", "--update"]) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["README.md"]


def test_what_cannot_be_told_is_exit_2_in_one_line(
    run: Path, tmp_path: Path, capsys: Any
) -> None:
    bad, state, shards = (tmp_path / name for name in ("bad.json", "state", "shards"))
    bad.write_text("{", encoding="utf-8")
    state.mkdir()
    (state / "rows.jsonl").write_text("", encoding="utf-8")
    (shards / "shard-1-of-2").mkdir(parents=True)
    one, empty = str(run), str(tmp_path / "nothing")
    Path(empty).mkdir()
    for args, words in [
        (["report", one, "--form", "word"], "'word' is not one of"),
        (["report", one, one, "--form", "rmf"], "of one report"),
        (["report", one, "--confidence", "2"], "confidence"),
        (["report", one, "--form", "claim", "--dataset", "mnist"], "'mnist'"),
        (["report", str(bad)], "bad.json"),
        (["report", str(tmp_path / "none")], "cannot be read"),
        (["report", empty], "give the file"),
        (["report", str(state)], "is not finished"),
        (["report", str(shards)], "merge"),
        (["report", one, "-o", str(bad / "x")], "cannot be a folder"),
        (["card", str(state), "-o", str(tmp_path / "c.md")], "is not finished"),
        (["card", one], "--out"),
    ]:
        assert main(args) == 2, args
        told = capsys.readouterr()
        assert words in told.err and told.err.count("\n") == 1, told.err
        assert told.out == ""
    assert not (tmp_path / "c.md").exists()


def test_nothing_is_drawn_or_run(run: Path) -> None:
    before = torch.random.get_rng_state()
    main(["report", str(run), "--form", "html"])
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    "text", ["[]", "report.json", ""], ids=["list", "path", "empty"]
)
def test_a_file_that_is_no_report_is_not_taken_for_a_path(
    run: Path, tmp_path: Path, capsys: Any, monkeypatch: Any, text: str
) -> None:
    monkeypatch.chdir(run)  # where "report.json" is one
    (tmp_path / "other.json").write_text(text, encoding="utf-8")
    assert main(["report", str(tmp_path / "other.json")]) == 2
    assert "other.json is no report" in capsys.readouterr().err


def test_a_run_without_a_ball_has_no_bracket(
    run: Path, tmp_path: Path, capsys: Any
) -> None:
    whole = EvaluationReport.from_json(run / "report.json")
    for plan in ({}, {"eps": None, "norm": "L2"}):
        place = written(tmp_path / "bare", replace(whole, plan=plan))
        assert main(["bracket", place]) == 2
        assert "the plan has no radius" in capsys.readouterr().err


def test_rows_that_a_limit_left_out_did_not_raise(
    run: Path, tmp_path: Path, capsys: Any
) -> None:
    whole = EvaluationReport.from_json(run / "report.json")
    late = replace(
        whole.stages[1],
        result=None,
        error="the limit ended the run before its first row",
    )
    place = written(tmp_path / "late", replace(whole, stages=(whole.stages[0], late)))
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "rules: [{metric: clean_accuracy, stage: clean, fail: 0}]", encoding="utf-8"
    )
    assert main(["gate", place, "--policy", str(policy)]) == 2
    assert main(["compare", str(run), place]) == 2
    assert "raised" not in capsys.readouterr().out
