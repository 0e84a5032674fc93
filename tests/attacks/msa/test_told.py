"""Does what batches tell add up to what the whole would have told?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from torchattacks_ext.attacks.msa.draws import Fresh
from torchattacks_ext.attacks.msa.protocols import NUMBERS, Tally
from torchattacks_ext.attacks.msa.settings import MSASettings
from torchattacks_ext.attacks.msa.told import Told
from torchattacks_ext.engines.judge.ledger import Entry
from torchattacks_ext.results.base.facts import Flag
from torchattacks_ext.results.unfixed import of_tallies

SETTINGS = MSASettings(eps=0.1, norm="Linf", batch_size=4, fresh_draws=2)


def codes(told: Told) -> list[str]:
    return [flag.code for flag in told.flags()]


def protocols(told: Told) -> dict[str, list[float]]:
    counts: Any = told.facts(SETTINGS)["tallies"]
    return of_tallies({int(number): tally for number, tally in counts.items()})


def fresh(right: list[bool], found: list[int]) -> Fresh:
    n, sure = len(right), np.array(right)
    two = np.full(n, 2)
    counts, none = np.array(found), np.zeros(n, dtype=bool)
    return Fresh(2, two, two, counts, sure, none, sure & (counts < 1))


def test_nothing_told_is_nothing_said() -> None:
    assert Told().facts(SETTINGS) == {"breakdown": {}}
    assert Told().rules(SETTINGS) == {} and codes(Told()) == []


def test_accounts_and_reasons_add_up() -> None:
    one = Told({"a": Entry(tried=2, broken=1)}, 1, frozenset(["fab"]), ("x",))
    two = Told(
        {"b": Entry(tried=1), "a": Entry(tried=3)}, 2, frozenset(["fab"]), ("y",)
    )
    doubt = Told(doubts=(Flag("not_as_deployed", "said first"),))
    both = one + two + doubt
    books: Any = both.facts(SETTINGS)["breakdown"]
    assert list(books) == ["a", "b"] and books["a"]["tried"] == 5
    assert both.n_odd == 3 and both.sources == ("x", "y")
    assert codes(both) == ["not_as_deployed", "non_finite_candidates", "left_out"]
    assert one.books["a"].tried == 2, "parts stay as they were"


def test_votes_of_batches_are_those_of_all_rows() -> None:
    whole = fresh([True, True, False], [2, 0, 0])
    parts = Told(fresh=fresh([True], [2])) + Told(fresh=fresh([True, False], [0, 0]))
    told = Told() + parts + Told()
    assert told.fresh is not None
    for name in ("clean", "control", "found", "right", "doubted", "broken"):
        assert getattr(told.fresh, name).tolist() == getattr(whole, name).tolist()
    assert told.rules(SETTINGS) == {"fresh_draws": 2}
    assert told.facts(SETTINGS) == {"breakdown": {}}, "the rows say it"


def test_partitions_that_the_budget_ended_are_left_out_but_for_the_first() -> None:
    some = Tally(np.array([3.0, 2, 1, 2, 1, 1]), 4, 2)
    told = Told(tallies={0: Tally()})
    none = protocols(told)
    assert set(none) == set(NUMBERS) and all(math.isnan(v) for (v,) in none.values())
    for number in (0, 0, 1, 1, 2):
        told += Told(tallies={number: some})
    assert protocols(told)["iso"] == [0.5, 0.5]
    assert protocols(told)["bystanders"] == [0.5, 0.5]
    assert told.rules(SETTINGS) == {"deployed_batch": 4, "headline": "iso"}


def test_square_is_doubted_when_it_breaks_more_than_two_rows_in_a_thousand() -> None:
    told = Told({"target/square-60": Entry(broken=2), "target/apgd": Entry(broken=9)})
    assert told.broken_by_square(1000) == []
    (flag,) = told.broken_by_square(999)
    assert (flag.code, flag.count) == ("square_after_gradients", 2)
