"""Is the failure rate tolerable, with a few planned looks? An exact group-sequential test.

The looks halve the budget: N, N/2, N/4, ... down to 8 draws. Each side may spend its level in
proportion to the draws, significance * n_j / N by look j (Lan & DeMets 1983), and the limits are
the widest integers that keep to it, by the exact binomial distribution of the failures that are
still undecided (no normal approximation). Because more failures never help to certify, the level
at p_fail = tolerance bounds the level at every p_fail beyond it.

p-values and bounds hold together at all looks, so that a run may be stopped at any of them, for
any reason, and gone on with. Take the side that certifies; the other is its mirror image. Let
C(r) be the probability that the plan ever certifies an image that fails at rate r, and
w_j = (n_j - n_(j-1)) / N; C(r) <= significance for r >= tolerance.

* Certified: outcomes are ordered by stage (Armitage 1957; Tsiatis, Rosner & Mehta 1984), certified
  earlier is stronger than certified later. p is the probability of all that is as strong.
* Not (yet) certified at look j with s failures: p = C(k) + P(to be at look j uncertified with at
  most s failures | k) / w_j, k the tolerance, and above significance in any case. Of all images at
  the tolerance no more than C are certified, and no more than (a - C) w_j have p <= a at look j
  uncertified: together at most a, over all looks (Bonferroni over the looks with what the
  certificates leave of the level; repeated p-values: Jennison & Turnbull 1984).
* The upper bound is where p as a function of the rate in place of k reaches significance, for
  uncertified images with P(Bin(n_j, r) <= s) in place of the second probability, which falls with
  r and is never below it: above the tolerance C(r) is what may be certified wrongly, below it
  nothing but a certificate has an upper bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from ..incbeta import FloatArray
from .evalues import IntArray, as_counts
from .rules import Rule
from .sequential import Boundaries, check_design

_FIRST = 8
_LOGIT_EDGE = 60.0
_ABOVE = 1e-9
"""By how much more than the significance the p-value of an undecided image is at least."""


@dataclass(frozen=True, eq=False)
class Stage:
    """What is known beforehand of one look: mass[i] = P(s = first + i, undecided before | k).

    level: what each side may have spent by then; share: the look's own part n_j / N - n_(j-1) / N
    of it. below[i] = P(certified before, or here with s < first + i | k), above[i] = P(refuted
    before, or here with s >= first + i | k).
    """

    n: int
    first: int
    mass: FloatArray
    level: float
    share: float
    below: FloatArray
    above: FloatArray


@dataclass(frozen=True, eq=False)
class GroupSequential(Rule):
    """The group-sequential test with looks at N / 2^j and levels spent as n_j / N.

    spent: (low, high), P(ever certified | k) and P(ever refuted | k), at most the significance.

    >>> rule = GroupSequential.design(0.01, 0.01, 4000)
    >>> rule.boundaries.looks[-3:], rule.boundaries.certify_at[-3:]
    (array([1000, 2000, 4000]), array([ 1,  8, 25]))
    """

    name = "group"
    anytime = False

    stages: tuple[Stage, ...] = ()
    spent: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def design(
        cls, tolerance: float, significance: float, n_max: int
    ) -> GroupSequential:
        """The test with N = `n_max` draws. Raises ConfigError as `check_design` does."""
        check_design(tolerance, significance, n_max)
        return _design(float(tolerance), float(significance), int(n_max))

    def evidence(self, n: ArrayLike, s: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """-ln p at any of the planned looks, decided or not; see the module."""
        n, s = as_counts(n, s)
        below, above = np.ones(n.shape), np.ones(n.shape)
        table = self.boundaries
        place = np.searchsorted(table.looks, n)
        for j, stage in enumerate(self.stages):
            here = (n > 0) & (place == j)
            i, most = s[here] - stage.first, len(stage.mass)
            below[here] = self._p_at(
                stage,
                stage.below[np.clip(i + 1, 0, most)],
                stage.below[np.clip(table.certify_at[j] + 1 - stage.first, 0, most)],
                self.spent[0],
            )
            above[here] = self._p_at(
                stage,
                stage.above[np.clip(i, 0, most)],
                stage.above[np.clip(table.refute_at[j] - stage.first, 0, most)],
                self.spent[1],
            )
        with np.errstate(divide="ignore"):
            return -np.log(np.minimum(below, 1)), -np.log(np.minimum(above, 1))

    def _p_at(
        self, stage: Stage, by_stage: FloatArray, decided: float, spent: float
    ) -> FloatArray:
        """p of outcomes whose p by stage is `by_stage`; `decided` is that of the limit itself."""
        open_ = spent + (by_stage - decided) / stage.share
        open_ = np.maximum(open_, self.boundaries.significance * (1 + _ABOVE))
        return np.where(by_stage <= decided, by_stage, open_)

    def bounds(self, n: ArrayLike, s: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Where :meth:`p_value` reaches the significance, at any of the planned looks."""
        n, s = as_counts(n, s)
        pairs, where = np.unique(
            np.stack([n.ravel(), s.ravel()]), axis=1, return_inverse=True
        )
        sides = [
            [_root(self, int(a), int(b), side) for side in (1, 0)] for a, b in pairs.T
        ]
        table = np.asarray(sides, dtype=np.float64).reshape(-1, 2)[where.ravel()]
        lower, upper = (table[:, i].reshape(n.shape) for i in (0, 1))
        certified, refuted = self._decided(n, s)
        return self.agree(lower, upper, certified, refuted)

    def _decided(
        self, n: IntArray, s: IntArray
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        table, looked = self.boundaries, n > 0
        place = np.where(looked, np.searchsorted(table.looks, n), 0)
        certified = looked & (s <= table.certify_at[place])
        return certified, looked & (s >= table.refute_at[place])

    def p_value(self, n: int, s: int, side: int) -> Callable[[float], float]:
        """logit rate -> ln of the p-value of (n, s) with the rate in place of the tolerance.

        side 0 for "p_fail >= rate", 1 for "p_fail <= rate"; n is one of the looks. It falls (side
        0) or rises with the rate: on all rates where (n, s) is certified (refuted), else on those
        beyond the tolerance.
        """
        table = self.boundaries
        place = int(np.searchsorted(table.looks, n))
        ends = (table.certify_at if side == 0 else table.refute_at).tolist()
        if self._decided(np.array(n), np.array(s))[side]:
            return self._reaching([*ends[:place], s], side)
        ever, share = self._ever[side], self.stages[place].share

        def log_p(logit: float) -> float:
            rate = special.expit(logit)
            tail = (
                special.betaincc(s + 1, n - s, rate)
                if side == 0
                else special.betainc(s, n - s + 1, rate)
            )
            p = np.exp(ever(logit)) + tail / share
            return float(np.log(np.clip(p, 1e-300, 1.0)))

        return log_p

    @cached_property
    def _ever(self) -> tuple[Callable[[float], float], Callable[[float], float]]:
        """logit rate -> ln P(ever certified | rate), and ln P(ever refuted | rate)."""
        table = self.boundaries
        low = self._reaching(table.certify_at.tolist(), 0)
        return low, self._reaching(table.refute_at.tolist(), 1)

    def _reaching(self, limits: list[int], side: int) -> Callable[[float], float]:
        """logit rate -> ln P(s at or beyond the limit of a look, undecided before | rate)."""
        k = self.boundaries.tolerance
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
        share = float((n - before) / n_max)
        stages.append(Stage(int(n), first, mass, level, share, below, above))
        n_low = int(np.searchsorted(below[1:], level, side="right"))  # that certify
        n_keep = int((above[:-1] > level).sum())  # counts that do not refute
        if n_low:
            certify[j], spent_low = first + n_low - 1, float(below[n_low])
        if n_keep < len(mass):
            refute[j], spent_high = first + n_keep, float(above[n_keep])
        alive, first = mass[n_low:n_keep], first + n_low
    table = Boundaries(tolerance, significance, looks, certify, refute)
    return GroupSequential(table, tuple(stages), (spent_low, spent_high))


def _halving(n_max: int) -> IntArray:
    """``n_max / 2^j`` rounded, ascending, from 8 draws on (or n_max alone)."""
    looks = [n_max]
    while round(n_max / 2 ** len(looks)) >= _FIRST:
        looks.append(round(n_max / 2 ** len(looks)))
    return np.asarray(looks[::-1], dtype=np.int64)


@lru_cache(maxsize=4096)
def _root(rule: GroupSequential, n: int, s: int, side: int) -> float:
    """The rate whose p-value is the significance; 1 or 0 where there is none."""
    if s == (n if side == 0 else 0):
        return float(side == 0)
    target, log_p = np.log(rule.boundaries.significance), rule.p_value(n, s, side)

    def gap(logit: float) -> float:
        return float(log_p(logit) - target)

    ends = (-_LOGIT_EDGE, 36.0)  # expit(36) is just below 1
    if side == 0 and gap(ends[1]) > 0:
        return 1.0
    if side == 1 and gap(ends[0]) > 0:
        return 0.0
    root: float = optimize.brentq(gap, *ends, xtol=1e-12, rtol=1e-14)
    return float(special.expit(root))
