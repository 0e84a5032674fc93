"""Are the single formulas of the fixed, Wald and group-sequential tests right?

Each has a naive twin: a root-finder, a whole path of draws, or a recursion in exact fractions.
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special

from torchattacks_ext.errors import ConfigError
from torchattacks_ext.numerics.rates.binomial import clopper_pearson
from torchattacks_ext.numerics.rates.evalues import bar_of
from torchattacks_ext.numerics.rates.fixed import FixedN
from torchattacks_ext.numerics.rates.group import GroupSequential
from torchattacks_ext.numerics.rates.operating import operating
from torchattacks_ext.numerics.rates.sprt import Sprt


# ---------------------------------------------------------------- fixed
@pytest.mark.parametrize(
    "tolerance, level, expected",
    [
        (0.1, 0.01, (589, 42)),
        (0.05, 0.01, (1_233, 44)),
        (0.01, 0.01, (6_314, 45)),
        (0.001, 0.01, (63_222, 45)),
        (0.01, 0.05, (3_137, 22)),
    ],
)
def test_default_fixed_design(tolerance, level, expected: tuple[int, int]) -> None:
    """Power 1 - level at half the tolerance, as published."""
    rule = FixedN.design(tolerance, level)
    table = rule.boundaries
    assert (table.n_max, int(table.certify_at[-1])) == expected
    assert rule.least_n == expected[0] - expected[1] and not rule.weak
    assert operating(table, tolerance / 2).certified >= 1 - level


@pytest.mark.parametrize(
    "tolerance, level, least",
    [(0.1, 0.01, 44), (0.01, 0.01, 459), (0.01, 0.001, 688), (0.001, 0.05, 2995)],
)
def test_a_fixed_design_below_the_zero_failure_n_is_refused(
    tolerance: float, level: float, least: int
) -> None:
    with pytest.raises(ConfigError, match=f"n_max >= {least}$"):
        FixedN.design(tolerance, level, least - 1)
    table = FixedN.design(tolerance, level, least).boundaries
    assert int(table.certify_at[-1]) == 0 and operating(table, 0.0).certified == 1


@given(
    st.integers(30, 400),
    st.sampled_from([0.1, 0.2, 0.4]),
    st.sampled_from([0.01, 0.04]),
    st.floats(0, 0.6),
    st.integers(0, 2**32 - 1),
)
def test_curtailed_decision_is_that_of_all_draws(
    n: int, tolerance: float, level: float, rate: float, seed: int
) -> None:
    """For every path: stopping early changes no verdict, and p and bounds claim no more."""
    try:
        rule = FixedN.design(tolerance, level, n)
    except ConfigError:
        return
    table = rule.boundaries
    s = np.cumsum(np.random.default_rng(seed).random(n) < rate)
    at_looks = s[table.looks - 1]
    places = np.arange(len(table.looks))
    stop = int(np.flatnonzero(table.over(places, at_looks))[0])
    final = int(table.decide(len(places) - 1, s[-1]))
    assert int(table.decide(stop, at_looks[stop])) == final
    after = table.decide(places[stop:], at_looks[stop:])
    assert (after == final).all()
    look = int(table.looks[stop])
    early, whole = rule.bounds(look, at_looks[stop]), rule.bounds(n, s[-1])
    assert early[0] <= whole[0] <= whole[1] <= early[1]
    stopped, full = rule.evidence(look, at_looks[stop]), rule.evidence(n, s[-1])
    assert stopped[0] <= full[0] and stopped[1] <= full[1]


def test_bounds_of_all_draws_are_those_of_clopper_and_pearson() -> None:
    rule = FixedN.design(0.1, 0.01, 200)
    s = np.arange(201)
    found, expected = rule.bounds(200, s), clopper_pearson(s, 200, 0.98)
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, rtol=1e-12)


# ---------------------------------------------------------------- Wald
def ratios(n: int, s: int, t: float) -> tuple[float, float]:
    """ln L_low and ln L_high of the tolerance t, from the definition."""
    low = s * np.log(0.5) + (n - s) * (np.log1p(-t / 2) - np.log1p(-t))
    if t >= 0.5:
        return float(low), -np.inf if n > s else float(s * np.log(2))
    return float(low), float(
        s * np.log(2) + (n - s) * (np.log1p(-2 * t) - np.log1p(-t))
    )


@pytest.mark.parametrize(
    "tolerance, level", [(0.2, 0.04), (0.01, 0.01), (0.001, 0.001)]
)
def test_closed_bounds_are_the_roots_of_the_two_ratios(tolerance, level) -> None:
    rule, bar = Sprt.design(tolerance, level, 5000), bar_of(level)
    pairs = [(n, s) for n in (8, 50, 915, 5000) for s in (0, 1, 3, 20, 300)]
    for n, s in [pair for pair in pairs if 2 * pair[1] < pair[0]]:
        lower, upper = (float(side) for side in rule.bounds(n, s))
        root = optimize.brentq(
            lambda t: ratios(n, s, t)[0] - bar, 1e-12, 1 - 1e-15, xtol=1e-15
        )
        assert upper == pytest.approx(root, rel=1e-9)
        if s * np.log(2) <= bar:
            assert lower == 0
            continue
        root = optimize.brentq(
            lambda t: ratios(n, s, t)[1] - bar, 1e-12, 0.5 - 1e-16, xtol=1e-16
        )
        assert lower == pytest.approx(root, rel=1e-9)


def test_nothing_but_failures_shows_at_most_a_half() -> None:
    rule = Sprt.design(0.01, 0.01, 100)
    assert [float(side) for side in rule.bounds(8, 8)] == [0.5, 1.0]
    assert [float(side) for side in rule.bounds(5, 5)] == [0.0, 1.0]


@pytest.mark.parametrize(
    "tolerance, level", [(0.2, 0.04), (0.01, 0.01), (0.001, 0.001)]
)
def test_limits_of_wald_are_the_inequalities_themselves(tolerance, level) -> None:
    """Certify, refute and give up, for every count at every look."""
    table, bar = Sprt.design(tolerance, level, 20_000).boundaries, bar_of(level)
    assert table.give_up_from is not None and table.give_up_to is not None
    gave_up = 0
    for i, n in enumerate(table.looks.tolist()):
        s = np.arange(min(n, int(table.refute_at[i]) + 30) + 1)
        low, high = np.array([ratios(n, int(v), tolerance) for v in s]).T
        assert ((s <= table.certify_at[i]) == (low >= bar)).all()
        assert ((s >= table.refute_at[i]) == (high >= bar)).all()
        away = (s >= table.give_up_from[i]) & (s <= table.give_up_to[i])
        assert (away == ((-low >= bar) & (-high >= bar))).all()
        gave_up += int(away.sum())
    assert gave_up > 0 or tolerance == 0.001


def test_a_tolerance_of_a_half_has_no_double() -> None:
    with pytest.raises(ConfigError, match="test='eprocess'"):
        Sprt.design(0.5, 0.01, 1000)
    assert Sprt.design(0.499, 0.01, 1000).least_n is not None


# ---------------------------------------------------------------- group
def stage_masses(rule: GroupSequential, p: Fraction) -> list[dict[int, Fraction]]:
    """P(s failures at look j, undecided before), draw by draw in fractions."""
    table, alive, drawn = rule.boundaries, {0: Fraction(1)}, 0
    found = []
    for index, look in enumerate(table.looks.tolist()):
        for _ in range(look - drawn):
            grown: dict[int, Fraction] = {}
            for s, chance in alive.items():
                grown[s] = grown.get(s, Fraction(0)) + chance * (1 - p)
                grown[s + 1] = grown.get(s + 1, Fraction(0)) + chance * p
            alive = grown
        found.append(alive)
        drawn = look
        alive = {s: c for s, c in alive.items() if not table.decide(index, s)}
    return found


def by_stage(rule: GroupSequential, index: int, s: int, p: Fraction, side: int):
    """P(an outcome at least as strong as s at look `index`): decided before, or beyond s here."""
    masses, table = stage_masses(rule, p), rule.boundaries
    wanted = 1 if side == 0 else 2
    total = Fraction(0)
    for j in range(index):
        total += sum(c for v, c in masses[j].items() if table.decide(j, v) == wanted)
    here = masses[index].items()
    return total + sum(c for v, c in here if (v <= s if side == 0 else v >= s))


TINY = [
    (Fraction(3, 10), 0.1, 24),
    (Fraction(1, 5), 0.2, 17),
    (Fraction(1, 2), 0.05, 20),
]


@pytest.mark.parametrize("k, level, n_max", TINY)
def test_limits_spend_their_level_and_no_wider_ones_would(k, level, n_max) -> None:
    rule = GroupSequential.design(float(k), level, n_max)
    table = rule.boundaries
    for j, (look, masses) in enumerate(
        zip(table.looks.tolist(), stage_masses(rule, k))
    ):
        allowed = Fraction(level) * look / n_max
        for side, limit in enumerate((table.certify_at[j], table.refute_at[j])):
            wider = int(limit) + (1 if side == 0 else -1)
            if min(masses) <= limit <= max(masses):
                assert by_stage(rule, j, int(limit), k, side) <= allowed
            beyond = max(wider, min(masses)) if side == 0 else min(wider, max(masses))
            assert by_stage(rule, j, beyond, k, side) > allowed


@pytest.mark.parametrize(
    "tolerance, level, n_max", [(0.1, 0.01, 900), (0.01, 0.001, 9000)]
)
def test_each_look_spends_at_most_its_share(tolerance, level, n_max: int) -> None:
    """By the recursion of its own module, look by look."""
    table = GroupSequential.design(tolerance, level, n_max).boundaries
    columns = (table.looks, table.certify_at, table.refute_at)
    for j, look in enumerate(table.looks):
        cut = type(table)(tolerance, level, *(column[: j + 1] for column in columns))
        found = operating(cut, tolerance)
        share = level * look / n_max * (1 + 1e-12)
        assert found.certified <= share and found.refuted <= share
        for step in ((1, 0), (0, -1)):
            wider = type(table)(tolerance, level, *(c[: j + 1].copy() for c in columns))
            wider.certify_at[-1] += step[0]
            wider.refute_at[-1] += step[1]
            more = operating(wider, tolerance)
            assert (more.certified if step[0] else more.refuted) > share


def p_at_every_look(rule: GroupSequential, index: int, s: int, p: Fraction, side: int):
    """By stage where the side is decided; else all that the plan may decide, and the tail here.

    Returns the p-value against the rate p by the binomial tail, and by the paths that are left.
    """
    table, masses = rule.boundaries, stage_masses(rule, p)
    wanted, n = 1 if side == 0 else 2, int(table.looks[index])
    if table.decide(index, s) == wanted:
        return (by_stage(rule, index, s, p, side),) * 2
    decided = [
        sum(c for v, c in here.items() if table.decide(j, v) == wanted)
        for j, here in enumerate(masses)
    ]
    before = int(table.looks[index - 1]) if index else 0
    share = Fraction(n - before, int(table.looks[-1]))
    counts = range(s + 1) if side == 0 else range(s, n + 1)
    tail = sum(math.comb(n, v) * p**v * (1 - p) ** (n - v) for v in counts)
    left = sum(
        masses[index].get(v, Fraction(0))
        for v in counts
        if table.decide(index, v) != wanted
    )
    return tuple(min(sum(decided) + one / share, Fraction(1)) for one in (tail, left))


@pytest.mark.parametrize("k, level, n_max", TINY)
def test_p_values_are_those_of_the_definition(k, level, n_max) -> None:
    rule = GroupSequential.design(float(k), level, n_max)
    for j, masses in enumerate(stage_masses(rule, k)):
        look = int(rule.boundaries.looks[j])
        for s, side in product(masses, (0, 1)):
            exact = float(p_at_every_look(rule, j, s, k, side)[1])
            if rule.boundaries.decide(j, s) != side + 1:
                exact = min(max(exact, level * (1 + 1e-9)), 1.0)
            assert np.exp(-rule.evidence(look, s)[side]) == pytest.approx(
                exact, rel=1e-10
            )
            for rate in (Fraction(1, 50), Fraction(4, 5)):
                exact = float(p_at_every_look(rule, j, s, rate, side)[0])
                log_p = rule.p_value(look, s, side)(float(special.logit(float(rate))))
                assert np.exp(log_p) == pytest.approx(exact, rel=1e-10)


@pytest.mark.parametrize("k, level, n_max", TINY)
def test_bounds_are_the_rates_of_which_the_level_is_left(k, level, n_max) -> None:
    rule, target = GroupSequential.design(float(k), level, n_max), Fraction(level)
    for j, masses in enumerate(stage_masses(rule, k)):
        look = int(rule.boundaries.looks[j])
        for s in masses:
            for bound, side in zip(rule.bounds(look, s), (1, 0)):

                def p_at(rate: Fraction) -> Fraction:
                    return p_at_every_look(rule, j, s, rate, side)[0]

                if float(bound) in (0.0, 1.0):
                    edge = Fraction(1, 10**12) if side else 1 - Fraction(1, 10**12)
                    assert p_at(edge) > target
                    continue
                step = (1 if side == 0 else -1) * Fraction(1, 10**8)
                near = Fraction(float(bound))
                assert p_at(near + step) < target
                assert p_at(near - step) > target


def test_many_rows_of_a_group_test_cost_a_second_at_most() -> None:
    """A p-value was a sum for every row, and a bound took 30 ms: minutes for 10,000 images."""
    rule = GroupSequential.design(0.01, 0.01, 20_000)
    n = np.repeat(rule.boundaries.looks, 800)
    s = np.arange(len(n)) % 8
    evidence, bounds = rule.evidence(n, s), rule.bounds(n, s)
    for i in (0, 700, len(n) - 1):
        assert evidence[0][i] == rule.evidence(n[i], s[i])[0]
        assert bounds[1][i] == rule.bounds(n[i], s[i])[1]
