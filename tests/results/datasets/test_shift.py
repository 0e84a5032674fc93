"""Is the loss on a second set what the rows say, paired or not, and does it come back?"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from torchattacks_ext.errors import InputError, StateError
from torchattacks_ext.numerics.populations.differences import (
    mcnemar,
    paired_interval,
    unpaired_interval,
)
from torchattacks_ext.reports.sets.shift import shift_sentence, shift_told
from torchattacks_ext.results import Shift

HERE = torch.tensor([True] * 18 + [False] * 2)
THERE = torch.tensor([True] * 10 + [False] * 9 + [True])


def test_pairs_are_counted() -> None:
    one = Shift.of(HERE, THERE, paired=True)
    assert one.pairs() == (8, 1, 20)
    assert one.drop == pytest.approx(7 / 20)
    assert one.drop_interval() == paired_interval(8, 1, 20)
    said = one.summary()
    assert said["paired"] and said["p_value"] == mcnemar(8, 1)
    assert (said["accuracy"], said["other_accuracy"]) == (0.9, 0.55)


def test_beside_a_larger_second_set_all_numbers_are_of_the_pairs() -> None:
    """All 4 images are in it and right there; what is told beside "nothing lost" is their share."""
    other = torch.tensor([True] * 4 + [False] * 4)
    one = Shift.of(torch.ones(4, dtype=torch.bool), other)
    found = replace(one, partner=torch.arange(4))
    said = found.summary()
    assert (found.drop, found.other_accuracy, said["other_n"]) == (0, 1, 4)
    page = shift_told("shift", found, 0.95)
    assert any("4 further rows of the second set left out" in n for n in page.notes)
    assert "100.0 % (4 of 4) correctly, 0.0 points" in shift_sentence(found)


def test_other_images_are_two_samples() -> None:
    one = Shift.of(HERE, THERE[:15])
    assert one.pairs() is None and "p_value" not in one.summary()
    assert one.drop == pytest.approx(18 / 20 - 10 / 15)
    assert one.drop_interval(0.9) == unpaired_interval(18, 20, 10, 15, 0.9)


def test_it_comes_back_and_its_partners_follow_the_rows() -> None:
    one = Shift.of(HERE, THERE, paired=True, source="x")
    back = Shift.from_dict(json.loads(one.to_json()))
    assert back.to_dict() == one.to_dict() and back.summary() == one.summary()
    part = one.select(torch.tensor([19, 2]), declared=True)
    assert part.partner.tolist() == [19, 2] and part.pairs() == (0, 1, 2)


def test_rows_that_were_chosen_have_no_interval() -> None:
    part = Shift.of(HERE, THERE, paired=True).select(torch.arange(4))
    assert part.drop_interval() == (-1.0, 1.0)
    assert part.summary()["left_out"]["drop_interval"] == part.chosen


def test_rows_of_a_part_of_a_run_say_what_is_missing() -> None:
    one = Shift.of(HERE, THERE)
    bare = Shift.from_dict({k: v for k, v in one.to_dict().items() if k != "other"})
    assert bare.other is None and "drop" not in bare.summary()
    with pytest.raises(StateError, match="was not asked for yet"):
        bare.drop_interval()


@pytest.mark.parametrize(
    ("right", "other", "match"),
    [
        (HERE, THERE[:3], "are no pairs"),
        (HERE.float(), THERE, "expected \\(N,\\) bool"),
        (HERE, THERE[:0], "expected \\(N,\\) bool"),
    ],
)
def test_bad_answers_are_refused(
    right: torch.Tensor, other: torch.Tensor, match: str
) -> None:
    with pytest.raises(InputError, match=match):
        Shift.of(right, other, paired=True)


def test_a_damaged_second_set_is_said() -> None:
    raw = Shift.of(HERE, THERE).to_dict() | {"other": 3}
    with pytest.raises(InputError, match="'other' of shift/1 is damaged"):
        Shift.from_dict(raw)
