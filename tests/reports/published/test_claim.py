"""What a run may claim of an entry of RobustBench: what it did, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from torchattacks_ext.errors import ConfigError
from torchattacks_ext.reports.published import render_claim, robustbench_claim
from torchattacks_ext.results.base.facts import Flag

BALL = {"eps": 8 / 255, "norm": "Linf"}
PARTS = [f"target/{name}" for name in ("apgd-ce", "apgd-t", "fab-t", "square")]
STANDARD = {**BALL, "method": "MSA", "version": "autoattack", "seed": 0}
STANDARD = {**STANDARD, "sources": PARTS, "surrogates": {}}
DATA = {"name": "CIFAR10", "sha256": "cd" * 32}


def benchmark(fake: Any, *more: Any, n: int = 10_000, **settings: Any) -> Any:
    one = fake(n, n * 9 // 10)
    attack = one.attack("msa", n * 2 // 5, settings=STANDARD | settings)
    stages = (one.clean(), attack, *(make(one) for make in more))
    return one.report(*stages, data={**DATA, "n": n})


def test_a_whole_run_fills_its_fields(fake: Any) -> None:
    found = robustbench_claim(benchmark(fake))
    assert dict(found.fields) == {
        "dataset": "cifar10",
        "eps": "8/255",
        "clean_acc": "90.00",
        "autoattack_acc": "40.00",
    }
    assert "diagnostics" in found.refused["unreliable"]
    assert "no other search" in found.refused["external"]
    by_hand = {key for key, why in found.refused.items() if "by hand" in why}
    assert {"link", "authors", "venue", "reported", "architecture"} <= by_hand
    told = json.loads(render_claim(benchmark(fake)))
    assert told["autoattack_acc"] == "40.00"
    assert told["torchattacks_ext"]["threat_model"] == "Linf"
    assert told["torchattacks_ext"]["images"] == 10_000


def test_a_search_that_leaves_fewer_is_external(fake: Any) -> None:
    stronger = benchmark(fake, lambda one: one.attack("PGD", 3_500))
    found = robustbench_claim(stronger)
    assert found.fields["external"] == "35.00"
    assert found.fields["autoattack_acc"] == "40.00"
    assert found.facts["external_checks"] == ["PGD"]
    weaker = robustbench_claim(benchmark(fake, lambda one: one.attack("PGD", 4_500)))
    assert "external" not in weaker.fields


@pytest.mark.parametrize(
    ("settings", "n", "field", "words"),
    [
        ({"eps": 4 / 255}, 10_000, "eps", "Linf 4/255; the leaderboard"),
        ({"norm": "L1", "eps": 12.0}, 10_000, "eps", "no leaderboard of cifar10 in L1"),
        ({}, 1_000, "autoattack_acc", "1,000 images; entries of cifar10 are of 10,000"),
        ({}, 1_000, "clean_acc", "1,000 images"),
        ({"version": "fast"}, 10_000, "autoattack_acc", "was not run"),
        ({"method": "AutoAttack"}, 10_000, "autoattack_acc", "was not run"),
        ({"sources": PARTS[:2]}, 10_000, "autoattack_acc", "not apgd-ce, apgd-t"),
        ({"surrogates": {"a": "b"}}, 10_000, "autoattack_acc", "stage msa ran"),
    ],
)
def test_what_the_run_did_not_do_is_refused(
    fake: Any, settings: Any, n: int, field: str, words: str
) -> None:
    found = robustbench_claim(benchmark(fake, n=n, **settings))
    assert field not in found.fields and words in found.refused[field]
    if field == "eps":
        assert "autoattack_acc" in found.refused


def test_other_data_claim_nothing(fake: Any) -> None:
    report = benchmark(fake)
    other = replace(report, data={**report.data, "name": "digits"})
    assert robustbench_claim(other).fields == {}
    assert "'digits'" in robustbench_claim(other).refused["dataset"]
    told = robustbench_claim(other, "cifar10")
    assert told.fields["autoattack_acc"] == "40.00"
    assert told.facts["dataset_by"] == "caller"
    with pytest.raises(ConfigError, match="'mnist'"):
        robustbench_claim(other, "mnist")


def test_unfinished_and_failed_stages_claim_nothing(fake: Any) -> None:
    one = fake(10_000, 9_000)
    half = one.attack("msa", 4_000, settings=STANDARD, failed=2)
    data = {**DATA, "n": 10_000}
    found = robustbench_claim(one.report(one.clean(), half, data=data))
    assert "did not get through" in found.refused["autoattack_acc"]
    found = robustbench_claim(one.report(one.clean(), one.failed("msa"), data=data))
    assert "autoattack_acc" not in found.fields
    assert found.fields["clean_acc"] == "90.00"


def test_doubts_make_a_number_unreliable(fake: Any) -> None:
    flag = Flag("randomised_model", "answers differ from call to call")
    report = replace(benchmark(fake), flags=(flag,))
    assert robustbench_claim(report).fields["unreliable"] is True
