"""Is what a joined or cut result tells that of its own rows, and of one model?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from torchattacks_ext import MSA, AttackResult, PRTest, StateError, Status, Verdict
from torchattacks_ext.engines.judge.ledger import AttackSpec
from torchattacks_ext.evaluation import evaluate
from torchattacks_ext.results.accuracy import Accuracy
from torchattacks_ext.results.base.facts import Cost, Flag
from torchattacks_ext.results.evaluation import EvaluationReport, StageReport
from torchattacks_ext.testing import HalfSpace, RateVictim

pytestmark = pytest.mark.filterwarnings("ignore::torchattacks_ext.ReliabilityWarning")
WEIGHT = torch.tensor([1.0, -1.0, 0.5, -0.5])


def counts(*values: int) -> Tensor:
    return torch.tensor(values)


def shard(
    attack: AttackResult, first: int, found: Tensor, **facts: Any
) -> AttackResult:
    """Two rows of a randomised target with `found` of 10 draws right, and books of their own."""
    rows = attack.select(attack.ids[:2], declared=True)
    books = {"target/apgd": {"tried": 2, "broken": 1, "forward": 50}}
    return replace(
        rows,
        ids=counts(first, first + 1),
        verdict=torch.where(found < 5, 2, 0).to(torch.int8),
        clean_correct=torch.ones(2, dtype=torch.int8),
        fresh_draws=counts(10, 10),
        fresh_correct=found,
        clean_fresh_correct=counts(10, 9),
        control_fresh_correct=counts(10, 10),
        control_broken=torch.zeros(2, dtype=torch.int8),
        flags=(Flag("fresh_draws", "of this shard"),),
        cost=Cost(50, 40, 1.0),
        provenance={"breakdown": books, "model": {"sha256": "a" * 64}, **facts},
    )


# ---------------------------------------------------------------- randomised targets
def test_msa_concat_randomised(attack: AttackResult) -> None:
    """The expected accuracy of two shards was that of the first; books and cost likewise."""
    far, near = shard(attack, 1, counts(10, 8)), shard(attack, 3, counts(0, 2))
    whole = AttackResult.concat([far, near])
    assert whole.randomised["expected_accuracy"] == pytest.approx(0.5)
    assert whole.summary()["randomised"]["majority_accuracy"] == 0.5
    assert whole.breakdown["target/apgd"] == {"tried": 4, "broken": 2, "forward": 100}
    assert whole.cost == Cost(100, 80, 2.0)
    (flag,) = [flag for flag in whole.flags if flag.code == "fresh_draws"]
    assert "expected accuracy 0.500" in flag.message


def test_select_told_the_expected_accuracy_of_the_whole(attack: AttackResult) -> None:
    parts = [shard(attack, 1, counts(10, 8)), shard(attack, 3, counts(0, 2))]
    whole = AttackResult.concat(parts)
    few = whole.select(counts(3, 4))
    assert few.randomised["expected_accuracy"] == pytest.approx(0.1)
    assert few.breakdown == {} and "breakdown" not in few.provenance
    assert (
        "expected accuracy 0.100"
        in {f.code: f.message for f in few.flags}["fresh_draws"]
    )
    back = AttackResult.from_json(few.to_json())
    assert back.summary()["randomised"] == few.summary()["randomised"]


def test_protocols_of_joined_deployed_batches_were_those_of_the_first_shard(
    attack: AttackResult,
) -> None:
    def deployed(first: int, iso: list[int]) -> AttackResult:
        right = torch.tensor(iso, dtype=torch.int8)
        tally = {"counts": [2.0, sum(iso), sum(iso), 1, 1, 1], "n": 2, "n_rest": 1}
        part = shard(attack, first, counts(5, 5), tallies={"0": tally, "1": tally})
        none = {"fresh_draws": counts(0, 0), "flags": ()}
        names = ("iso_correct", "union_correct", "realised_correct")
        return replace(part, **none, **{name: right for name in names})

    whole = AttackResult.concat([deployed(1, [1, 1]), deployed(3, [0, 0])])
    assert whole.protocols["iso"] == [0.5, 0.5]
    assert whole.protocols["bystanders"] == [1.0, 1.0]
    few = whole.select(counts(3, 4))
    assert few.protocols["iso"] == [0.0] and "bystanders" not in few.protocols


# ---------------------------------------------------------------- one model
def halves(make: Any) -> tuple[Any, Any]:
    images = torch.rand(6, 1, 2, 2, generator=torch.Generator().manual_seed(1))
    old, new = HalfSpace(WEIGHT, -0.1), HalfSpace(WEIGHT, -0.2)
    labels = old.labels(images)
    one = make(old).measure(images[:3], labels[:3])
    return one, make(new).measure(images[3:], labels[3:])


@pytest.mark.parametrize("kind", ["PRTest", "MSA"])
def test_concat_two_models(kind: str) -> None:
    """Shards of two models were one result, named by the first model's hash."""
    line = AttackSpec("noise", on="target", steps=1)
    one, two = halves(
        lambda net: (
            PRTest(net, eps=0.02, tolerance=0.2, significance=0.1, n_max=50)
            if kind == "PRTest"
            else MSA(net, eps=0.02, version="custom", plan=[line])
        )
    )
    with pytest.raises(StateError, match="another model"):
        type(one).concat([one, two])
    assert len(type(one).concat([one, replace(two, provenance=one.provenance)])) == 6


