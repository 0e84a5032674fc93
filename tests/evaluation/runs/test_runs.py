"""Compare, table and gate: errors are found, nothing that is missing passes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from torchattacks_ext import evaluate
from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.evaluation.runs import (
    compare_runs,
    gate,
    read_policy,
    runs_table,
)
from torchattacks_ext.evaluation.runs.table import between_seeds, rank_correlation
from torchattacks_ext.reports.runs import (
    render_compared,
    render_gate,
    render_junit,
    render_runs,
    render_sarif,
)
from torchattacks_ext.results import EvaluationReport

PLAN = {"eps": 0.05, "stages": ["clean", "FGSM"]}
RULE = {"metric": "attacked_accuracy", "stage": "FGSM", "fail": 0.2}


class Lines(nn.Module):
    """Class 1 where the mean of an image is above the edge."""

    def __init__(self, edge: float) -> None:
        super().__init__()
        self.edge = nn.Parameter(torch.tensor(edge))

    def forward(self, images: Any) -> Any:
        side = images.flatten(1).mean(1) - self.edge
        return torch.stack([-side, side], 1) * 9


def run(edge: float, name: str, n: int = 120, **plan: Any) -> EvaluationReport:
    images = torch.linspace(0, 1, n).reshape(-1, 1, 1, 1).repeat(1, 1, 2, 2)
    labels = (images[:, 0, 0, 0] > 0.5).long()
    return evaluate(Lines(edge).eval(), (images, labels), PLAN | plan, name=name)


@pytest.fixture(scope="module")
def runs() -> dict[str, EvaluationReport]:
    return {
        name: run(edge, name) for name, edge in [("a", 0.5), ("b", 0.5), ("c", 0.68)]
    }


def test_equal_runs_have_no_regression(runs: Any) -> None:
    found = compare_runs(runs["a"], runs["b"])
    assert not found.regressions and not found.skipped
    assert [line.stage for line in found.lines] == ["clean", "FGSM", "worst_case"]
    assert all(
        line.p_value == 1 and line.lost == line.gained == 0 for line in found.lines
    )


def test_a_worse_run_is_found_and_a_better_one_is_not(runs: Any) -> None:
    worse = compare_runs(runs["a"], runs["c"])
    assert "clean" in [line.stage for line in worse.regressions]
    line = worse.lines[0]
    assert line.lost > line.gained and line.interval[0] <= line.drop <= line.interval[1]
    assert line.adjusted >= line.p_value
    assert not compare_runs(runs["c"], runs["a"]).regressions
    page = render_compared(worse)
    assert "REGRESSION in" in page and "smallest detectable" in page
    assert render_compared(worse, markdown=True).count("|") > 20
    json.dumps(worse.to_dict())


def test_stages_of_other_settings_and_other_images_are_not_compared(runs: Any) -> None:
    other = run(0.5, "other", eps=0.1)
    found = compare_runs(runs["a"], other)
    assert ("FGSM", "other settings: eps") in found.skipped
    few, own = run(0.5, "few", n=7), runs["a"]["FGSM"].result
    ends = compare_runs(runs["a"], few)  # black, grey and white are in both
    assert {line.n for line in ends.lines} == {3}
    inner = own.ids[few["FGSM"].result.find(own.ids) < 0]
    part = broken(runs["a"], result=own.select(inner))
    with pytest.raises(InputError, match="no stage on common images"):
        compare_runs(replace(part, stages=part.stages[1:]), few)


def test_the_table_has_seeds_apart_from_samples(runs: Any) -> None:
    found = runs_table(list(runs.values()), seeds={"a": "net", "b": "net"})
    assert found.worst[0] == "c" and found.spreads["net"][0].runs == 2
    assert found.spreads["net"][0].sd == 0
    for form in ("text", "markdown", "latex", "csv"):
        page = render_runs(found, form)
        assert "c" in page and ("toprule" in page) == (form == "latex")
    assert "\\%" not in render_runs(found, "csv")
    with pytest.raises(InputError, match="'z'"):
        runs_table(list(runs.values()), seeds={"z": "net"})
    with pytest.raises(InputError, match="name of its own"):
        runs_table([runs["a"], runs["a"]])


def test_rank_correlation_and_seeds() -> None:
    assert rank_correlation([3, 1, 2], [1, 2, 3]) == pytest.approx(-0.5)
    one = between_seeds([0.4])
    assert one.runs == 1 and one.sd != one.sd


# ------------------------------------------------------------------ the gate
def test_a_rule_passes_warns_and_fails_on_lower_bounds(runs: Any) -> None:
    share = runs["a"]["FGSM"].result.robust_accuracy
    for edge, state, code in [(share / 2, "pass", 0), (share - 1e-6, "fail", 1)]:
        found = gate(runs["a"], {"rules": [RULE | {"fail": edge}]})
        assert (found.state, found.code) == (state, code)
    warned = gate(runs["a"], {"rules": [{**RULE, "fail": 0.1, "warn": 0.99}]})
    assert (warned.state, warned.code) == ("warn", 0)
    assert warned.outcomes[0].lower < share


def broken(report: EvaluationReport, **more: Any) -> EvaluationReport:
    stages = list(report.stages)
    stages[1] = replace(stages[1], **more)
    return replace(report, stages=tuple(stages))


@pytest.mark.parametrize(
    "make",
    [
        lambda r: broken(r, result=None, error="it crashed"),
        lambda r: broken(r, result=None, not_applicable="too few classes"),
        lambda r: replace(r, stages=r.stages[:1]),
        lambda r: replace(r, stages=()),
        lambda r: broken(r, result=r.stages[1].result.select([])),
    ],
    ids=["crashed", "not applicable", "missing", "no stage", "no image"],
)
def test_what_is_missing_is_no_pass(runs: Any, make: Any) -> None:
    found = gate(make(runs["a"]), {"rules": [RULE | {"fail": 0.0}]})
    assert found.state == "error" and found.code == 2
    assert "ERROR" in render_gate(found)


def test_another_stage_that_raised_is_no_pass_either(runs: Any) -> None:
    rule = {"metric": "clean_accuracy", "stage": "clean", "fail": 0.0}
    found = gate(broken(runs["a"], result=None, error="it crashed"), {"rules": [rule]})
    assert found.code == 2 and "it crashed" in render_gate(found)


def test_too_few_images_wrong_metrics_and_demands(runs: Any) -> None:
    a = runs["a"]
    for policy, words in [
        ({"rules": [RULE], "n": 500}, "120 images, the policy asks 500"),
        ({"rules": [RULE | {"metric": "clean_accuracy"}]}, "gives attacked_accuracy"),
        ({"rules": [RULE], "require": [{"stage": "msa"}]}, "is not in the report"),
        (
            {"rules": [RULE], "require": [{"stage": "FGSM", "settings": {"eps": 1}}]},
            "required {'eps': 1}",
        ),
        ({"rules": [RULE | {"drop": True}]}, "no baseline"),
    ]:
        found = gate(a, policy)
        assert found.code == 2 and words in render_gate(found), words


def test_a_drop_rule_needs_a_fall(runs: Any) -> None:
    rule = {"metric": "clean_accuracy", "stage": "clean", "drop": True}
    assert gate(runs["b"], {"rules": [rule]}, runs["a"]).code == 0
    fell = gate(runs["c"], {"rules": [rule]}, runs["a"])
    assert fell.code == 1 and "lost" in fell.outcomes[0].message


def test_policies_are_checked_as_a_whole(tmp_path: Any) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("rules:\n  - {metric: attacked_accuracy, stage: FGSM, fail: 0.2}\n")
    assert read_policy(path).rules[0].fail == 0.2
    for text, words in [
        ("rules: []", "needs one rule"),
        ("{}", "'rules' is missing"),
        ("rule: 1", "no key"),
        ("rules: [{metric: accuracy, stage: x, fail: 1}]", "is not one of"),
        ("rules: [{metric: clean_accuracy, stage: x}]", "fail=, warn= or drop="),
        ("rules: [{metric: clean_accuracy, stage: x, fail: .9, warn: .5}]", "warn=0.5"),
    ]:
        path.write_text(text)
        with pytest.raises(ConfigError, match=words):
            read_policy(path)
    path.write_text("rules: [")
    with pytest.raises(InputError, match="line"):
        read_policy(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_policy(tmp_path / "none.yaml")


def test_sarif_and_junit_say_what_did_not_pass(runs: Any) -> None:
    import xml.etree.ElementTree as ET

    policy = {"rules": [RULE | {"fail": 0.99}, {**RULE, "fail": 0.0, "warn": 0.99}]}
    crashed = gate(broken(runs["a"], result=None, error="it <crashed> \x00"), policy)
    failed = gate(runs["a"], policy)
    log = json.loads(render_sarif(failed))["runs"][0]
    assert [one["level"] for one in log["results"]] == ["error", "warning"]
    assert log["invocations"][0]["executionSuccessful"] is True
    log = json.loads(render_sarif(crashed))["runs"][0]
    assert log["invocations"][0]["executionSuccessful"] is False and log["results"]
    root = ET.fromstring(render_junit(crashed).split("\n", 1)[1])
    assert root.get("errors") == str(len(crashed.outcomes))
    assert root.get("tests") == str(len(root.findall(".//testcase")))
    assert root.find(".//skipped") is not None
    root = ET.fromstring(render_junit(failed).split("\n", 1)[1])
    assert root.get("failures") == "1" and root.find(".//system-out") is not None
