"""Do columns make the checks that they should, and none that they should not?"""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

from torchattacks_ext.errors import InputError
from torchattacks_ext.results import Check, Diagnosis
from torchattacks_ext.results.diagnosis.check import exceeds, outweighs
from torchattacks_ext.results.diagnosis.words import NAMES

N = 40
HONEST: dict[str, float] = {
    "status": 0,
    "reference": 1,
    "clean_correct": 1,
    "hard": 0,
    "repeated": 0.0,
    "ce_zero_clean": 0,
    "ce_zero_start": 0,
    "margin_zero_clean": 0,
    "margin_zero_start": 0,
    "gradient_odd": 0,
    "gradient_absent": 0,
    "flat": 0,
    "moves": 1,
    "rough": 0.05,
    "unstable": 0.02,
    "one_step": 0,
    "ce_half": 0,
    "ce_full": 0,
    "margin_half": 0,
    "margin_full": 0,
    "late_move": 0.01,
    "silent": 0,
    "random_search": 0,
    "black_box": 0,
    "broken_x2": 0,
    "broken_x4": 1,
    "broken_x8": 1,
    "broken_free": 1,
    "transfer": 0,
    "surrogate_fooled": 1,
    "surrogate_right": 1,
    "consistency": 0.9,
}
LOOKED = dict.fromkeys(
    ("randomised", "batch_dependent", "looks_like_probs", "differentiates"), False
)
UNKNOWN = ("transfer", "surrogate_fooled", "surrogate_right", "consistency")


def made(
    changes: dict[str, Any] | None = None, start: int = 0, **traits: bool
) -> Diagnosis:
    """A diagnosis of N images of an honest model, with these columns changed."""
    values, columns = HONEST | (changes or {}), {}
    for spec in Diagnosis.columns():
        value = values[spec.name]
        if not isinstance(value, Tensor):
            value = torch.full((N,), value)
        columns[spec.name] = value.to(spec.dtype)
    ids = torch.arange(start, start + N)
    return Diagnosis(ids=ids, settings={"traits": LOOKED | traits}, **columns)


def first(k: int) -> Tensor:
    """1 in the first k rows, 0 in the others."""
    return (torch.arange(N) < k).to(torch.int8)


