"""Are margins what a loop over the rows says, NaN included?"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from torchattacks_ext.errors import InputError
from torchattacks_ext.numerics.losses import is_finite_rows, margins, target_margins


def naive_margins(logits: Tensor, labels: Tensor) -> list[float]:
    rows = []
    for row, label in zip(logits.tolist(), labels.tolist()):
        own = row.pop(label)
        rows.append(math.nan if any(map(math.isnan, [own, *row])) else own - max(row))
    return rows


@settings(deadline=None)
@given(st.integers(0, 6), st.integers(2, 7), st.integers(0, 2**32), st.booleans())
def test_margins_equal_the_loop(n: int, k: int, seed: int, holes: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = (
        torch.randn(n, k, generator=generator, dtype=torch.float64)
        .mul(4)
        .round()
        .div(4)
    )
    labels = torch.randint(0, k, (n,), generator=generator)
    if holes:
        logits[torch.rand(n, k, generator=generator) < 0.2] = math.nan
    before = logits.clone()
    wanted = torch.tensor(naive_margins(logits, labels), dtype=torch.float64)
    torch.testing.assert_close(
        margins(logits, labels), wanted, rtol=0, atol=0, equal_nan=True
    )
    found = target_margins(logits, labels)
    torch.testing.assert_close(found, -wanted, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(logits, before, rtol=0, atol=0, equal_nan=True)


def test_sign_says_correct_and_ties_are_not() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.0], [2.0, 2.0, 0.0], [3.0, 1.0, 0.0]])
    assert margins(logits, torch.tensor([1, 1, 1])).tolist() == [1.0, 0.0, -2.0]
    assert target_margins(logits, torch.tensor([1, 1, 1])).tolist() == [-1.0, 0.0, 2.0]


def test_infinite_logits_give_infinite_margins() -> None:
    inf = math.inf
    logits = torch.tensor([[inf, 0.0], [-inf, 0.0], [0.0, inf], [0.0, -inf]])
    assert margins(logits, torch.zeros(4, dtype=torch.long)).tolist() == [
        inf,
        -inf,
        -inf,
        inf,
    ]


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64]
)
def test_dtypes_stay(dtype: torch.dtype) -> None:
    logits, labels = torch.tensor([[1.0, 3.0]], dtype=dtype), torch.tensor(
        [1], dtype=torch.int32
    )
    assert margins(logits, labels).dtype == dtype
    assert margins(logits, labels).tolist() == [2.0]


def test_gradients_flow_to_both_logits() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0], [5.0, 0.0, 1.0]], requires_grad=True)
    margins(logits, torch.tensor([1, 2])).sum().backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    "logits, labels",
    [
        (torch.zeros(3, 1), torch.zeros(3)),
        (torch.zeros(3), torch.zeros(3)),
        (torch.zeros(3, 4), torch.zeros(2)),
        (torch.zeros(3, 4), torch.zeros(3, 1)),
    ],
)
def test_other_shapes_are_refused(logits: Tensor, labels: Tensor) -> None:
    with pytest.raises(InputError, match=r"logits \(N, K\) with K >= 2"):
        margins(logits, labels.long())


def test_finite_rows() -> None:
    inf, nan = math.inf, math.nan
    rows = [
        [0.0, 1.0],
        [nan, 1.0],
        [1.0, nan],
        [inf, 0.0],
        [-inf, 0.0],
        [inf, nan],
        [3e38, -3e38],
    ]
    assert is_finite_rows(torch.tensor(rows)).tolist() == [True] + [False] * 5 + [True]
    assert is_finite_rows(torch.zeros(0, 3)).shape == (0,)