def test_models_without_weights_go_by_their_class(attack: AttackResult) -> None:
    plain = {"class": "function", "sha256": None}
    one = shard(attack, 1, counts(1, 1), model=plain)
    two = shard(attack, 3, counts(1, 1), model=plain | {"class": "Net"})
    with pytest.raises(StateError, match="class is another"):
        AttackResult.concat([one, two])
    assert len(AttackResult.concat([one, replace(two, provenance={})])) == 4


def test_facts_on_which_shards_differ_are_left_out(attack: AttackResult) -> None:
    """Provenance was the first part's, say its device and its batch size."""
    one = shard(attack, 1, counts(1, 1), device="cpu", batch_size=4)
    two = shard(attack, 3, counts(1, 1), device="cuda:0", batch_size=4)
    found = AttackResult.concat([one, two]).provenance
    assert "device" not in found and found["batch_size"] == 4


# ---------------------------------------------------------------- budgets that end
def test_msa_budget_upper_bound() -> None:
    """10 of 100 images reached read as clean accuracy .1 and robust accuracy .1; the truth is 1."""
    images = torch.rand(20, 1, 2, 2, generator=torch.Generator().manual_seed(2))
    victim = HalfSpace(WEIGHT, -0.1)
    line = AttackSpec("noise", on="target", steps=2)
    for budget in (5, 60, 75):
        attack = MSA(
            victim,
            eps=1e-6,
            version="custom",
            plan=[line],
            batch_size=4,
            max_queries=budget,
        )
        found = attack.measure(images, victim.labels(images))
        said, late = found.summary(), int(found.unknown.sum())
        assert late > 0 and math.isnan(found.robust_accuracy)
        assert said["robust_accuracy_bounds"] == pytest.approx([1 - late / 20, 1.0])
        assert said["robust_accuracy_interval"][1] == 1.0
        looked = said.get("clean_n", 20)
        assert (
            said["clean_accuracy"] == 1.0
            if looked
            else math.isnan(said["clean_accuracy"])
        )
        assert not bool(found.robust[found.unknown].any())


@pytest.mark.parametrize("status", [Status.NOT_REACHED, Status.FAILED])
def test_rows_that_a_stage_did_not_reach_were_survivors_of_the_worst_case(
    accuracy: Accuracy, attack: AttackResult, status: Status
) -> None:
    codes = attack.status.clone()
    codes[0] = int(status)
    stages = StageReport("clean", "clean", accuracy), StageReport(
        "a", "attack", replace(attack, status=codes)
    )
    worst = EvaluationReport("net", {}, {}, {}, stages).worst_case()
    whole = EvaluationReport(
        "net", {}, {}, {}, (stages[0], StageReport("a", "attack", attack))
    ).worst_case()
    assert worst is not None and whole is not None
    assert "robust_accuracy_bounds" not in whole
    high = whole["robust_accuracy"]
    assert worst["robust_accuracy_bounds"] == pytest.approx([high - 0.2, high])
    low, _ = whole["robust_accuracy_interval"]
    assert worst["robust_accuracy_interval"][0] < low


def test_groups_of_an_evaluation_are_those_of_its_data() -> None:
    data = {
        "images": torch.full((6, 1, 2, 2), 0.5),
        "labels": torch.zeros(6, dtype=torch.long),
        "sample_ids": list(range(6)),
        "groups": list("aabbab"),
    }
    test = {"name": "prtest", "tolerance": 0.3, "significance": 0.1, "n_max": 50}
    report = evaluate(RateVictim(0.0), [data], {"eps": 0.1, "stages": [test]})
    found: Any = report["prtest"].result
    assert all(part.chosen is None for part in found.by_group().values())
    named = tuple(Verdict(code).name for code in found.verdict.tolist())
    (part,) = replace(found, groups=named).by_group().values()
    assert part.chosen is None, "one group of all rows is no part"
    split = replace(found, groups=tuple("xxyyyy"))
    assert all(part.chosen for part in split.by_group().values())
