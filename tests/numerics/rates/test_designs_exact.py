"""Do the designs that PRTest is compared with err and cost what is said of them?

All numbers are exact (`operating`); the designs are those of benchmarks/designs.py.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from scipy import stats

from torchattacks_ext.numerics.rates.operating import operating

RATES = [0, 0.1, 0.5, 1, 2, 5]
COSTS = {
    0.1: {
        "fixed": [589] * 6,
        "curtailed": [547, 553, 575, 430, 215, 86],
        "sprt": [86, 99, 273, 231, 51, 15],
        "e_process_with_futility": [49, 70, 350, 281, 42, 8],
    },
    0.01: {
        "fixed": [6_314] * 6,
        "curtailed": [6_269, 6_275, 6_297, 4_597, 2_300, 920],
        "sprt": [915, 1_062, 2_931, 2_447, 546, 165],
        "e_process_with_futility": [505, 730, 3_788, 2_978, 450, 90],
    },
    0.001: {
        "fixed": [63_222] * 6,
        "curtailed": [63_177, 63_183, 63_176, 45_971, 23_000, 9_200],
        "sprt": [9_204, 10_685, 29_509, 24_604, 5_498, 1_656],
        "e_process_with_futility": [5_072, 7_338, 38_170, 29_945, 4_531, 908],
    },
}
SLOW = pytest.mark.slow
TOLERANCES = [0.1, 0.01, pytest.param(0.001, marks=SLOW)]
VALID = [*COSTS[0.1], "group_halving", "group_equal", "zero_failure"]


@pytest.mark.parametrize("name", COSTS[0.1])
@pytest.mark.parametrize("tolerance", TOLERANCES)
def test_mean_draws(samples: ModuleType, tolerance: float, name: str) -> None:
    """The published comparison of the designs, to its last digit."""
    table = getattr(samples.designs, name)(tolerance, 0.01)
    means = [round(operating(table, x * tolerance).mean_n) for x in RATES]
    assert means == COSTS[tolerance][name]


def test_mean_draws_between_half_the_tolerance_and_the_tolerance(
    samples: ModuleType,
) -> None:
    """There the e-process is the dearest: three quarters of the tolerance, at .001."""
    names = ("fixed", "sprt", "e_process_with_futility")
    tables = [getattr(samples.designs, name)(0.001, 0.01) for name in names]
    means = [round(operating(table, 0.00075).mean_n) for table in tables]
    assert means == [63_222, 60_742, 76_144]


@pytest.mark.parametrize("name", VALID)
@pytest.mark.parametrize("tolerance", TOLERANCES)
def test_levels_are_kept(samples: ModuleType, tolerance: float, name: str) -> None:
    table = getattr(samples.designs, name)(tolerance, 0.01)
    assert operating(table, tolerance).certified <= 0.01
    at_half = operating(table, tolerance / 2)
    assert at_half.refuted <= 0.01 or name == "zero_failure"


@pytest.mark.parametrize(
    "tolerance, significance, expected",
    [
        (0.1, 0.01, (589, 42)),
        (0.05, 0.01, (1_233, 44)),
        (0.01, 0.01, (6_314, 45)),
        (0.001, 0.01, (63_222, 45)),
        (0.01, 0.05, (3_137, 22)),
    ],
)
def test_fixed_design(samples: ModuleType, tolerance, significance, expected) -> None:
    assert samples.designs.smallest_fixed(tolerance, significance) == expected


def test_fixed_design_is_the_smallest(samples: ModuleType) -> None:
    """Brute force: no smaller n has a count that serves both ends."""
    n, count = samples.designs.smallest_fixed(0.1, 0.01)
    for fewer in range(1, n):
        most = stats.binom.cdf(np.arange(fewer + 1), fewer, 0.1) <= 0.01
        assert stats.binom.sf(most.sum() - 1, fewer, 0.05) > 0.01
    assert stats.binom.cdf(count, n, 0.1) <= 0.01


@pytest.mark.parametrize("name", ["group_halving", "group_equal"])
def test_group_designs_spend_no_more_than_their_share(
    samples: ModuleType, name: str
) -> None:
    """At each look both errors so far are at most significance * n / N."""
    table = getattr(samples.designs, name)(0.01, 0.01)
    for k, look in enumerate(table.looks):
        columns = (table.looks, table.certify_at, table.refute_at)
        so_far = type(table)(0.01, 0.01, *(column[: k + 1] for column in columns))
        allowed = 0.01 * look / table.n_max
        assert operating(so_far, 0.01).certified <= allowed
        assert operating(so_far, 0.005).refuted <= allowed


@pytest.mark.parametrize(
    "tolerance, at_tolerance", [(0.1, 0.451), (0.05, 0.436), (0.01, 0.366)]
)
def test_the_100_draw_rule(samples: ModuleType, tolerance, at_tolerance) -> None:
    """Passed if the accuracy exceeds 1 - tolerance: for every count, as floats have it."""
    table = samples.designs.hundred_draws(tolerance)
    passed = [s for s in range(101) if (100 - s) / 100 > 1 - tolerance]
    assert passed == list(range(table.certify_at[0] + 1))
    assert round(operating(table, tolerance).certified, 3) == at_tolerance


def test_the_100_draw_rule_at_twice_the_tolerance(samples: ModuleType) -> None:
    table = samples.designs.hundred_draws(0.01)
    assert round(operating(table, 0.02).certified, 3) == 0.133


@pytest.mark.parametrize(
    "n_max, certified, undecided",
    [
        (1_024, 0.032, 0.931),
        (10_000, 0.082, 0.834),
        (100_000, 0.133, 0.731),
        pytest.param(1_000_000, 0.180, 0.638, marks=SLOW),
    ],
)
def test_testing_again_until_it_rejects(
    samples: ModuleType, n_max, certified, undecided
) -> None:
    """Nominal 1 % at each look, and no level at all in the long run."""
    found = operating(samples.designs.retest(0.05, 0.01, n_max), 0.05)
    assert round(found.certified, 3) == certified
    assert round(found.undecided, 3) == undecided


def test_each_look_of_the_repeated_test_has_its_level(samples: ModuleType) -> None:
    table = samples.designs.retest(0.05, 0.01, 5_000)
    n, low, high = table.looks, table.certify_at, table.refute_at
    assert (stats.binom.cdf(low, n, 0.05) <= 0.01).all()
    assert (stats.binom.cdf(low + 1, n, 0.05) > 0.01).all()
    assert (stats.binom.sf(high - 1, n, 0.05) <= 0.01).all()
    assert (stats.binom.sf(high - 2, n, 0.05) > 0.01).all()


def test_published_formula_of_provero(samples: ModuleType) -> None:
    expected = {"cheapest_proof": 2_788, "final_test": 19_413}
    assert samples.designs.provero(0.01, 0.01) == expected


def test_the_record_says_what_the_code_says(samples: ModuleType) -> None:
    kept = samples.record.read(samples.record.RESULTS / "prtest_samples.json")
    assert list(kept["tolerances"]) == ["0.1", "0.01", "0.001"]
    assert all(
        list(found) == list(samples.DESIGNS) for found in kept["tolerances"].values()
    )
    for name, design in samples.DESIGNS.items():
        if not name.startswith("retest"):
            found, stored = (
                samples.measure(design, 0.01),
                kept["tolerances"]["0.01"][name],
            )
            assert found.keys() == stored.keys()
            for key, value in found.items():
                assert stored[key] == pytest.approx(value, rel=1e-7, abs=1e-200), key
