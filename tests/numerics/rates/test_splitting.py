"""Are the counts of the last-particle method those of a Poisson law, on both sides?

Nothing is random: deaths are summed up over the Poisson law that an ideal kernel gives them.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from torchattacks_ext.errors import ConfigError
from torchattacks_ext.numerics.rates.splitting import (
    LastParticle,
    deaths_to_certify,
    deaths_to_refute,
)

LAWS = [
    LastParticle(1e-6, 0.01, 8, 16),
    LastParticle(1e-4, 0.05, 8, 16),
    LastParticle(1e-9, 0.001, 4, 32),
    LastParticle(0.3, 0.01, 1, 2),
    LastParticle(0.9, 0.4, 1, 2),
]
every_law = pytest.mark.parametrize("law", LAWS)


def full_law(law: LastParticle, p: float) -> tuple[np.ndarray, np.ndarray]:
    """(deaths, probability) of whole runs at p_fail = p; less than 1e-20 is left out."""
    mean = float(-law.total * np.log(p))
    deaths = np.arange(int(mean + 12 * np.sqrt(mean) + 60))
    return deaths, stats.poisson(mean).pmf(deaths)


# ---------------------------------------------------------------- the integers
@pytest.mark.parametrize(
    "particles, tolerance, level, expected",
    [(100, 1e-6, 0.05, 1444), (100, 1e-6, 0.01, 1470)]
    + [(100, 1e-9, 0.01, 2180), (512, 1e-6, 0.01, 7271)],
)
def test_published_counts(particles, tolerance, level, expected: int) -> None:
    assert deaths_to_certify(particles, tolerance, level) == expected


@pytest.mark.parametrize("particles", [2, 16, 128, 4096])
@pytest.mark.parametrize("tolerance", [0.99, 0.5, 1e-3, 1e-6, 1e-12])
@pytest.mark.parametrize("level", [0.49, 0.05, 1e-3, 1e-9])
def test_counts_are_the_outermost_ones(particles, tolerance, level: float) -> None:
    ideal = stats.poisson(-particles * np.log(tolerance))
    certify = deaths_to_certify(particles, tolerance, level)
    assert ideal.sf(certify - 1) <= level
    assert certify == 1 or ideal.sf(certify - 2) > level
    refute = deaths_to_refute(particles, tolerance, level)
    assert refute < certify
    assert refute < 0 or ideal.cdf(refute) <= level
    assert ideal.cdf(refute + 1) > level


@pytest.mark.parametrize(
    "settings",
    [(1e-6, 0.01, 0, 16), (1e-6, 0.01, 8, 1), (1e-6, 0.01, 2.5, 16)]
    + [(0.0, 0.01, 8, 16), (1.0, 0.01, 8, 16), (1e-6, 0.5, 8, 16)],
)
def test_settings_outside_their_domain_are_refused(settings: tuple) -> None:
    with pytest.raises(ConfigError):
        LastParticle(*settings)


# ---------------------------------------------------------------- one story
@every_law
def test_verdict_of_the_counts_is_the_verdict_of_the_bounds(law: LastParticle) -> None:
    deaths = np.arange(2 * law.certify + 20)
    for ended in (False, True):
        lower, upper = law.bounds(deaths, np.full(len(deaths), ended))
        assert ((upper <= law.tolerance) == (deaths >= law.certify)).all()
        assert ((lower > law.tolerance) == (ended & (deaths <= law.refute))).all()
        assert (0 <= lower).all() and (lower <= upper).all() and (upper <= 1).all()
        assert (np.diff(upper) <= 0).all() and (np.diff(lower) <= 0).all()
        if not ended:
            assert (lower == 0).all()


@every_law
def test_p_values_reach_the_level_where_and_only_where_the_counts_decide(
    law: LastParticle,
) -> None:
    deaths = np.arange(2 * law.certify + 20)
    for ended in (False, True):
        below, above = law.p_values(deaths, np.full(len(deaths), ended))
        assert ((below <= law.significance) == (deaths >= law.certify)).all()
        refuted = ended & (deaths <= law.refute)
        assert ((above <= law.significance) == refuted).all()
        ideal = stats.poisson(-law.total * np.log(law.tolerance))
        np.testing.assert_allclose(below, ideal.sf(deaths - 1), rtol=1e-9, atol=1e-300)
        expected = ideal.cdf(deaths) if ended else np.ones(len(deaths))
        np.testing.assert_allclose(above, expected, rtol=1e-9, atol=1e-300)


def test_an_image_that_fails_at_once_is_refuted_without_a_death() -> None:
    lower, upper = LAWS[0].bounds([0], [True])
    assert upper.tolist() == [1.0] and lower[0] == pytest.approx(0.01 ** (1 / 128))


# ---------------------------------------------------------------- truth of an ideal kernel
@every_law
@pytest.mark.parametrize("factor", [1e-3, 0.3, 0.9, 1.0, 1.05, 3.0, 100.0, 1e4])
def test_bounds_cover(law: LastParticle, factor: float) -> None:
    """Each side misses with probability at most the level, and not with much less."""
    p = min(law.tolerance * factor, 0.99)
    deaths, chance = full_law(law, p)
    lower, upper = law.bounds(deaths, np.ones(len(deaths), dtype=bool))
    assert chance[upper < p].sum() <= law.significance * (1 + 1e-9)
    assert chance[lower > p].sum() <= law.significance * (1 + 1e-9)
    if law.total >= 128 and p < 0.1 and factor != 1:
        assert chance[upper < p].sum() > 0.7 * law.significance
        assert chance[lower > p].sum() > 0.7 * law.significance


@every_law
def test_wrong_claims_stay_within_the_level(law: LastParticle) -> None:
    deaths, chance = full_law(law, law.tolerance)
    assert 0 < chance[deaths >= law.certify].sum() <= law.significance
    assert chance[deaths <= law.refute].sum() <= law.significance


@every_law
@pytest.mark.parametrize("cut", [0, 1, 7, 200, 10**9])
def test_bounds_of_stopped_runs_cover(law: LastParticle, cut: int) -> None:
    """A budget of `cut` deaths, and the stop at the count that certifies, on the same runs."""
    for factor in (0.5, 1.0, 20.0):
        p = min(law.tolerance * factor, 0.99)
        full, chance = full_law(law, p)
        deaths = np.minimum(full, min(cut, law.certify))
        lower, upper = law.bounds(deaths, deaths == full)
        assert chance[upper < p].sum() <= law.significance * (1 + 1e-9)
        assert chance[lower > p].sum() <= law.significance * (1 + 1e-9)


@pytest.mark.parametrize("n_systems, n_particles", [(1, 2), (1, 100), (8, 16), (3, 5)])
@pytest.mark.parametrize("p", [0.5, 1e-3, 1e-9])
def test_the_estimate_was_too_low_for_more_than_one_system(
    n_systems: int, n_particles: int, p: float
) -> None:
    """E (1 - 1/(MN))^D = p where D ~ Poisson(-MN ln p); of (1 - 1/N)^(D/M) it is less."""
    law = LastParticle(1e-6, 0.01, n_systems, n_particles)
    deaths, chance = full_law(law, p)
    assert chance @ law.p_fail(deaths) == pytest.approx(p, rel=1e-9)
    geometric = chance @ (1 - 1 / n_particles) ** (deaths / n_systems)
    assert n_systems == 1 or geometric < 0.99 * p


def test_the_estimate_lies_within_its_bounds() -> None:
    for law in LAWS[:3]:
        deaths = np.arange(1, 2 * law.certify)
        lower, upper = law.bounds(deaths, np.ones(len(deaths), dtype=bool))
        assert (lower <= law.p_fail(deaths)).all()
        assert (law.p_fail(deaths) <= upper).all()
    assert law.p_fail(0) == 1