def test_an_honest_model_has_no_flag() -> None:
    found = made()
    assert [check.name for check in found.checks if check.flag] == ["transfer_fails"]
    assert not found.masked and found.causes == () and "no proof" in found.verdict


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"margin_zero_clean": 1, "margin_zero_start": 1}, "gradient_killed"),
        ({"gradient_absent": 1}, "gradient_killed"),
        ({"gradient_odd": 1}, "non_finite_gradient"),
        ({"ce_zero_clean": first(8)}, "saturated_loss"),
        ({"repeated": 0.9}, "rounded_logits"),
        ({"hard": 1, "repeated": 0.4}, "hard_labels"),
        ({"flat": 1}, "quantised_input"),
        ({"rough": 0.8}, "shattered_gradient"),
        ({"one_step": first(6)}, "one_step_beats_iterative"),
        ({"margin_full": first(6)}, "unfinished_optimisation"),
        ({"late_move": 0.2}, "unfinished_optimisation"),
        ({"random_search": first(2)}, "random_search_beats_gradient"),
        ({"black_box": first(2)}, "black_box_beats_gradient"),
        ({"broken_x2": 1, "broken_x4": 0, "broken_x8": 0}, "radius_without_effect"),
        ({"broken_free": 0}, "free_attack_fails"),
        ({"transfer": first(6)}, "transfer_beats_gradient"),
        ({"status": first(1)}, "non_finite_outputs"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_cause_is_named_alone(changes: dict[str, Any], cause: str) -> None:
    found = made(changes)
    assert found.causes == (cause,)
    assert cause.replace("_", " ") in found.verdict
    flags = {flag.code for flag in found.retell().flags if not flag.details}
    assert flags == {check.name for check in found.checks if check.flag and check.cause}


@pytest.mark.parametrize(
    ("trait", "cause"),
    [
        ("randomised", "randomised"),
        ("batch_dependent", "batch_dependent"),
        ("looks_like_probs", "probabilities_as_logits"),
    ],
)
def test_traits_are_causes(trait: str, cause: str) -> None:
    assert made(**{trait: True}).causes == (cause,)


def test_zero_gradients_come_from_what_else_is_seen() -> None:
    still = {"margin_zero_clean": 1, "margin_zero_start": 1}
    assert made(still | {"repeated": 0.9}).causes == ("rounded_logits",)
    assert made(still | {"flat": 1}).causes == ("quantised_input",)
    assert made(still | {"flat": 1, "repeated": 0.9}).causes == ("rounded_logits",)
    # a net that is constant all around has nothing to quantise
    assert made(still | {"flat": 1, "moves": 0}).causes == ("gradient_killed",)


def test_few_images_are_no_flag() -> None:
    assert not made({"black_box": first(1)}).masked
    assert not made({"margin_full": first(2), "late_move": float("nan")}).masked
    assert not made({"ce_zero_clean": first(3)}).masked


def test_what_another_start_would_do_as_well_is_no_doubling() -> None:
    both = {"margin_full": first(5), "ce_half": first(10) - first(5)}
    assert not made(both)["doubling_helps"].flag
    assert made({"margin_full": first(5)})["doubling_helps"].value == 5 / 40


def test_images_that_another_loss_broke_do_not_count_as_moving() -> None:
    fell = {"margin_full": first(30), "margin_half": first(30), "ce_half": first(30)}
    moving = {"late_move": torch.where(first(30) == 1, 0.9, 0.0)}
    assert made(fell | moving)["still_moving"].value == 0.0


def test_what_only_informs_names_no_cause() -> None:
    found = made({"unstable": 0.9, "silent": 1, "surrogate_right": 0})
    named = {check.name for check in found.checks if check.flag}
    assert {"unstable_predictions", "silent_success", "surrogates_disagree"} <= named
    assert not found.masked
    assert all(flag.details["quiet"] for flag in found.retell().flags)


def test_rows_that_are_wrong_say_nothing() -> None:
    wrong = {"clean_correct": first(20), "black_box": 1 - first(20)}
    assert not made(wrong).masked


def test_what_was_not_asked_is_nan_and_no_flag() -> None:
    unknown = {
        name: torch.nan if torch.tensor(HONEST[name]).is_floating_point() else -1
        for name in HONEST
        if name not in ("status", "reference", "clean_correct", "hard", "repeated")
    }
    found = made(unknown)
    asked = [check.name for check in found.checks if check.asked]
    assert asked == [*NAMES[:7]] and not found.masked
    assert "not asked" in found["black_box_beats_gradient"].sentence


def test_a_trait_that_nobody_looked_at_is_not_said_to_be_absent() -> None:
    old = made()
    older = Diagnosis.from_dict(old.to_dict() | {"settings": {"traits": {}}})
    assert old["optimises_inside"].asked and not older["optimises_inside"].asked
    assert not older.masked


def test_every_check_is_there_in_order_with_source_and_sentence() -> None:
    for found in (made(), made({"black_box": 1})):
        assert tuple(check.name for check in found.checks) == NAMES
        assert all(check.source and check.sentence for check in found.checks)
        assert not any("{" in check.sentence for check in found.checks)


def test_shares_are_held_against_exact_limits() -> None:
    for n, k, threshold in [
        (100, 3, 0.01),
        (100, 4, 0.01),
        (24, 1, 0.002),
        (9, 9, 0.5),
    ]:
        tail = stats.binom.sf(
            k - 1, n, threshold
        )  # P(k or more) where the truth is at it
        assert exceeds(torch.arange(n) < k, threshold) == (tail < 0.05)
    assert not exceeds(torch.zeros(0, dtype=torch.bool), 0.0)


def test_the_sign_test_is_the_binomial_tail() -> None:
    for a, b in [(1, 0), (4, 0), (5, 0), (6, 1), (7, 1), (3, 3), (0, 5)]:
        one = torch.arange(a + b) < a
        tail = stats.binom.sf(a - 1, a + b, 0.5)
        assert outweighs(one, ~one) == (a > b and tail < 0.05), (a, b)


# ---------------------------------------------------------------------- the result
def test_it_comes_back_from_json_with_its_checks() -> None:
    found = made({"flat": 1}, randomised=False)
    data = json.loads(found.to_json())
    assert data["masked"] and data["causes"] == ["quantised_input"]
    assert [Check.from_dict(one).name for one in data["checks"]] == list(NAMES)
    back = Diagnosis.from_json(found.to_json())
    assert back.to_dict() == found.to_dict() and back.extra == {}


def test_parts_make_the_checks_of_the_whole() -> None:
    parts = [made({"black_box": first(1)}), made({"black_box": first(1)}, start=N)]
    assert not any(part.masked for part in parts)
    whole = Diagnosis.concat(parts)
    assert whole["black_box_beats_gradient"].value == 2 / 80
    assert whole.causes == ("black_box_beats_gradient",)
    assert [flag.code for flag in whole.flags if not flag.details] == [
        "black_box_beats_gradient"
    ]


def test_text_has_flags_first_and_keeps_its_width() -> None:
    lines = made({"flat": 1, "unstable": 0.5}).text(60).splitlines()
    assert lines[1].startswith("! flat_steps") and max(map(len, lines[1:])) <= 60
    assert any(line.startswith("? unstable_predictions") for line in lines)


def test_a_check_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match="no check 'luck'.*finite_outputs"):
        made()["luck"]
