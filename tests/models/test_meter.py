"""Does the budget end where it says, and does the meter count no more than what was used?"""

from __future__ import annotations

import time

import pytest

from torchattacks_ext.models import Budget, Meter
from torchattacks_ext.results import Cost


def test_since_is_the_difference_of_two_moments() -> None:
    meter = Meter(forward=10, backward=4)
    before = meter.snapshot()
    meter.forward += 7
    meter.backward += 2
    assert before == Cost(10, 4, 0.0)
    assert meter.since(before, 0.5) == Cost(7, 2, 0.5)
    assert meter.since(meter.snapshot()) == Cost()


def test_the_budget_counts_from_its_own_start() -> None:
    meter = Meter(forward=1000)
    budget = Budget(meter, max_queries=10)
    assert budget.allows(10)
    meter.forward += 6
    assert budget.allows(4) and not budget.spent
    assert not budget.allows(5) and budget.spent


def test_once_it_said_no_it_goes_on_saying_no() -> None:
    meter = Meter()
    budget = Budget(meter, max_queries=10)
    assert not budget.allows(11)
    assert not budget.allows(
        1
    )  # what fits is not run: rows would depend on their order


def test_without_limits_everything_is_allowed() -> None:
    meter = Meter()
    budget = Budget(meter)
    meter.forward = 10**12
    assert budget.allows(10**12) and not budget.spent


@pytest.mark.parametrize(("waited", "allowed"), [(1.9, True), (2.0, False), (9, False)])
def test_the_deadline_is_wall_time(
    monkeypatch: pytest.MonkeyPatch, waited: float, allowed: bool
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    budget = Budget(Meter(), max_seconds=2)
    now += waited
    assert budget.allows(1) is allowed


def test_costs_add_up() -> None:
    assert sum([Cost(1, 2, 0.5), Cost(3, 4, 0.25)], Cost()) == Cost(4, 6, 0.75)
