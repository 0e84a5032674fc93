"""Is a number taken in every form that a user has, and stored as Python's own?"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from torchattacks_ext.errors import ConfigError
from torchattacks_ext.numerics.arguments import (
    as_number,
    is_whole,
    parse_number,
    parse_real,
    parse_whole,
    plain_scalar,
)

QUARTERS: tuple[Any, ...] = (
    0.25,
    "0.25",
    "1/4",
    " 1/4 ",
    np.float32(0.25),
    np.array(0.25),
    torch.tensor(0.25),
    torch.tensor(0.25, dtype=torch.bfloat16, requires_grad=True),
    Fraction(1, 4),
    Decimal("0.25"),
)
NO_NUMBERS: tuple[Any, ...] = (
    True,
    np.True_,
    torch.tensor(True),
    None,
    "a lot",
    "1/0",
    [0.25],
    np.array([0.25]),
    torch.tensor([0.25]),
    1j,
)


@pytest.mark.parametrize("value", QUARTERS, ids=repr)
def test_one_number_in_many_forms(value: Any) -> None:
    for read in (
        as_number,
        lambda x: parse_number(x, "x"),
        lambda x: parse_real(x, ""),
    ):
        assert type(read(value)) is float and read(value) == 0.25


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_what_is_no_number_is_named(value: Any) -> None:
    assert math.isnan(as_number(value))
    with pytest.raises(ConfigError, match="alpha=.*finite number >= 0, say 8/255"):
        parse_number(value, "alpha")
    with pytest.raises(ConfigError, match="alpha=.*must be a number"):
        parse_real(value, "alpha")


def test_a_huge_exponent_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="alpha="):
        parse_number("1e999999999", "alpha")


@pytest.mark.parametrize(
    "value", [3, np.int8(3), np.uint64(3), np.array(3), torch.tensor(3)], ids=repr
)
def test_one_count_in_many_forms(value: Any) -> None:
    assert type(parse_whole(value, "n", 1)) is int and parse_whole(value, "n") == 3
    assert is_whole(value, 3) and not is_whole(value, 4)
    assert type(plain_scalar(value)) is int
    assert type(parse_real(value, "n")) is int


@pytest.mark.parametrize("value", [*NO_NUMBERS, 3.0, np.float64(3), "3"], ids=repr)
def test_what_is_no_count_is_named(value: Any) -> None:
    assert not is_whole(value, 0)
    with pytest.raises(ConfigError, match="n_max=.* must be a whole number >= 1"):
        parse_whole(value, "n_max", 1)
    with pytest.raises(ConfigError, match="seed=.* must be a whole number$"):
        parse_whole(value, "seed")
