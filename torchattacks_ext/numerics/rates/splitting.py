"""How rare is a failure, if plain draws would never show one? Counts of the last-particle method.

M systems of N particles each hold draws of the perturbation. One step kills the particle that is
farthest from failing and replaces it by a copy of another one that is moved, at random, among the
draws that are nearer. With an ideal kernel (each move gives an independent draw from the law
conditioned on being nearer) the number of deaths D until all particles fail is

    D ~ Poisson(-M N ln p_fail)

whatever the model is (Guyader, Hengartner & Matzner-Lober 2011; as a test: Tit, Furon & Rousset
2021). A real kernel is not ideal, so what is said here holds for the ideal one only, and every
result says so: `guarantee="ideal-kernel"`. A system may be stopped once D is large enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from ...errors import ConfigError
from ..arguments import parse_whole
from ..incbeta import FloatArray
from .evalues import check_levels


def deaths_to_certify(particles: int, tolerance: float, significance: float) -> int:
    """The least d with P(Poisson(-MN ln tolerance) >= d) <= significance.

    D >= d shows p_fail <= tolerance at level `significance`. particles: M N >= 1.
    Raises ConfigError for settings outside their domain.

    >>> deaths_to_certify(100, 1e-6, 0.01)
    1470
    """
    mean = _mean(particles, tolerance, significance)
    d = int(stats.poisson.isf(significance, mean))
    while special.gammainc(max(d, 1), mean) > significance or d < 1:
        d += 1
    while d > 1 and special.gammainc(d - 1, mean) <= significance:
        d -= 1
    return d


def deaths_to_refute(particles: int, tolerance: float, significance: float) -> int:
    """The greatest d with P(Poisson(-MN ln tolerance) <= d) <= significance, -1 if none.

    All particles failing after D <= d deaths shows p_fail > tolerance. Errors as above.

    >>> deaths_to_refute(100, 1e-6, 0.01)
    1295
    """
    mean = _mean(particles, tolerance, significance)
    d = int(stats.poisson.ppf(significance, mean)) + 1
    while d >= 0 and special.gammaincc(d + 1, mean) > significance:
        d -= 1
    return d


def _mean(particles: int, tolerance: float, significance: float) -> float:
    check_levels(tolerance, significance)
    if particles < 1:
        raise ConfigError(f"particles={particles!r} must be a whole number >= 1")
    return float(-particles * np.log(tolerance))


@dataclass(frozen=True)
class LastParticle:
    """The test "p_fail <= tolerance" by counts of deaths in M systems of N particles.

    Deaths D count over all systems. A run that was stopped before all particles failed has
    ended=False: then D is a lower bound of the full count, which upper bounds of p_fail allow.

    >>> rule = LastParticle(1e-6, 0.01, n_systems=8, n_particles=16)
    >>> rule.certify, rule.refute
    (1868, 1670)
    """

    tolerance: float
    significance: float
    n_systems: int
    n_particles: int

    def __post_init__(self) -> None:
        for name, least in (("n_systems", 1), ("n_particles", 2)):
            value = getattr(self, name)
            object.__setattr__(self, name, parse_whole(value, name, least))
        _mean(self.total, self.tolerance, self.significance)

    @property
    def total(self) -> int:
        """M N, all particles."""
        return self.n_systems * self.n_particles

    @property
    def certify(self) -> int:
        """Deaths that certify."""
        return deaths_to_certify(self.total, self.tolerance, self.significance)

    @property
    def refute(self) -> int:
        """Deaths at which, or below which, a run that ended refutes; -1 if none."""
        return deaths_to_refute(self.total, self.tolerance, self.significance)

    def p_fail(self, deaths: ArrayLike) -> FloatArray:
        """The estimate (1 - 1/(MN))^D of a run that ended; unbiased for an ideal kernel.

        (1 - 1/N)^(D/M), the geometric mean over the systems, is 41 % too low at p = 1e-8, N = 16.
        """
        deaths = np.asarray(deaths, dtype=np.float64)
        return np.asarray(np.exp(deaths * np.log1p(-1 / self.total)))

    def bounds(
        self, deaths: ArrayLike, ended: ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """(lower, upper) of p_fail, each at `significance`; lower is 0 for runs that were stopped.

        exp(-G/(MN)) with G the Gamma quantiles of D and D + 1 (the exact Poisson interval).

        >>> rule = LastParticle(1e-6, 0.01, 8, 16)
        >>> lower, upper = rule.bounds([1868, 1670], [False, True])
        >>> bool(upper[0] <= 1e-6), bool(lower[1] > 1e-6)
        (True, True)
        """
        deaths, ended = np.asarray(deaths, dtype=np.float64), np.asarray(ended)
        few = stats.gamma.ppf(self.significance, np.maximum(deaths, 1))
        upper = np.where(deaths > 0, np.exp(-few / self.total), 1.0)
        many = stats.gamma.isf(self.significance, deaths + 1)
        lower = np.where(ended, np.exp(-many / self.total), 0.0)
        edge = self.tolerance
        # the integers decide: the root may be one float on the other side
        certified, refuted = deaths >= self.certify, ended & (deaths <= self.refute)
        above = np.nextafter(edge, 1.0)
        upper = np.where(certified, np.minimum(upper, edge), np.maximum(upper, above))
        lower = np.where(refuted, np.maximum(lower, above), np.minimum(lower, edge))
        return lower, upper

    def p_values(
        self, deaths: ArrayLike, ended: ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """Of "p_fail >= tolerance" and "p_fail <= tolerance"; the second is 1 before the end."""
        deaths, ended = np.asarray(deaths, dtype=np.float64), np.asarray(ended)
        mean = -self.total * np.log(self.tolerance)
        below = np.where(deaths > 0, special.gammainc(np.maximum(deaths, 1), mean), 1.0)
        above = np.where(ended, special.gammaincc(deaths + 1, mean), 1.0)
        return below, above
