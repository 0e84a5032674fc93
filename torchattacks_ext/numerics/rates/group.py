"""Is the failure rate tolerable, with a few planned looks? An exact group-sequential test.

The looks halve the budget: N, N/2, N/4, ... down to 8 draws. Each side may spend its level in
proportion to the draws, significance * n_j / N by look j (Lan & DeMets 1983), and the limits are
the widest integers that keep to it, by the exact binomial distribution of the failures that are
still undecided (no normal approximation). Because more failures never help to certify, the level
at p_fail = tolerance bounds the level at every p_fail beyond it.

p-values and bounds order the outcomes by stage (Armitage 1957; Tsiatis, Rosner & Mehta 1984):
certified earlier is stronger than certified later. They are meant for the planned looks; for any
other way of stopping use the e-process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special, stats

from ..incbeta import FloatArray
from .evalues import IntArray, as_counts
from .rules import Rule
from .sequential import Boundaries, check_design

_FIRST = 8
_LOGIT_EDGE = 60.0


@dataclass(frozen=True, eq=False)
class Stage:
    """What is known beforehand of one look: mass[i] = P(s = first + i, undecided before | k).

    level: what each side may have spent by then. below[i] = P(certified before, or here with
    s < first + i | k), above[i] = P(refuted before, or here with s >= first + i | k).
    """

    n: int
    first: int
    mass: FloatArray
    level: float
    below: FloatArray
    above: FloatArray


@dataclass(frozen=True, eq=False)
class GroupSequential(Rule):
    """The group-sequential test with looks at N / 2^j and levels spent as n_j / N.

    >>> rule = GroupSequential.design(0.01, 0.01, 4000)
    >>> rule.boundaries.looks[-3:], rule.boundaries.certify_at[-3:]
    (array([1000, 2000, 4000]), array([ 1,  8, 25]))
    """

    name = "group"
    anytime = False

    stages: tuple[Stage, ...] = ()

    @classmethod
    def design(
        cls, tolerance: float, significance: float, n_max: int
    ) -> GroupSequential:
        """The test with N = `n_max` draws. Raises ConfigError as `check_design` does."""
        check_design(tolerance, significance, n_max)
        return _design(float(tolerance), float(significance), int(n_max))

    def evidence(self, n: ArrayLike, s: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """-ln p by stage, at the look where the test stopped."""
        n, s = as_counts(n, s)
        below, above = np.ones(n.shape), np.ones(n.shape)
        place = np.searchsorted(self.boundaries.looks, n)
        for j, stage in enumerate(self.stages):
            here = (n > 0) & (place == j)
            i, most = s[here] - stage.first, len(stage.mass)
            below[here] = stage.below[np.clip(i + 1, 0, most)]
            above[here] = stage.above[np.clip(i, 0, most)]
        with np.errstate(divide="ignore"):
            return -np.log(np.minimum(below, 1)), -np.log(np.minimum(above, 1))

    def bounds(self, n: ArrayLike, s: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Where the p-value by stage reaches what the level has spent by that look."""
        n, s = as_counts(n, s)
        pairs, where = np.unique(
            np.stack([n.ravel(), s.ravel()]), axis=1, return_inverse=True
        )
        sides = [
            [_root(self, int(a), int(b), side) for side in (1, 0)] for a, b in pairs.T
        ]
        table = np.asarray(sides, dtype=np.float64).reshape(-1, 2)[where.ravel()]
        lower, upper = (table[:, i].reshape(n.shape) for i in (0, 1))
        place = np.searchsorted(self.boundaries.looks, n)
        looked = n > 0
        place = np.where(looked, place, 0)
        certified = looked & (s <= self.boundaries.certify_at[place])
        refuted = looked & (s >= self.boundaries.refute_at[place])
        return self.agree(lower, upper, certified, refuted)

    def p_value(self, n: int, s: int, side: int) -> Callable[[float], float]:
        """logit rate -> ln P(an outcome at least as strong as (n, s) | p_fail = rate).

        side 0 for "p_fail >= rate", 1 for "p_fail <= rate"; n is one of the looks.
        """
        table, k = self.boundaries, self.boundaries.tolerance
        place = int(np.searchsorted(table.looks, n))
        ends = table.certify_at if side == 0 else table.refute_at
        limits = [*ends[:place].tolist(), s]
        log_mass, fails, passes = [], [], []
        for stage, limit in zip(self.stages, limits):
            counts = stage.first + np.flatnonzero(stage.mass > 0)
            kept = counts[counts <= limit if side == 0 else counts >= limit]
            log_mass.append(np.log(stage.mass[kept - stage.first]))
            fails.append(kept)
            passes.append(stage.n - kept)
        weight, fail, right = (np.concatenate(c) for c in (log_mass, fails, passes))
        weight = weight - fail * np.log(k) - right * np.log1p(-k)

        def log_p(logit: float) -> float:
            log_rate, log_rest = -np.logaddexp(0, -logit), -np.logaddexp(0, logit)
            terms = weight + fail * log_rate + right * log_rest
            most = terms.max(initial=-1e300)
            return min(float(most + np.log(np.exp(terms - most).sum() or 1)), 0.0)

        return log_p


