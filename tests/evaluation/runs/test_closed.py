"""Nothing that was not measured passes: real runs that went wrong in each of the ways there are."""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from torchattacks_ext import evaluate
from torchattacks_ext.cli.main import main
from torchattacks_ext.errors import ModelContractError, ReliabilityWarning
from torchattacks_ext.evaluation.runs import compare_runs, gate
from torchattacks_ext.reports import render_json
from torchattacks_ext.reports.runs import render_compared, render_gate
from torchattacks_ext.results import EvaluationReport

RULES = {
    name: {"metric": metric, "stage": name, "fail": 0.0}
    for name, metric in (
        ("clean", "clean_accuracy"),
        ("FGSM", "attacked_accuracy"),
        ("crash", "attacked_accuracy"),
        ("worst_case", "attacked_accuracy"),
    )
}


class Lines(nn.Module):
    """Class 1 where the mean of an image is above .5; NaN for a share of the images."""

    def __init__(self, odd: int = 0) -> None:
        super().__init__()
        self.edge, self.odd = nn.Parameter(torch.tensor(0.5)), odd

    def forward(self, images: Any) -> Any:
        side = images.flatten(1).mean(1) - self.edge
        scores = torch.stack([-side, side], 1) * 9
        if not self.odd:
            return scores
        lost = (1000 * images.flatten(1)[:, :1]) % self.odd < 1
        return torch.where(lost, torch.nan, scores)


class Crash:
    """An attack that raises on every batch, or on bright ones."""

    above = -1.0

    def __init__(self, model: Any, eps: float = 0.05) -> None:
        self.model = model

    def __call__(self, images: Any, labels: Any = None) -> Any:
        if float(images.mean()) > self.above:
            raise RuntimeError("it crashed")
        return images


class HalfCrash(Crash):
    above = 0.5


@pytest.fixture(scope="module", autouse=True)
def planted() -> Iterator[None]:
    module = types.ModuleType("planted_attacks")
    module.Crash, module.HalfCrash = Crash, HalfCrash  # type: ignore[attr-defined]
    sys.modules["planted_attacks"] = module
    yield
    del sys.modules["planted_attacks"]


def run(*stages: Any, odd: int = 0, n: int = 40, **how: Any) -> EvaluationReport:
    images = torch.linspace(0, 1, n).reshape(-1, 1, 1, 1).repeat(1, 1, 2, 2)
    labels = (images[:, 0, 0, 0] > 0.5).long()
    plan = {"eps": 0.05, "group_size": 10, "batch_size": 10}
    plan |= {"stages": ["clean", *stages]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        return evaluate(Lines(odd).eval(), (images, labels), plan, name="net", **how)


CRASH = {"name": "planted_attacks:Crash", "label": "crash"}
HALF = {"name": "planted_attacks:HalfCrash", "label": "crash"}
WRONG = {
    "all attacks crash": (lambda: run(CRASH), "crash"),
    "half of an attack crashes": (lambda: run("FGSM", HALF), "crash"),
    "NaN logits": (lambda: run("FGSM", odd=2), "NaN or infinite"),
    "rows not reached": (lambda: run("FGSM", max_queries=110), "did not reach"),
    "a run cut short": (lambda: run("FGSM", max_queries=40), "FGSM"),
    "a stage that cannot be used": (lambda: run("FGSM", "APGDT"), "APGDT"),
}


@pytest.fixture(scope="module")
def wrong() -> dict[str, EvaluationReport]:
    return {name: make() for name, (make, _) in WRONG.items()}


def test_whole_runs_pass() -> None:
    whole = run("FGSM")
    rules = [RULES[name] for name in ("clean", "FGSM", "worst_case")]
    assert gate(whole, {"rules": rules}).code == 0
    assert compare_runs(whole, whole).missing == ()


@pytest.mark.parametrize("rule", list(RULES))
@pytest.mark.parametrize("name", list(WRONG))
def test_no_rule_passes_whatever_it_is_about(wrong: Any, name: str, rule: str) -> None:
    """The least demanding policy there is: one rule, a share of at least 0."""
    found = gate(wrong[name], {"rules": [RULES[rule]]})
    assert found.code == 2, render_gate(found)
    assert WRONG[name][1] in render_gate(found)


def test_no_image_and_no_model_are_no_pass(tmp_path: Any, capsys: Any) -> None:
    whole = run("FGSM")
    stages = tuple(
        type(s)(s.name, s.kind, s.result.select([])) for s in whole.stages if s.result
    )
    empty = EvaluationReport("net", whole.plan, {}, {"n": 0}, stages)
    for rule in RULES.values():
        assert gate(empty, {"rules": [rule]}).code == 2
    with pytest.raises(ModelContractError, match="NaN"):
        run("FGSM", odd=1)
    out, policy = tmp_path / "run", tmp_path / "policy.yaml"
    policy.write_text("rules: [{metric: clean_accuracy, stage: clean, fail: 0}]")
    evaluated = ["evaluate", "--model", "no_such_module:f", "--data", "digits"]
    assert main([*evaluated, "--eps", "0.1", "--out", str(out)]) == 2
    assert main(["gate", str(out), "--policy", str(policy)]) == 2
    assert "no_such_module" in capsys.readouterr().err


PARTLY = ["half of an attack crashes", "NaN logits", "rows not reached"]


@pytest.mark.parametrize("name", ["all attacks crash", *PARTLY])
def test_compare_says_what_was_not_measured(
    wrong: Any, tmp_path: Any, capsys: Any, name: str
) -> None:
    whole = run("FGSM")
    found = compare_runs(whole, wrong[name])
    assert found.missing and bool(found.regressions) == (name == "NaN logits")
    assert "NOT ALL WAS MEASURED" in render_compared(found).splitlines()[0]
    paths = []
    for label, report in (("old", whole), ("new", wrong[name])):
        paths.append(tmp_path / f"{label}.json")
        paths[-1].write_text(render_json(report))
    code = 1 if found.regressions else 2
    assert main(["compare", *map(str, paths)]) == code
    assert "not measured: " in capsys.readouterr().out


def test_a_drop_rule_needs_whole_stages(wrong: Any) -> None:
    rule = {"metric": "attacked_accuracy", "stage": "FGSM", "drop": True}
    for name in ("rows not reached", "NaN logits"):
        found = gate(wrong[name], {"rules": [rule]}, run("FGSM"))
        last = found.outcomes[-1]
        assert (last.state, found.code) == ("error", 2)
        assert "not measured" in last.message or "NaN" in last.message


def test_a_policy_demands_attacks_versions_and_images() -> None:
    whole = run("FGSM")
    rules = [RULES["clean"]]
    for demand, code in [
        ({"stage": "FGSM", "settings": {"eps": "1/20", "norm": "Linf"}, "n": 40}, 0),
        ({"stage": "FGSM", "settings": {"eps": "8/255"}}, 2),
        ({"stage": "FGSM", "settings": {"version": "standard"}}, 2),
        ({"stage": "FGSM", "n": 41}, 2),
        ({"stage": "msa"}, 2),
    ]:
        assert gate(whole, {"rules": rules, "require": [demand]}).code == code, demand
