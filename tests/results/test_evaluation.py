"""Is the worst case an upper bound over all stages, and does a whole report return from disk?"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats

from torchattacks_ext._typing import Verdict
from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.results import (
    Accuracy,
    AttackResult,
    Cost,
    EvaluationReport,
    Flag,
    ProbRobustness,
    Result,
    StageReport,
)
from torchattacks_ext.results.evaluation import GalleryItem
from torchattacks_ext.results.stages.report import FAMILIES

Change = Callable[[Result, str, int, float], Any]


def item() -> GalleryItem:
    colours = torch.arange(24, dtype=torch.uint8).reshape(2, 3, 4)
    turned = (255 - colours).permute(1, 2, 0).contiguous().permute(2, 0, 1)
    name = "00000000000000ff"
    return GalleryItem(name, 1, 2, "prtest", math.nan, -0.25, colours, turned)


def report(*stages: StageReport, **facts: Any) -> EvaluationReport:
    settings: dict[str, Any] = {
        "name": "net",
        "plan": {"eps": 8 / 255, "stages": ("clean", "PGD"), "x": math.inf},
        "model": {"class": "Net", "sha256": "ab", "parameters": 3},
        "data": {"n": 5, "shape": [1, 2, 2]},
        "flags": (Flag("duplicates", "twice", 1),),
        "cost": Cost(10, 2, 0.5),
        "provenance": {"versions": {"torch": "2"}},
        "gallery": (item(),),
    }
    return EvaluationReport(stages=stages, **(settings | facts))


def stage(name: str, result: Result | None, **facts: Any) -> StageReport:
    kinds = {Accuracy: "clean", AttackResult: "attack", ProbRobustness: "prtest"}
    return StageReport(name, kinds.get(type(result), "attack"), result, **facts)


@pytest.fixture
def whole(
    accuracy: Accuracy, attack: AttackResult, prob: ProbRobustness
) -> EvaluationReport:
    return report(
        stage("clean", accuracy, cost=Cost(5)),
        stage("PGD", attack, settings={"steps": 10}, notes=("weak", "short")),
        stage("prtest", prob),
        stage("AutoAttack", None, error="it is not installed"),
    )


# ---------------------------------------------------------------------- worst case
def test_survivors_are_correct_and_broken_by_nothing(whole: EvaluationReport) -> None:
    # row 0 survives; 1 is broken by PGD; 2 fails in a draw (UNDECIDED, 2 failures);
    # 3 is wrong; 4 survives, though prtest did not reach it
    alive = whole.survivors()
    assert alive is not None and alive.tolist() == [True, False, False, False, True]


def test_the_worst_case_is_below_every_stage(whole: EvaluationReport) -> None:
    worst = whole.worst_case(0.9)
    assert worst is not None and worst["robust_accuracy"] == 0.4 and worst["n"] == 5
    # PRTest did not reach one of the two that are left
    least, most = (
        stats.binomtest(k, 5).proportion_ci(0.9, method="exact") for k in (1, 2)
    )
    interval = worst["robust_accuracy_interval"]
    assert interval == pytest.approx([least.low, most.high])
    assert worst["robust_accuracy_bounds"] == [0.2, 0.4]
    assert worst["failed_stages"] == ["AutoAttack"]
    attack = whole["PGD"].result
    assert isinstance(attack, AttackResult)
    assert worst["robust_accuracy"] <= attack.robust_accuracy


def test_survivors_go_by_id_and_not_by_position(
    accuracy: Accuracy, attack: AttackResult, prob: ProbRobustness
) -> None:
    mixed = report(stage("clean", accuracy), stage("a", attack.sort()))
    alive = mixed.survivors()
    assert alive is not None and alive.tolist() == attack.robust.tolist()
    turned = report(stage("clean", accuracy.sort()), stage("p", prob))
    alive = turned.survivors()
    # ids -1, 0, 3, 7, 2^62
    assert alive is not None and alive.tolist() == [False, True, False, True, False]


def test_rows_that_a_stage_did_not_see_are_no_survivors(
    accuracy: Accuracy, attack: AttackResult
) -> None:
    for rows in ([1, 3], [0], []):
        part = attack.select(attack.ids[rows])
        shown = report(stage("clean", accuracy), stage("part", part))
        with pytest.raises(
            InputError, match=f"'part' has no row for {5 - len(rows)} ids"
        ):
            shown.survivors()
        with pytest.raises(InputError, match="other images"):
            shown.worst_case()
        assert "worst_case=unknown" in repr(shown)


@pytest.mark.parametrize("row", [0, 4])
def test_a_row_that_a_stage_found_wrong_does_not_survive(
    accuracy: Accuracy,
    attack: AttackResult,
    prob: ProbRobustness,
    changed: Change,
    row: int,
) -> None:
    """A randomised model may be right for the clean stage and wrong for the next."""
    for result in (attack, prob):
        odd = changed(result, "verdict", row, int(Verdict.MISCLASSIFIED))
        alive = report(stage("clean", accuracy), stage("odd", odd)).survivors()
        assert alive is not None and not alive[row]


def test_prtest_refutes_by_verdict_and_by_one_failing_draw(
    accuracy: Accuracy, prob: ProbRobustness, changed: Change
) -> None:
    refuted = changed(prob, "verdict", 0, int(Verdict.NOT_ROBUST))
    failing = changed(prob, "n_failures", 0, 1)  # verdict ROBUST all the same
    for result in (refuted, failing):
        alive = report(stage("clean", accuracy), stage("p", result)).survivors()
        assert alive is not None and not alive[0] and alive[4]


def test_there_is_no_worst_case_without_clean_or_attacks(
    accuracy: Accuracy, attack: AttackResult
) -> None:
    broken = StageReport("PGD", "attack", None, error="raised")
    for stages in (
        (),
        (stage("clean", accuracy),),
        (stage("PGD", attack),),
        (stage("clean", accuracy), broken),
    ):
        shown = report(*stages)
        assert shown.survivors() is None and shown.worst_case() is None
        assert "worst_case=none" in repr(shown) and "\n" not in repr(shown)


def test_a_confidence_outside_its_domain_is_refused(whole: EvaluationReport) -> None:
    for confidence in (0, 1, 95, math.nan):
        with pytest.raises(ConfigError, match="confidence"):
            whole.worst_case(confidence)


def test_summary_has_every_stage_and_every_error(whole: EvaluationReport) -> None:
    summary = whole.summary()
    assert list(summary) == ["clean", "PGD", "prtest", "AutoAttack", "worst_case"]
    assert summary["AutoAttack"] == {"error": "it is not installed"}
    assert [s.name for s in whole.failed] == ["AutoAttack"]
    assert "failed=['AutoAttack']" in repr(whole)


def test_an_unknown_stage_names_those_that_exist(whole: EvaluationReport) -> None:
    assert whole["PGD"].settings == {"steps": 10}
    with pytest.raises(InputError, match="no stage 'pgd'.*'PGD', 'prtest'"):
        whole["pgd"]


# ---------------------------------------------------------------------- round trip
def test_a_report_returns_from_disk(whole: EvaluationReport, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    text = whole.to_json(path)
    for source in (text, path):
        back = EvaluationReport.from_json(source)
        assert back.to_dict() == whole.to_dict() == json.loads(text)
        assert repr(back) == repr(whole)
        assert back.worst_case() == whole.worst_case()
    assert "NaN" not in text and "Infinity" not in text


def test_stages_return_with_their_classes(whole: EvaluationReport) -> None:
    back = EvaluationReport.from_dict(whole.to_dict())
    for ours, theirs in zip(whole.stages, back.stages):
        assert type(ours.result) is type(theirs.result)
        assert ours.cost == theirs.cost and ours.notes == theirs.notes
        if ours.result is not None and theirs.result is not None:
            assert ours.result.digest() == theirs.result.digest()


def test_gallery_images_return_bit_by_bit(whole: EvaluationReport) -> None:
    back = EvaluationReport.from_dict(whole.to_dict()).gallery[0]
    assert torch.equal(back.clean, item().clean)
    assert torch.equal(back.worst, item().worst)  # its strides were not the usual ones
    assert back.worst.dtype == torch.uint8 and math.isnan(back.p_fail)
    assert (back.id, back.label, back.margin) == (item().id, 1, -0.25)


def test_unknown_fields_are_kept(whole: EvaluationReport) -> None:
    data = whole.to_dict() | {"comment": {"by": "a newer version"}}
    data["stages"][1]["result"]["columns"]["note"] = list("abcde")
    assert EvaluationReport.from_dict(data).to_dict() == data


@pytest.mark.parametrize("name", ["name", "plan", "model", "data", "stages"])
def test_a_missing_field_is_named(whole: EvaluationReport, name: str) -> None:
    data = whole.to_dict()
    del data[name]
    with pytest.raises(InputError, match=f"'{name}'"):
        EvaluationReport.from_dict(data)


@pytest.mark.parametrize(
    "damage",
    [
        {"stages": [3]},
        {"stages": [{"name": "x"}]},
        {"stages": [{"name": "x", "kind": "attack", "result": [1]}]},
        {"stages": [{"name": "x", "kind": "attack", "result": {}}]},
        {"gallery": [{"id": "x"}]},
        {"gallery": [[1]]},
        {"flags": [{"message": "no code"}]},
        {"cost": "much"},
    ],
)
def test_a_damaged_report_is_an_input_error(
    whole: EvaluationReport, damage: dict[str, Any]
) -> None:
    with pytest.raises(InputError):
        EvaluationReport.from_dict(whole.to_dict() | damage)


def test_a_damaged_picture_is_an_input_error(whole: EvaluationReport) -> None:
    for damage in ({"shape": [9, 9], "uint8": "AAAA"}, {"shape": [1], "uint8": "?"}, 5):
        data = whole.to_dict()
        data["gallery"][0]["clean"] = damage
        with pytest.raises(InputError):
            EvaluationReport.from_dict(data)


def test_a_result_of_an_unknown_family_is_named(whole: EvaluationReport) -> None:
    data = whole.to_dict()
    data["stages"][0]["result"]["schema"] = "horoscopes/1"
    with pytest.raises(InputError, match="'horoscopes/1' is not one of.*accuracy/1"):
        EvaluationReport.from_dict(data)
    assert all(name == family.schema for name, family in FAMILIES.items())


def test_another_schema_is_refused(whole: EvaluationReport, attack: Any) -> None:
    with pytest.raises(InputError, match="update torchattacks_ext"):
        EvaluationReport.from_dict(whole.to_dict() | {"schema": "evaluation/2"})
    with pytest.raises(InputError, match="own class"):
        EvaluationReport.from_dict(attack.to_dict())
    with pytest.raises(InputError, match="own class"):
        AttackResult.from_dict(whole.to_dict())


def test_an_empty_report_is_still_a_report() -> None:
    bare = report(gallery=(), flags=(), cost=Cost(), provenance={})
    assert EvaluationReport.from_json(bare.to_json()).to_dict() == bare.to_dict()
    assert replace(bare, name="other").name == "other"