@lru_cache(maxsize=64)
def _design(tolerance: float, significance: float, n_max: int) -> GroupSequential:
    looks = _halving(n_max)
    certify, refute = np.full_like(looks, -1), looks + 1
    stages: list[Stage] = []
    alive, first, spent_low, spent_high = np.ones(1), 0, 0.0, 0.0
    for j, (n, before) in enumerate(zip(looks, np.append(0, looks[:-1]))):
        more = stats.binom.pmf(np.arange(n - before + 1), n - before, tolerance)
        mass = np.convolve(alive, more)
        level = float(significance * n / n_max)
        below = spent_low + np.append(0.0, np.cumsum(mass))
        above = spent_high + np.append(np.cumsum(mass[::-1])[::-1], 0.0)
        stages.append(Stage(int(n), first, mass, level, below, above))
        n_low = int(np.searchsorted(below[1:], level, side="right"))  # that certify
        n_keep = int((above[:-1] > level).sum())  # counts that do not refute
        if n_low:
            certify[j], spent_low = first + n_low - 1, float(below[n_low])
        if n_keep < len(mass):
            refute[j], spent_high = first + n_keep, float(above[n_keep])
        alive, first = mass[n_low:n_keep], first + n_low
    table = Boundaries(tolerance, significance, looks, certify, refute)
    return GroupSequential(table, tuple(stages))


def _halving(n_max: int) -> IntArray:
    """``n_max / 2^j`` rounded, ascending, from 8 draws on (or n_max alone)."""
    looks = [n_max]
    while round(n_max / 2 ** len(looks)) >= _FIRST:
        looks.append(round(n_max / 2 ** len(looks)))
    return np.asarray(looks[::-1], dtype=np.int64)


@lru_cache(maxsize=4096)
def _root(rule: GroupSequential, n: int, s: int, side: int) -> float:
    """The rate whose p-value by stage is what may be spent by n; 1 or 0 where there is none."""
    if n == 0:
        return float(side == 0)
    place = int(np.searchsorted(rule.boundaries.looks, n))
    target, log_p = np.log(rule.stages[place].level), rule.p_value(n, s, side)

    def gap(logit: float) -> float:
        return float(log_p(logit) - target)

    ends = (-_LOGIT_EDGE, 36.0)  # expit(36) is just below 1
    if side == 0 and gap(ends[1]) > 0:
        return 1.0
    if side == 1 and gap(ends[0]) > 0:
        return 0.0
    root: float = optimize.brentq(gap, *ends, xtol=1e-12, rtol=1e-14)
    return float(special.expit(root))
