"""`compare` and `gate` as commands: exit codes, files, and what cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from torchattacks_ext import evaluate
from torchattacks_ext.cli.main import main
from torchattacks_ext.reports import render_json


class Lines(nn.Module):
    def __init__(self, edge: float) -> None:
        super().__init__()
        self.edge = nn.Parameter(torch.tensor(edge))

    def forward(self, images: Any) -> Any:
        side = images.flatten(1).mean(1) - self.edge
        return torch.stack([-side, side], 1) * 9


@pytest.fixture(scope="module")
def files(tmp_path_factory: Any) -> dict[str, Path]:
    images = torch.linspace(0, 1, 100).reshape(-1, 1, 1, 1).repeat(1, 1, 2, 2)
    labels = (images[:, 0, 0, 0] > 0.5).long()
    found = {}
    for name, edge in [("a", 0.5), ("b", 0.5), ("c", 0.7)]:
        plan = {"eps": 0.05, "stages": ["FGSM"]}
        report = evaluate(Lines(edge).eval(), (images, labels), plan, name=name)
        place = tmp_path_factory.mktemp(name) / "report.json"
        place.write_text(render_json(report))
        found[name] = place
    return found


def test_compare_exits_1_where_a_stage_fell(files: Any, capsys: Any) -> None:
    a, b, c = (str(files[name]) for name in "abc")
    assert main(["compare", a, b]) == 0
    assert "no regression" in capsys.readouterr().out
    assert main(["compare", a, c]) == 1
    assert main(["compare", a, c, "--json"]) == 1
    out = capsys.readouterr().out
    assert json.loads(out[out.index("{") :])["regressions"]
    assert main(["compare", a, str(files["b"].parent), str(files["c"])]) == 0
    for form, word in [("latex", "toprule"), ("csv", "model,stage"), ("markdown", "|")]:
        assert main(["compare", a, b, c, "--form", form, "--seeds", "net=a,b"]) == 0
        assert word in capsys.readouterr().out


def test_two_runs_of_one_name_are_told_apart_by_their_folders(
    files: Any, tmp_path: Path, capsys: Any
) -> None:
    other = tmp_path / "later" / "report.json"
    other.parent.mkdir()
    other.write_text(files["a"].read_text())
    assert main(["compare", str(files["a"]), str(other)]) == 0
    head = capsys.readouterr().out.splitlines()[0]
    assert "a (" in head and "later" in head


def test_gate_exits_0_1_2_and_writes_its_files(
    files: Any, tmp_path: Path, capsys: Any
) -> None:
    policy = tmp_path / "policy.yaml"
    rule = "rules: [{metric: attacked_accuracy, stage: FGSM, fail: %s}]"
    codes = []
    for edge in ("0.1", "0.99"):
        policy.write_text(rule % edge)
        out = ["--out", str(tmp_path / edge)]
        codes.append(main(["gate", str(files["a"]), "--policy", str(policy), *out]))
    policy.write_text(rule.replace("FGSM", "PGD") % "0")
    codes.append(main(["gate", str(files["a"]), "--policy", str(policy)]))
    assert codes == [0, 1, 2]
    names = {path.name for path in (tmp_path / "0.99").iterdir()}
    assert names == {"gate.sarif", "gate.xml", "gate.md", "gate.json"}
    assert json.loads((tmp_path / "0.99" / "gate.json").read_text())["code"] == 1
    assert "'PGD' is not in the report" in capsys.readouterr().out


def test_what_cannot_be_read_is_exit_2_in_one_line(
    files: Any, tmp_path: Path, capsys: Any
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    few = tmp_path / "few.yaml"
    few.write_text("n: 0\nrules: [{metric: clean_accuracy, stage: clean, fail: 0}]")
    a = str(files["a"])
    for args, words in [
        (["compare", a], "at least two"),
        (["compare", a, str(tmp_path / "none.json")], "cannot be read"),
        (["compare", a, str(bad)], "bad.json"),
        (["compare", a, a, "--form", "word"], "'word'"),
        (["compare", a, a, "--form", "csv"], "--table"),
        (["compare", a, a, "--eps", "-1"], "--eps -1 must be a radius >= 0"),
        (["compare", a, a, "--significance", "2"], "significance=2.0 is not in"),
        (["compare", a, a, "--table", "--seeds", "x"], "GROUP=RUN"),
        (["gate", a, "--policy", str(tmp_path / "none.yaml")], "cannot be read"),
        (["gate", a, "--policy", str(bad)], "bad.json"),
        (["gate", a, "--policy", str(few)], "n=0: must be a number >= 1"),
    ]:
        assert main(args) == 2, args
        err = capsys.readouterr().err
        assert words in err and err.count("\n") == 1, err
