"""Is it seen how two answers differ, and are times what calls take?"""

from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor

from torchattacks_ext.models.fast.agreement import Answer, answer, compare
from torchattacks_ext.models.fast.processor import refusal_of_precision
from torchattacks_ext.models.fast.timing import least

ROWS = torch.tensor([[1.0, 4.0, 2.0], [3.0, 0.0, 1.0]])


def test_rounding_is_no_difference_and_a_flip_is_one() -> None:
    near = compare(Answer(ROWS, None), Answer(ROWS * (1 + 1e-6), None))
    assert near.rounding and near.changed == 0 and near.largest == 4
    assert not compare(Answer(ROWS, None), Answer(ROWS + 1e-3, None)).rounding
    # a tie that rounding decides otherwise is another decision
    tied = torch.tensor([[1.0, 1.0]])
    other = compare(Answer(tied, None), Answer(tied + torch.tensor([0, 1e-6]), None))
    assert other.changed == 1 and not other.rounding


def test_masked_classes_are_scores_and_lost_numbers_are_a_difference() -> None:
    masked = ROWS.clone()
    masked[:, 0] = -torch.inf
    assert compare(Answer(masked, None), Answer(masked.clone(), None)).rounding
    for value in (torch.nan, torch.inf, -torch.inf):
        broken = ROWS.clone()
        broken[0, 0] = value
        found = compare(Answer(ROWS, None), Answer(broken, None))
        assert found.difference == torch.inf and not found.rounding


def test_signs_are_compared_where_there_are_any_and_dead_rows_are_counted() -> None:
    one = torch.tensor([[1.0, -2.0, 0.0], [1.0, 1.0, 1.0]])
    two = torch.tensor([[3.0, 2.0, 9.0], [0.0, 0.0, 0.0]])
    found = compare(Answer(ROWS, one), Answer(ROWS, two))
    assert found.signs == pytest.approx(1 / 5) and found.dead == 1
    assert compare(Answer(ROWS, None), Answer(ROWS, two)).signs is None


def test_the_gradient_is_that_of_the_margin() -> None:
    weight = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])

    def model(x: Tensor) -> Tensor:
        return x @ weight.T

    found = answer(model, torch.tensor([[3.0, 1.0]]))
    assert found.gradient is not None and found.gradient.tolist() == [[1.0, -2.0]]
    assert answer(model, torch.ones(1, 2), gradient=False).gradient is None
    assert answer(lambda x: x.detach(), torch.ones(1, 2)).gradient is None


def test_times_are_minima_and_end_with_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, waits = [0.0], iter([9.0, 3.0, 1.0, 3.0])

    def call() -> None:
        now[0] += next(waits, 1.0)

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    assert least({"a": call}, 3) == ({"a": 1.0}, 3)
    assert least({"a": call}, 100, most_seconds=2.5) == ({"a": 1.0}, 3)
    assert least({"a": call}, 100, most_seconds=0.0) == ({"a": 1.0}, 1)


def test_a_gpu_is_asked_for_no_instructions() -> None:
    assert refusal_of_precision("fp16", torch.device("cuda"), []) is None
    why = refusal_of_precision("fp16", torch.device("cpu"), ["avx512_bf16"])
    assert why is not None and "fp16" in why
