"""Is the fast recursion the same as a dictionary that is carried from draw to draw?"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from torchattacks_ext._typing import Verdict
from torchattacks_ext.errors import ConfigError
from torchattacks_ext.numerics.rates.operating import Operating, _binomial, operating
from torchattacks_ext.numerics.rates.sequential import Boundaries, boundaries


def naive(table: Boundaries, p: float) -> Operating:
    """The definition: one draw at a time, asking the table itself at each look."""
    alive = {0: 1.0}
    ended = dict.fromkeys(Verdict, 0.0)
    mean_n, drawn = 0.0, 0
    for index, look in enumerate(table.looks.tolist()):
        for _ in range(look - drawn):
            grown: dict[int, float] = {}
            for s, weight in alive.items():
                grown[s] = grown.get(s, 0.0) + weight * (1 - p)
                grown[s + 1] = grown.get(s + 1, 0.0) + weight * p
            mean_n += math.fsum(alive.values())
            alive = grown
        drawn = look
        for s in [s for s in alive if table.over(index, s)]:
            ended[Verdict(table.decide(index, s))] += alive.pop(s)
    assert not alive or not table.looks.size
    left = math.fsum(alive.values())
    return Operating(
        ended[Verdict.ROBUST],
        ended[Verdict.NOT_ROBUST],
        ended[Verdict.UNDECIDED] + left,
        mean_n,
    )


def agree(found: Operating, expected: Operating) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-200)


@st.composite
def any_table(draw: st.DrawFn) -> Boundaries:
    """Any limits at all, in an order that no sensible test would have too."""
    gaps = draw(st.lists(st.sampled_from([1, 1, 1, 2, 5]), min_size=0, max_size=25))
    looks = np.cumsum(np.asarray(gaps, dtype=np.int64), dtype=np.int64)
    n = len(gaps)

    def column(low: int, high: int) -> np.ndarray:
        """Few changes, so that looks in a row often decide alike."""
        step = draw(st.integers(1, 8))
        count = -(-n // step)
        some = draw(st.lists(st.integers(low, high), min_size=count, max_size=count))
        return np.repeat(np.asarray(some, dtype=np.int64), step)[:n]

    certify, refute = column(-1, 3), column(0, 12)
    if draw(st.booleans()):
        refute = looks + 1  # nothing refutes
    gives_up = draw(st.booleans())
    more = (column(0, 8), column(-1, 9)) if gives_up else (None, None)
    return Boundaries(0.1, 0.01, looks, certify, refute, *more)


RATES = st.one_of(
    st.sampled_from([0.0, 1.0, 1e-300, 1e-9, 0.5]),
    st.floats(0, 1, allow_subnormal=False),
)


@settings(max_examples=400)
@given(any_table(), RATES)
def test_equal_to_the_definition_for_any_table(table: Boundaries, p: float) -> None:
    found = operating(table, p)
    agree(found, naive(table, p))
    assert abs(sum(found[:3]) - 1) < 1e-12
    assert 0 <= found.mean_n <= table.n_max * (1 + 1e-12)


@pytest.mark.parametrize("p", [0, 1e-3, 0.02, 0.1, 0.3, 0.99, 1])
@pytest.mark.parametrize("tolerance", [0.3, 0.1])
def test_equal_to_the_definition_for_the_default_looks(tolerance, p: float) -> None:
    table = boundaries(tolerance, 0.01, 400)
    agree(operating(table, p), naive(table, p))


def test_small_probabilities_keep_their_digits() -> None:
    """At tolerance .1 a certificate needs 49 draws without a failure, even where p = .9."""
    found = operating(boundaries(0.1, 0.01, 49), 0.9)
    assert found.certified == pytest.approx(0.1**49, rel=1e-12)


@pytest.mark.parametrize(
    "tolerance, n_max, expected",
    [
        (0.01, 20_000, 0.00898368),
        (0.01, 200_000, 0.00914258),
        (0.001, 20_000, 0.00807345),
        (0.001, 200_000, 0.00896961),
        (0.1, 2_000, 0.00844003),
    ],
)
def test_false_certificates_of_the_default_looks(tolerance, n_max, expected) -> None:
    found = operating(boundaries(tolerance, 0.01, n_max), tolerance)
    assert abs(found.certified - expected) < 6e-9
    assert found.refuted <= 0.01


def test_all_outcomes_and_costs_of_the_default() -> None:
    table = boundaries(0.01, 0.01, 20_000)
    at_tolerance = operating(table, 0.01)
    assert [round(x, 5) for x in at_tolerance[:3]] == [0.00898, 0.00376, 0.98725]
    rates = [0, 0.001, 0.0025, 0.005, 0.02, 0.05, 0.9]
    means = [round(operating(table, p).mean_n) for p in rates]
    assert means == [505, 730, 1285, 4158, 1617, 169, 8]


def test_every_draw_a_look_is_one_long_stretch() -> None:
    """Zero failures in 10^6 draws certify, the first failure refutes: a geometric law."""
    n, p = 10**6, 1e-6
    looks = np.arange(1, n + 1)
    certify = np.where(looks == n, 0, -1)
    found = operating(Boundaries(p, 0.4, looks, certify, np.ones_like(looks)), p)
    all_well = np.exp(n * np.log1p(-p))
    agree(found, Operating(all_well, 1 - all_well, 0.0, (1 - all_well) / p))


def test_no_look_is_no_decision() -> None:
    empty = np.zeros(0, dtype=np.int64)
    assert operating(Boundaries(0.1, 0.01, empty, empty, empty), 0.5) == (0, 0, 1, 0)


@pytest.mark.parametrize("p", [-1e-9, 1.5, float("nan")])
def test_a_rate_outside_0_1_is_refused(p: float) -> None:
    with pytest.raises(ConfigError, match=r"not in \[0, 1\]"):
        operating(boundaries(0.01, 0.01, 100), p)


@pytest.mark.parametrize(
    "draws, p", [(1, 0.3), (17, 0.5), (3000, 0.01), (63_222, 1e-3), (9_999, 0.97)]
)
def test_binomial_law(draws: int, p: float) -> None:
    law, at_least, failures = _binomial(draws, p)
    k = np.arange(law.size)
    exact = stats.binom(draws, p)
    np.testing.assert_allclose(law, exact.pmf(k), rtol=2e-10, atol=1e-240)
    np.testing.assert_allclose(
        at_least[1:-1], exact.sf(k[:-1]), rtol=2e-10, atol=1e-240
    )
    assert at_least[-1] == 0 == failures[0]
    assert failures[-1] == pytest.approx(draws * p, rel=1e-12)  # E[min(B, K)] = E[B]
    assert law.sum() == pytest.approx(1, abs=1e-13)
