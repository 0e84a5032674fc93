"""What may a rule rest on? Its own ball, distinct images, radii that something proves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from torchattacks_ext import evaluate
from torchattacks_ext.certify import Ellips, EllipsHead, LipschitzBound
from torchattacks_ext.errors import ConfigError
from torchattacks_ext.evaluation.runs import compare_runs, gate, runs_table
from torchattacks_ext.evaluation.runs.measured import measured
from torchattacks_ext.numerics.populations.regression import drop_p_value
from torchattacks_ext.numerics.rates.binomial import lower_bound
from torchattacks_ext.results import EvaluationReport
from torchattacks_ext.results.accuracy import Accuracy
from torchattacks_ext.results.base.facts import Flag
from torchattacks_ext.results.certificates import TIERS
from torchattacks_ext.results.evaluation import StageReport
from torchattacks_ext.testing import HalfSpace

IMAGES = torch.linspace(0, 1, 40).reshape(-1, 1).repeat(1, 2)
DATA = IMAGES, (IMAGES[:, 0] < 0.5).long()


def run(eps: float, *stages: Any) -> EvaluationReport:
    model = HalfSpace(torch.tensor([1.0, 0.0]), -0.5)
    plan = {"eps": eps, "stages": ["clean", *(stages or ["FGSM"])]}
    return evaluate(model, DATA, plan, name=f"at {eps}")


def test_a_worst_case_in_another_ball_is_not_compared() -> None:
    found = compare_runs(run(0.05), run(0.2))
    assert [line.stage for line in found.lines] == ["clean"]
    assert ("worst_case", "other settings: FGSM.eps") in found.skipped
    assert "worst_case: runs have different settings" in (
        runs_table([run(0.05), run(0.2)]).cautions
    )


@pytest.mark.parametrize("stage", ["FGSM", "worst_case"])
def test_a_rule_is_about_its_own_radius(stage: str) -> None:
    rule = {"metric": "attacked_accuracy", "stage": stage, "fail": 0.0}
    report = run(0.05)
    for eps, code in ((None, 0), (0.05, 0), ("1/20", 0), ("8/255", 2)):
        found = gate(report, {"rules": [rule | {"eps": eps}]})
        assert found.code == code, eps
    assert "ran at eps 0.05" in found.outcomes[-1].message
    with pytest.raises(ConfigError, match="no radius"):
        gate(report, {"rules": [{**rule, "metric": "clean_accuracy", "eps": 0.1}]})


# ------------------------------------------------------------------ images that come again
def accuracy(lost: int, copies: int) -> EvaluationReport:
    right = torch.arange(100) >= lost
    flag = Flag("duplicates", "again", copies, {"same": "pixels", "quiet": True})
    result = Accuracy(
        ids=torch.arange(100) + 1,
        status=torch.zeros(100, dtype=torch.int8),
        reference=torch.zeros(100, dtype=torch.int64),
        prediction=(~right).long(),
        clean_correct=right.to(torch.int8),
        margin=torch.ones(100).double(),
        flags=(flag,) * bool(copies),
    )
    stage = StageReport("clean", "clean", result)
    return EvaluationReport(f"lost {lost}", {}, {}, {"n": 100}, (stage,))


def test_copies_are_no_further_images() -> None:
    rule = {"metric": "clean_accuracy", "stage": "clean", "fail": 0.5}
    found = gate(accuracy(10, 30), {"rules": [rule]}).outcomes[-1]
    assert found.lower == lower_bound(60, 70, 0.05)  # all copies were right ones
    assert "30 images are there again" in found.message
    assert gate(accuracy(10, 100), {"rules": [rule]}).code == 1
    pair = accuracy(0, 0), accuracy(9, 4)
    line = compare_runs(*pair).lines[0]
    assert line.p_value == drop_p_value(5, 0) and line.copies == 4
    apart = compare_runs(pair[0], accuracy(9, 0)).lines[0]
    assert line.interval[0] < apart.interval[0] <= apart.interval[1] < line.interval[1]
    assert apart.p_value == drop_p_value(9, 0)
    cells = [row[0] for row in runs_table(pair).cells]
    assert cells[1].low < lower_bound(91, 100, 0.025) < cells[1].share


# ------------------------------------------------------------------ certificates
@pytest.fixture(scope="module")
def certified() -> EvaluationReport:
    head = EllipsHead.from_parameters([[1.0, 1.0], [0.0, 0.0]], 1.0)
    model = Ellips(nn.Flatten(), head, LipschitzBound(1.0)).eval()
    plan: Any = {"eps": 0.1, "norm": "L2", "outputs": "probs"}
    plan["stages"] = ["clean", "certified"]
    return evaluate(model, DATA, plan, name="ellips")


def with_tier(report: EvaluationReport, tier: str) -> EvaluationReport:
    stages = list(report.stages)
    result = stages[1].result
    assert result is not None
    settings = {**result.settings, "tier": tier}
    stages[1] = replace(stages[1], result=replace(result, settings=settings))
    return replace(report, stages=tuple(stages))


@pytest.mark.parametrize("tier", TIERS)
def test_only_certificates_are_certified_accuracy(certified: Any, tier: str) -> None:
    name = certified.stages[1].name
    rule = {"metric": "certified_accuracy", "stage": name, "eps": 0.1, "fail": 0.0}
    found = gate(with_tier(certified, tier), {"rules": [rule]})
    assert found.code == (0 if tier in TIERS[:2] else 2)
    if found.code:
        assert "claimed_accuracy, not certified_accuracy" in found.outcomes[-1].message


def test_each_radius_is_held_against_the_baseline_by_itself(certified: Any) -> None:
    """Near radii stay, far ones are lost: each rule judges its own."""
    old = with_tier(certified, TIERS[0])
    stages = list(old.stages)
    result: Any = stages[1].result
    shrunk = replace(
        result, radius=torch.where(result.radius > 0.3, 0.25, result.radius)
    )
    stages[1] = replace(stages[1], result=shrunk)
    new = replace(old, name="new", stages=tuple(stages))
    at = {
        eps: int(measured(stage, eps).n_right)  # type: ignore[union-attr]
        for eps in (0.2, 0.3)
        for stage in [new.stages[1]]
    }
    assert at[0.2] > 20 and at[0.3] == 0
    name = old.stages[1].name
    rules = [
        {"metric": "certified_accuracy", "stage": name, "eps": eps, "drop": True}
        for eps in (0.2, 0.3)
    ]
    states = [one.state for one in gate(new, {"rules": rules}, old).outcomes]
    assert states == ["pass", "fail"]
    states = [one.state for one in gate(new, {"rules": rules[::-1]}, old).outcomes]
    assert states == ["fail", "pass"]


# ------------------------------------------------------------------ random tests
def test_a_test_without_labels_is_no_robustness() -> None:
    stage = {"name": "prtest", "reference": "prediction", "n_max": 1000}
    report = run(0.01, stage)
    found = measured(report["prtest"])
    assert found is not None and found.metric != "probabilistic_robustness"
    rule = {"metric": "probabilistic_robustness", "stage": "prtest", "fail": 0.0}
    assert gate(report, {"rules": [rule]}).code == 2
