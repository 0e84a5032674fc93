"""Do the limits for finite sets cover what they say? All outcomes enumerated, no simulation."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import hypergeom

from torchattacks_ext import ConfigError
from torchattacks_ext.numerics.populations.finite import hypergeometric_bounds
from torchattacks_ext.numerics.populations.planning import sample_size
from torchattacks_ext.numerics.populations.strata import (
    COMBINATIONS,
    Combination,
    Stratum,
    joint_fits,
    total_bounds,
)

SLACK = 1e-12


def slow_bounds(k: int, n: int, m: int, a: float) -> tuple[int, int]:
    """The definition, total by total, with scipy's tails."""
    totals = range(k, m - n + k + 1)
    low = min(t for t in totals if hypergeom.sf(k - 1, m, t, n) > a)
    return low, max(t for t in totals if hypergeom.cdf(k, m, t, n) > a)


@pytest.mark.parametrize(("m", "a"), [(1, 0.3), (2, 0.3), (6, 0.3), (15, 0.025)])
def test_each_limit_errs_at_most_at_its_level_for_every_total(m: int, a: float) -> None:
    for n in range(m + 1):
        limits = [hypergeometric_bounds(k, n, m, a) for k in range(n + 1)]
        low, high = np.array(limits).T
        for total in range(m + 1):
            law = hypergeom.pmf(np.arange(n + 1), m, total, n)
            assert law[low > total].sum() <= a + SLACK
            assert law[high < total].sum() <= a + SLACK
        assert (np.diff(low) >= 0).all() and (np.diff(high) >= 0).all()


@pytest.mark.parametrize(("k", "n", "m"), [(0, 30, 200), (3, 40, 90), (25, 60, 300)])
def test_limits_are_those_of_the_slow_twin(k: int, n: int, m: int) -> None:
    for a in (0.3, 0.05, 1e-4):
        assert hypergeometric_bounds(k, n, m, a) == slow_bounds(k, n, m, a)


def test_what_was_drawn_whole_or_not_at_all_needs_no_level() -> None:
    assert hypergeometric_bounds(3, 10, 10, 1e-9) == (3, 3)
    assert hypergeometric_bounds(0, 0, 10, 0.4) == (0, 10)
    many = hypergeometric_bounds(0, 1000, 10**6, 0.025)
    assert many == (
        0,
        3680,
    )  # ln(40) / ln(1 / (1 - 1e-3)), less what a finite set saves


# ---------------------------------------------------------------------- several strata
CASES = (((7, 3), (9, 4)), ((5, 2), (12, 3)), ((3, 3), (6, 3), (4, 2)))
Design = tuple[tuple[int, int], ...]


def outcomes(design: Design) -> list[tuple[int, ...]]:
    return list(product(*(range(n + 1) for _, n in design)))


def law(design: Design, totals: tuple[int, ...]) -> np.ndarray:
    """Chance of each outcome under these totals."""
    parts = [
        hypergeom.pmf(np.arange(n + 1), m, total, n)
        for (m, n), total in zip(design, totals)
    ]
    found = parts[0]
    for part in parts[1:]:
        found = np.multiply.outer(found, part)
    return found.ravel()


def limits(design: Design, error: float, combine: Combination) -> np.ndarray:
    """(outcomes, 2); outcomes that no totals allow have the whole range."""
    return np.array(
        [
            total_bounds(
                [Stratum(m, n, k) for (m, n), k in zip(design, seen)], error, combine
            )
            for seen in outcomes(design)
        ]
    )


@pytest.mark.parametrize("design", CASES)
@pytest.mark.parametrize("combine", COMBINATIONS)
def test_the_total_is_covered_whatever_the_strata_hold(
    design: Design, combine: Combination
) -> None:
    error = 0.3  # so that limits do miss: 0.05 would leave most totals in all of them
    low, high = limits(design, error, combine).T
    for totals in product(*(range(m + 1) for m, _ in design)):
        chances, total = law(design, totals), sum(totals)
        missed = [chances[low > total].sum(), chances[high < total].sum()]
        assert sum(missed) <= error + SLACK
        if combine != "product":
            assert max(missed) <= error / 2 + SLACK


def slow_joint(design: Design, seen: tuple[int, ...], a: float) -> int:
    """The largest total with a split whose tail of the estimate is above the level."""
    table = outcomes(design)
    estimate = np.array([sum(m * k / n for (m, n), k in zip(design, o)) for o in table])
    below = estimate <= estimate[table.index(seen)] + 1e-9
    ranges = [range(k, m - n + k + 1) for (m, n), k in zip(design, seen)]
    return max(
        sum(totals)
        for totals in product(*ranges)
        if law(design, totals)[below].sum() > a
    )


@pytest.mark.parametrize("design", CASES[:2])
def test_joint_is_what_its_slow_twin_is(design: Design) -> None:
    for seen in outcomes(design):
        strata = [Stratum(m, n, k) for (m, n), k in zip(design, seen)]
        assert total_bounds(strata, 0.1, "joint")[1] == slow_joint(design, seen, 0.05)


def test_joint_and_product_are_sharper_where_little_is_broken() -> None:
    for counts in ((0, 0), (1, 0), (2, 1)):
        strata = [Stratum(300, 60, counts[0]), Stratum(500, 100, counts[1])]
        split, joint, both = (
            total_bounds(strata, 0.05, combine) for combine in COMBINATIONS
        )
        assert joint[1] - joint[0] < both[1] - both[0] < split[1] - split[0]
    one = hypergeometric_bounds(0, 160, 800, 0.025)  # as if the strata were one
    strata = [Stratum(300, 60, 0), Stratum(500, 100, 0)]
    assert abs(total_bounds(strata, 0.05, "joint")[1] - one[1]) <= 1


def test_joint_says_where_it_is_too_large() -> None:
    three = [Stratum(9, 3, 0)] * 3
    assert not joint_fits(three) and not joint_fits([Stratum(10**6, 50, 0)] * 2)
    with pytest.raises(ConfigError, match="at most two strata"):
        total_bounds(three, 0.05, "joint")
    assert total_bounds([Stratum(9, 0, 0), *three[:2]], 0.05, "joint")[1] >= 9


@pytest.mark.parametrize(
    ("counts", "words"),
    [((3, 2, 5), "0 <= broken <= drawn"), ((0, 6, 5), "drawn"), ((0.0, 1, 5), "int")],
)
def test_counts_outside_their_domain_are_refused(
    counts: tuple[int, int, int], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        hypergeometric_bounds(*counts, 0.05)


# ---------------------------------------------------------------------- planning
@pytest.mark.parametrize(("size", "rate"), [(500, 0.0), (5000, 0.01), (900, 0.5)])
def test_the_planned_size_is_the_least_that_is_short_enough(
    size: int, rate: float
) -> None:
    def length(n: int) -> float:
        sides = [
            hypergeometric_bounds(min(k, n), n, size, 0.025)
            for k in (int(n * rate), int(n * rate) + 1)
        ]
        return float(
            np.interp(n * rate % 1, (0, 1), [high - low for low, high in sides])
        )

    n = sample_size(size, rate, 0.03 * size, 0.05)
    assert length(n) <= 0.06 * size < length(n - 1)


def test_nothing_need_be_drawn_of_few_rows() -> None:
    assert sample_size(10, 0.5, 5, 0.05) == 0 == sample_size(0, 0, 0, 0.05)
    assert sample_size(10, 0.5, 0, 0.05) == 10
    with pytest.raises(ConfigError, match="rate"):
        sample_size(10, 1.5, 1, 0.05)
