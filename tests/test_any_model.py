"""Does any model, on any input, by any verb, end right, or in one sentence that says what to do?

Cases are drawn by number (`tests/any_model`): kinds of models x inputs x verbs. One that fails is
run again by `python tests/any_model NUMBER`; `python tests/any_model 0-1000` prints what the slow
test asserts.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from any_model.cases import KINDS, Outcome, kind_of, outcomes, summary

LEAST_RIGHT = 0.85


def check(found: Sequence[Outcome], least: float) -> None:
    """Right or refused as expected, and everything as before; `least` of them right."""
    words = summary(found)
    print(words)
    assert not [one for one in found if one.moved], words
    assert not [one for one in found if one.ended == "wrong"], words
    right = sum(one.ended == "right" for one in found)
    assert right >= least * len(found), words


def test_any_model_ends_right_or_says_what_to_do() -> None:
    cheap = [number for number in range(100) if not kind_of(number).dear]
    check(outcomes(cheap[:40]), 0.8)


@pytest.mark.slow
def test_a_thousand_models_end_right_or_say_what_to_do() -> None:
    check(outcomes(range(1000)), LEAST_RIGHT)


def test_a_thousand_cases_are_of_every_kind() -> None:
    assert {kind_of(number).name for number in range(1000)} == set(KINDS)
