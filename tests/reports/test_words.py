"""Do written numbers and names ever say more than they should?"""

from __future__ import annotations

import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchattacks_ext.reports import words
from torchattacks_ext.results.base.facts import Cost

shares = st.integers(1, 10**7).flatmap(
    lambda n: st.tuples(st.integers(0, n), st.just(n))
)


@given(shares)
def test_percent_says_none_and_all_only_for_none_and_all(pair: tuple[int, int]) -> None:
    part, whole = pair
    shown = words.percent(part, whole)
    assert (shown == "0.0 %") == (part == 0)
    assert (shown == "100.0 %") == (part == whole)
    if shown[0] not in "<>":
        assert abs(float(shown[:-2]) - 100 * part / whole) <= 0.0501


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_written_interval_contains_the_true_one(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    left, right = words.interval([low, high])[1:-3].split(", ")
    assert 0 <= float(left) <= 100 * low + 1e-7
    assert 100 >= float(right) >= 100 * high - 1e-7
    assert float(right) - float(left) <= 100 * (high - low) + 0.2 + 1e-7


def test_the_interval_of_round_numbers_is_not_widened() -> None:
    assert words.interval([0.1, 0.3]) == "[10.0, 30.0] %"
    assert words.interval([0.0, 1.0]) == "[0.0, 100.0] %"
    assert words.interval([math.nan, 1.0]) == "n/a"


@given(st.text())
def test_one_line_is_one_printable_line(text: str) -> None:
    shown = words.one_line(text)
    assert "\n" not in shown and "\x1b" not in shown and len(shown) <= 500
    assert not {unicodedata.category(char) for char in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert not set(shown) & set(
        "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    )
    shown.encode("utf-8")


@given(st.text(max_size=300).filter(str.isalnum))
def test_one_line_keeps_ordinary_words(text: str) -> None:
    assert words.one_line(text) == text


def test_one_line_cuts_a_flood() -> None:
    shown = words.one_line("ab " * 10**6, limit=20)
    assert len(shown) == 20 and shown.endswith("…")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (8 / 255, "8/255"),
        (1 / 255, "1/255"),
        (0.031372549, "8/255"),
        (0.03, "0.03"),
        (0.5, "0.5"),
        (0.0, "0"),
        (math.inf, "n/a"),
        (None, "n/a"),
        ("8/255", "n/a"),
        (True, "n/a"),
    ],
)
def test_radius(value: object, shown: str) -> None:
    assert words.radius(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 %"),
        (1.0, "100 %"),
        (1e-5, "0.001 %"),
        (1e-6, "1e-6"),
        (2.5e-9, "2.5e-9"),
        (0.123456, "12.3 %"),
    ]
    + [(math.nan, "n/a"), ("x", "n/a"), (None, "n/a")],
)
def test_rate(value: object, shown: str) -> None:
    assert words.rate(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1e-3, "1e-3"), (0.01, "1e-2"), (0.05, "0.05"), (0.1, "0.1"), (2e-3, "0.002")]
    + [(0.0, "n/a"), (None, "n/a"), (math.nan, "n/a")],
)
def test_level(value: object, shown: str) -> None:
    assert words.level(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(-1.25, "-1.25"), (-math.inf, "-inf"), (1e15, "1e+15"), (3.0, "3"), (True, "n/a")],
)
def test_number(value: object, shown: str) -> None:
    assert words.number(value) == shown


def test_durations_and_costs() -> None:
    shown = [
        words.seconds(value) for value in (0.0, 9.96, 599.6, 600.0, 90000.0, math.nan)
    ]
    assert shown == ["0.00 s", "10.0 s", "600 s", "10.0 min", "25.0 h", "n/a"]
    assert words.cost_text(None) == ""
    assert words.cost_text(Cost(0, 0, 0.0)) == "0 forward, 0 backward, 0.00 s"


def test_listing() -> None:
    assert [words.listing(list("abcdefgh")[:k]) for k in (1, 2, 3)] == [
        "a",
        "a and b",
        "a, b and c",
    ]
    assert words.listing(list("abcdefgh")) == "a, b, c, d, e, f and 2 more"
