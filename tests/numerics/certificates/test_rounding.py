"""Is a number that was moved to the safe side above the exact one? Fractions say so."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchattacks_ext.numerics.certificates.operators import axis_norm, dense, most_read
from torchattacks_ext.numerics.certificates.rounding import (
    hypotenuse,
    product,
    total,
    up,
)

NUMBERS = st.lists(st.floats(1e-30, 1e30), min_size=1, max_size=8)


@given(NUMBERS)
def test_products_and_sums_are_at_least_the_exact_ones(numbers: list[float]) -> None:
    exact = [Fraction(x) for x in numbers]
    assert Fraction(product(numbers)) >= math.prod(exact, start=Fraction(1))
    assert Fraction(total(numbers)) >= sum(exact)
    assert Fraction(hypotenuse(numbers)) ** 2 >= sum(x * x for x in exact)


@given(NUMBERS)
def test_little_is_lost(numbers: list[float]) -> None:
    assert product(numbers) <= math.prod(numbers) * (1 + 1e-13)
    assert total(numbers) <= math.fsum(numbers) * (1 + 1e-13)


def test_zero_beats_everything_and_one_changes_nothing() -> None:
    assert product([0.0, math.inf]) == 0 and product([1.0, 0.3, 1.0]) == 0.3
    assert total([]) == hypotenuse([]) == up(0.0) == 0


def test_a_map_is_written_out_without_its_constant() -> None:
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]).double()
    assert torch.equal(dense(lambda x: x @ weight.T, (2,)), weight)
    apart = dense(lambda x: x @ weight.T + 7, (2,)) - weight
    assert float(apart.abs().max()) < 1e-14


def test_norms_of_axes_and_windows_of_pixels() -> None:
    assert axis_norm(lambda x: x.cumsum(1), 1) == pytest.approx(1)
    pool = torch.nn.functional.max_pool1d
    assert most_read(lambda x: pool(x[:, None], 2, 2)[:, 0], 6) == 1
    assert most_read(lambda x: pool(x[:, None], 3, 2, 1)[:, 0], 7) == 2
    assert most_read(lambda x: pool(x[:, None], 2, 2, 0, 2)[:, 0], 8) == 2
    assert most_read(lambda x: pool(x[:, None], 3, 1, 0, 2)[:, 0], 9) == 3


def test_a_product_below_the_normal_numbers_does_not_vanish() -> None:
    assert product([1e-200, 1e-200]) > 0
    assert Fraction(product([3e-160, 5e-160])) >= Fraction(3e-160) * Fraction(5e-160)
