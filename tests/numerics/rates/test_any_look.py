"""Do p-values and bounds hold at all looks together, however a run is stopped and gone on with?

Exact: P(some look before the end says something false), summed up look by look. A reader who stops
when it suits him, or resumes until it does, cannot do worse than that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from torchattacks_ext.numerics.rates.fixed import FixedN
from torchattacks_ext.numerics.rates.group import GroupSequential
from torchattacks_ext.numerics.rates.rules import EProcess, Rule
from torchattacks_ext.numerics.rates.sprt import Sprt

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Wrong = Callable[[int, Counts], NDArray[np.bool_]]

MAKE: dict[str, Callable[[float, float, int], Rule]] = {
    "eprocess": EProcess.design,
    "fixed": FixedN.design,
    "sprt": Sprt.design,
    "group": GroupSequential.design,
}
SLOW = pytest.mark.slow
DESIGNS = [
    ("group", 0.1, 0.05, 256),
    ("eprocess", 0.1, 0.05, 256),
    ("sprt", 0.1, 0.05, 256),
    ("fixed", 0.1, 0.05, 256),
    ("group", 0.5, 0.05, 128),
    ("group", 0.3, 0.2, 14),  # one look
    ("group", 0.1, 0.05, 97),  # looks that are no halves
    pytest.param("group", 0.01, 0.01, 4_000, marks=SLOW),
    pytest.param("group", 0.01, 0.001, 20_000, marks=SLOW),
    pytest.param("eprocess", 0.01, 0.01, 4_000, marks=SLOW),
    pytest.param("sprt", 0.01, 0.01, 4_000, marks=SLOW),
    pytest.param("fixed", 0.01, 0.01, 4_000, marks=SLOW),
]
every_design = pytest.mark.parametrize("name, tolerance, level, n_max", DESIGNS)
SIDES = pytest.mark.parametrize("side", [0, 1], ids=["robust", "not_robust"])


class Told:
    """What a rule says of (look, failures): p-values and bounds, each asked once."""

    def __init__(self, rule: Rule) -> None:
        self.rule, self._seen = rule, dict[int, Floats]()

    def __call__(self, n: int, s: Counts) -> Floats:
        """(4, len(s)): p of "robust" and of "not robust" as PRTest writes them, upper, lower."""
        if n not in self._seen:
            self._seen[n] = np.full((4, n + 1), np.nan)
        table = self._seen[n]
        new = s[np.isnan(table[0, s])]
        if new.size:
            p = [np.exp(-np.maximum(x, 0)) for x in self.rule.evidence(n, new)]
            table[:, new] = *p, *self.rule.bounds(n, new)[::-1]
        return np.asarray(table[:, s])

    def p_at_most(self, side: int, a: float) -> Wrong:
        """Whether the p-value against the null of this side is at most a."""
        return lambda n, s: self(n, s)[side] <= a

    def beyond(self, side: int, rate: float) -> Wrong:
        """Whether the upper bound is below the rate (side 0), or the lower one above it."""
        return lambda n, s: (
            self(n, s)[2] < rate if side == 0 else self(n, s)[3] > rate
        )


@lru_cache(maxsize=None)
def made(name: str, tolerance: float, level: float, n_max: int) -> Told:
    return Told(MAKE[name](tolerance, level, n_max))


@lru_cache(maxsize=None)
def draws(n: int, p: float) -> Floats:
    more = stats.binom.pmf(np.arange(n + 1), n, p)
    return np.asarray(more[: np.flatnonzero(more > 1e-30)[-1] + 1])


def at_some_look(rule: Rule, p: float, wrong: Wrong) -> float:
    """P(wrong(draws, failures) at some look up to the test's end), where draws fail at rate p.

    Outcomes that come less often than once in 1e14 are taken as wrong without being asked.
    """
    table, alive, first, drawn, total = rule.boundaries, np.ones(1), 0, 0, 0.0
    for index, look in enumerate(table.looks.tolist()):
        alive = np.convolve(alive, draws(look - drawn, p))
        s, drawn = first + np.arange(len(alive)), look
        bad, likely = alive > 0, alive > 1e-14
        bad[likely] = wrong(look, s[likely])
        total += float(alive[bad].sum())
        alive = np.where(bad | table.over(index, s), 0.0, alive)
        left = np.flatnonzero(alive)
        if not left.size:
            break
        alive, first = alive[left[0] : left[-1] + 1], first + int(left[0])
    return total


# ---------------------------------------------------------------- valid
@SIDES
@every_design
def test_p_values_are_valid_at_any_look(
    name: str, tolerance: float, level: float, n_max: int, side: int
) -> None:
    """P(p <= a at some look) <= a at the tolerance, for every a; less often farther inside."""
    told = made(name, tolerance, level, n_max)
    found = {
        a: at_some_look(told.rule, tolerance, told.p_at_most(side, a))
        for a in (*np.geomspace(level / 50, 0.95, 10), level)
    }
    assert all(chance <= a * (1 + 1e-9) for a, chance in found.items()), found
    assert found[level] > level / 4
    inside = 1.3 * tolerance if side == 0 else tolerance / 1.3
    wrong = told.p_at_most(side, level)
    assert at_some_look(told.rule, inside, wrong) < found[level]


@SIDES
@every_design
def test_bounds_are_valid_at_any_look(
    name: str, tolerance: float, level: float, n_max: int, side: int
) -> None:
    """P(the bound excludes the rate at some look) <= level, for rates on all sides."""
    told, found = made(name, tolerance, level, n_max), []
    for factor in (0.2, 0.5, 0.8, 0.97, 1, 1.03, 1.2, 1.8):
        rate = factor * tolerance
        found.append(at_some_look(told.rule, rate, told.beyond(side, rate)))
    assert max(found) <= level * (1 + 1e-9), found
    assert max(found) > level / 8


@every_design
def test_verdict_p_value_and_bounds_agree_at_every_look(
    name: str, tolerance: float, level: float, n_max: int
) -> None:
    """Decided where, and only where, p is at most the level and the bound beyond the tolerance."""
    told = made(name, tolerance, level, n_max)
    table = told.rule.boundaries
    for index, look in enumerate(table.looks.tolist()):
        most = int(min(look, stats.binom.isf(1e-9, look, tolerance) + 3))
        s = np.arange(int(stats.binom.ppf(1e-9, look, tolerance)), most + 1)
        verdict = table.decide(index, s)
        low, high, upper, lower = told(look, s)
        assert ((low <= level) == (verdict == 1)).all(), look
        assert ((high <= level) == (verdict == 2)).all(), look
        assert ((upper <= tolerance) == (verdict == 1)).all(), look
        assert ((lower > tolerance) == (verdict == 2)).all(), look
        assert (np.diff(low) >= -1e-12).all() and (np.diff(high) <= 1e-12).all()
        assert (lower <= upper).all()


# ---------------------------------------------------------------- exact tables
TABLE = {
    ("group", 0.1, 0.05, 256): [0.03546, 0.04017, 0.02834, 0.02149],
    ("group", 0.5, 0.05, 128): [0.04705, 0.04705, 0.03106, 0.03106],
    ("eprocess", 0.1, 0.05, 256): [0.04005, 0.01864, 0.03042, 0.01576],
    ("sprt", 0.1, 0.05, 256): [0.03936, 0.03222, 0.03346, 0.02714],
    ("fixed", 0.1, 0.05, 256): [0.04009, 0.03618, 0.00429, 0.02853],
}
SLOW_TABLE = {
    ("group", 0.01, 0.01, 4000): [0.00899, 0.00952, 0.00462, 0.00685],
    ("eprocess", 0.01, 0.01, 4000): [0.00869, 0.00328, 0.00652, 0.00344],
    ("sprt", 0.01, 0.01, 4000): [0.00769, 0.00579, 0.00625, 0.00533],
    ("fixed", 0.01, 0.01, 4000): [0.00734, 0.00936, 0.00019, 0.00712],
}


@pytest.mark.parametrize(
    "design, expected",
    [*TABLE.items(), *(pytest.param(*row, marks=SLOW) for row in SLOW_TABLE.items())],
)
def test_false_claims_at_some_look(
    design: tuple[str, float, float, int], expected: list[float]
) -> None:
    """p of either side <= level at the tolerance; upper < 1.2, lower > 0.8 of it, there."""
    told, (_, tolerance, level, _) = made(*design), design
    wrong = [(tolerance, told.p_at_most(side, level)) for side in (0, 1)]
    for side, rate in ((0, 1.2 * tolerance), (1, 0.8 * tolerance)):
        wrong.append((rate, told.beyond(side, rate)))
    found = [round(at_some_look(told.rule, rate, bad), 5) for rate, bad in wrong]
    assert found == expected


def test_the_p_value_of_a_finished_plan_is_not_one_at_every_look() -> None:
    """By stage alone, exact at the end: .107 for .05 where it is read on the way."""
    rule = GroupSequential.design(0.5, 0.05, 128)
    looks = rule.boundaries.looks.tolist()

    def by_stage(n: int, s: Counts) -> NDArray[np.bool_]:
        stage = rule.stages[looks.index(n)]
        p = stage.below[np.clip(s - stage.first + 1, 0, len(stage.mass))]
        return np.asarray(p <= 0.05)

    assert round(at_some_look(rule, 0.5, by_stage), 4) == 0.1066


def test_a_plan_of_one_look_has_the_exact_binomial_p_value() -> None:
    """Nothing to peek at: the repeated p-value is the plain one."""
    rule, s = GroupSequential.design(0.3, 0.2, 14), np.arange(15)
    assert rule.boundaries.looks.tolist() == [14]
    low, high = (np.exp(-side) for side in rule.evidence(14, s))
    np.testing.assert_allclose(low, stats.binom.cdf(s, 14, 0.3), rtol=1e-9)
    np.testing.assert_allclose(high, stats.binom.sf(s - 1, 14, 0.3), rtol=1e-9)
