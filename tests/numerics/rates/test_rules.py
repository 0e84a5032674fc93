"""Do table, evidence and bounds of every test tell one story, and is that story true?

Nothing is random: the law of (draws, failures) at the stop is summed up look by look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.numerics.rates.evalues import bar_of
from torchattacks_ext.numerics.rates.fixed import FixedN
from torchattacks_ext.numerics.rates.group import GroupSequential
from torchattacks_ext.numerics.rates.operating import operating
from torchattacks_ext.numerics.rates.rules import EProcess, Rule
from torchattacks_ext.numerics.rates.sprt import Sprt

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

MAKE: dict[str, Callable[[float, float, int], Rule]] = {
    "eprocess": EProcess.design,
    "fixed": FixedN.design,
    "sprt": Sprt.design,
    "group": GroupSequential.design,
}
N_MAX = {0.1: 700, 0.05: 1500, 0.01: 6000, 0.001: 20_000}
SETTINGS = [
    (name, tolerance, level)
    for name in MAKE
    for tolerance in N_MAX
    for level in (0.01, 0.001)
]
every_rule = pytest.mark.parametrize("name, tolerance, level", SETTINGS)
_MADE: dict[tuple[str, float, float], Rule] = {}


def made(name: str, tolerance: float, level: float) -> Rule:
    key = name, tolerance, level
    if key not in _MADE:
        _MADE[key] = MAKE[name](tolerance, level, N_MAX[tolerance])
    return _MADE[key]


def reachable(rule: Rule, index: int) -> IntArray:
    """Counts at a look from 0 to well beyond every limit; of a group test those that occur."""
    table = rule.boundaries
    look, most = int(table.looks[index]), int(table.refute_at[index]) + 12
    if table.give_up_to is not None:
        most = max(most, int(table.give_up_to[index]) + 12)
    least = 0
    if isinstance(rule, GroupSequential):
        stage = rule.stages[index]
        least, most = stage.first, min(most, stage.first + len(stage.mass) - 1)
    return np.arange(least, min(most, look) + 1)


def outcomes(rule: Rule, p: float) -> Iterator[tuple[int, IntArray, FloatArray]]:
    """(n, s, probability) of every way to stop at each look, where draws fail at rate p."""
    table, alive, first, drawn = rule.boundaries, np.ones(1), 0, 0
    for index, look in enumerate(table.looks.tolist()):
        more = stats.binom.pmf(np.arange(look - drawn + 1), look - drawn, p)
        alive = np.convolve(alive, more[: np.flatnonzero(more)[-1] + 1])
        s = first + np.arange(len(alive))
        over = table.over(index, s)
        yield look, s[over], alive[over]
        alive = np.where(over, 0.0, alive)
        left = np.flatnonzero(alive > 1e-40)
        if not left.size:
            return
        alive, first = alive[left[0] : left[-1] + 1], first + int(left[0])
        drawn = look


# ---------------------------------------------------------------- one story
@every_rule
def test_verdict_of_the_table_is_the_verdict_of_the_bounds(
    name: str, tolerance: float, level: float
) -> None:
    rule = made(name, tolerance, level)
    table = rule.boundaries
    for index, look in enumerate(table.looks):
        s = reachable(rule, index)
        lower, upper = rule.bounds(look, s)
        verdict = np.where(lower > tolerance, 2, np.where(upper <= tolerance, 1, 0))
        assert verdict.tolist() == table.decide(index, s).tolist(), look
        assert (lower <= upper).all() and (lower >= 0).all() and (upper <= 1).all()
        for side in (lower, upper):  # roots are found to 12 digits
            assert (np.diff(side) >= -1e-11 * side[1:]).all(), look
        if table.give_up_from is not None and table.give_up_to is not None:
            away = (s >= table.give_up_from[index]) & (s <= table.give_up_to[index])
            assert (verdict[away] == 0).all() and table.over(index, s)[away].all()


@every_rule
def test_no_draw_says_nothing(name: str, tolerance: float, level: float) -> None:
    rule = made(name, tolerance, level)
    assert [float(side) for side in rule.bounds(0, 0)] == [0.0, 1.0]
    assert [float(side) for side in rule.evidence(0, 0)] == [0.0, 0.0]


@every_rule
def test_evidence_reaches_its_bar_where_and_only_where_the_table_decides(
    name: str, tolerance: float, level: float
) -> None:
    """The bar of a group test is what each side may have spent by that look."""
    rule = made(name, tolerance, level)
    table = rule.boundaries
    for index, look in enumerate(table.looks):
        s = reachable(rule, index)
        low, high = rule.evidence(look, s)
        assert (np.diff(low) <= 0).all() and (np.diff(high) >= 0).all()
        bar = bar_of(level) if rule.anytime else -np.log(level)
        if name == "group":
            bar = -np.log(level * look / table.n_max)
        verdict = table.decide(index, s)
        assert ((low >= bar) == (verdict == 1)).all(), look
        assert ((high >= bar) == (verdict == 2)).all(), look


@every_rule
def test_e_values_are_the_evidence_of_anytime_tests_and_nan_else(
    name: str, tolerance: float, level: float
) -> None:
    rule = made(name, tolerance, level)
    look = rule.boundaries.looks[-1]
    pairs = zip(rule.log_e(look, [0, 1, 2]), rule.evidence(look, [0, 1, 2]))
    for found, evidence in pairs:
        assert rule.anytime == (name in ("eprocess", "sprt"))
        expected = evidence if rule.anytime else np.full(3, np.nan)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", MAKE)
def test_counts_that_cannot_be_are_refused(name: str) -> None:
    rule = made(name, 0.1, 0.01)
    for f in (rule.bounds, rule.evidence):
        with pytest.raises(InputError, match="outside 0 <= s <= n"):
            f(8, 9)
        with pytest.raises(InputError, match="integers"):
            f(8, 0.5)


@pytest.mark.parametrize("name", MAKE)
def test_shapes_are_those_of_the_counts(name: str) -> None:
    rule = made(name, 0.1, 0.01)
    n = rule.boundaries.looks[[[-2, -1], [-1, -2]]]
    for f in (rule.bounds, rule.evidence):
        for side, table in enumerate(f(n, [3, 9])):
            assert table.shape == (2, 2)
            assert table[1, 0] == f(n[1, 0], 3)[side] == f([n[1, 0]], [3])[side][0]


# ---------------------------------------------------------------- errors, exactly
@every_rule
def test_wrong_claims_stay_within_the_level(
    name: str, tolerance: float, level: float
) -> None:
    """At the tolerance, and less often the farther the rate lies inside the null."""
    table = made(name, tolerance, level).boundaries
    beyond = [operating(table, x * tolerance).certified for x in (1, 1.3, 2, 5)]
    inside = [operating(table, x * tolerance).refuted for x in (1, 0.8, 0.5, 0.1)]
    for errors in (beyond, inside):
        assert 0 < errors[0] <= level
        assert errors == sorted(errors, reverse=True)


@every_rule
def test_the_sum_over_outcomes_is_the_fast_recursion(
    name: str, tolerance: float, level: float
) -> None:
    rule = made(name, tolerance, level)
    for p in (0.3 * tolerance, tolerance, 2 * tolerance):
        found = np.zeros(3)
        mean_n = 0.0
        for index, (look, s, chance) in enumerate(outcomes(rule, p)):
            verdict = rule.boundaries.decide(index, s)
            np.add.at(found, verdict, chance)
            mean_n += look * chance.sum()
        expected = operating(rule.boundaries, p)
        ordered = [expected.undecided, expected.certified, expected.refuted]
        np.testing.assert_allclose(found, ordered, rtol=1e-8, atol=1e-30)
        assert mean_n == pytest.approx(expected.mean_n, rel=1e-9)


@every_rule
def test_bounds_at_the_stop_cover(name: str, tolerance: float, level: float) -> None:
    """P(upper < p) and P(lower > p) at the stop are each at most the level, for every p."""
    rule = made(name, tolerance, level)
    rates = np.array([0.02, 0.2, 0.5, 0.8, 0.97, 1, 1.03, 1.3, 2, 3, 6]) * tolerance
    ends: dict[int, list[tuple[int, IntArray, FloatArray]]] = {}
    for i, p in enumerate(rates):
        for look, s, chance in outcomes(rule, p):
            ends.setdefault(look, []).append((i, s, chance))
    above, below, total = np.zeros((3, len(rates)))
    for look, here in ends.items():
        asked = np.unique(np.concatenate([s[c > 1e-9 * level] for _, s, c in here]))
        lower, upper = rule.bounds(look, asked)  # once for all rates: most s are shared
        for i, s, chance in here:
            kept = chance > 1e-9 * level
            at, left_out = np.searchsorted(asked, s[kept]), chance[~kept].sum()
            total[i] += chance[kept].sum()
            above[i] += chance[kept][upper[at] < rates[i]].sum() + left_out
            below[i] += chance[kept][lower[at] > rates[i]].sum() + left_out
    np.testing.assert_allclose(total, 1, rtol=0, atol=1e-9)
    assert (above <= level * (1 + 1e-6)).all() and (below <= level * (1 + 1e-6)).all()


@pytest.mark.parametrize("name", ["eprocess", "sprt"])
def test_an_anytime_e_value_has_mean_one_at_the_tolerance(name: str) -> None:
    """At the stop too (a bounded one), and at most 1 farther inside the null."""
    for tolerance in (0.1, 0.01):
        rule = made(name, tolerance, 0.01)
        for factor in (1.0, 1.2, 2.0, 1 / 1.2, 0.5):
            low = high = 0.0
            for look, s, chance in outcomes(rule, factor * tolerance):
                e_low, e_high = rule.log_e(look, s)
                low += float(chance @ np.exp(e_low))
                high += float(chance @ np.exp(e_high))
            if factor == 1:
                assert low == pytest.approx(1, rel=1e-8)
                assert high == pytest.approx(1, rel=1e-8)
            elif factor > 1:
                assert low < 1
            else:
                assert high < 1


# ---------------------------------------------------------------- what a design can do
@every_rule
def test_least_n_is_where_zero_failures_first_certify(
    name: str, tolerance: float, level: float
) -> None:
    rule = made(name, tolerance, level)
    table = rule.boundaries
    able = [n for i, n in enumerate(table.looks.tolist()) if table.decide(i, 0) == 1]
    assert rule.least_n == able[0]
    assert operating(table, 0.0).mean_n == able[0]
    assert operating(table, 0.0).certified == 1


@pytest.mark.parametrize("name", MAKE)
def test_a_design_that_cannot_certify_says_so(name: str) -> None:
    if name == "fixed":
        with pytest.raises(ConfigError, match="n_max >= 459"):
            MAKE[name](0.01, 0.01, 458)
        return
    rule = MAKE[name](0.01, 0.01, 400)
    assert rule.least_n is None and rule.weak
    assert operating(rule.boundaries, 0.0).undecided == 1


@pytest.mark.parametrize(
    "name, small, enough",
    [
        ("eprocess", 1_000, 20_000),
        ("fixed", 500, 6_314),
        ("sprt", 1_000, 20_000),
        ("group", 800, 20_000),
    ],
)
def test_weak_designs_miss_half_the_tolerance(
    name: str, small: int, enough: int
) -> None:
    """Weak: below even chances at tolerance / 2; not weak: more than even ones."""
    few, many = (MAKE[name](0.01, 0.01, n) for n in (small, enough))
    assert few.weak and operating(few.boundaries, 0.005).certified < 0.5
    assert not many.weak and operating(many.boundaries, 0.005).certified > 0.5


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize(
    "tolerance, level, n_max",
    [(0.0, 0.01, 900), (1.0, 0.01, 900), (0.1, 0.5, 900), (0.1, 0.01, 0)],
)
def test_settings_outside_their_domain_are_refused(
    name: str, tolerance: float, level: float, n_max: int
) -> None:
    with pytest.raises(ConfigError):
        MAKE[name](tolerance, level, n_max)


@pytest.mark.parametrize("name", ["eprocess", "sprt"])
def test_a_larger_budget_only_adds_looks(name: str) -> None:
    """So that a run which goes on decides as one long run would have done."""
    short, long = MAKE[name](0.01, 0.01, 1000), MAKE[name](0.01, 0.01, 30_000)
    few = len(short.boundaries.looks)
    columns = ["looks", "certify_at", "refute_at"]
    if name == "sprt":
        columns += ["give_up_from", "give_up_to"]
    for column in columns:
        one, other = (getattr(rule.boundaries, column) for rule in (short, long))
        assert one.tolist() == other[:few].tolist(), column
