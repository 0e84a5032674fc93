"""Is the integer table the test, at each look and at its edges?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special

from torchattacks_ext._typing import Verdict
from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.numerics.rates.evalues import bar_of
from torchattacks_ext.numerics.rates.sequential import (
    Boundaries,
    boundaries,
    check_design,
    greatest_n_to_refute,
    least_n_to_certify,
    log_e_high,
    log_e_low,
)

IntArray = NDArray[np.int64]


def table_of(found: Boundaries) -> tuple[IntArray, IntArray, IntArray]:
    return found.looks, found.certify_at, found.refute_at


@pytest.mark.parametrize(
    "tolerance, expected",
    [
        (0.1, [49, 84, 109, 130, 150, 169]),
        (0.05, [99, 172, 222, 266, 306, 344]),
        (0.01, [505, 876, 1129, 1349, 1551, 1742]),
        (0.001, [5072, 8791, 11326, 13530, 15557, 17471]),
    ],
)
def test_n_s_reference(tolerance: float, expected: list[int]):
    assert least_n_to_certify(np.arange(6), tolerance, 0.01).tolist() == expected


@pytest.mark.parametrize(
    "significance, expected",
    [(0.05, [33, 66, 336, 3369]), (0.001, [71, 146, 744, 7466])],
)
def test_n_0_reference(significance: float, expected: list[int]):
    found = [check_design(k, significance, 10**6) for k in (0.1, 0.05, 0.01, 0.001)]
    assert found == expected


def test_m_s_reference():
    found = greatest_n_to_refute(np.arange(8), 0.01, 0.01)
    assert found.tolist() == [0, 0, 0, 6, 33, 64, 101, 141]


@pytest.mark.parametrize("tolerance", [0.9, 0.3, 0.01, 1e-5])
@pytest.mark.parametrize("significance", [0.3, 0.01, 1e-6])
def test_n_s_and_m_s_are_the_edges(tolerance: float, significance: float):
    s, bar = np.arange(60), bar_of(significance)
    n = least_n_to_certify(s, tolerance, significance)
    assert (log_e_low(n, s, tolerance) >= bar).all()
    before = n - 1 >= s
    assert (log_e_low((n - 1)[before], s[before], tolerance) < bar).all()
    m = greatest_n_to_refute(s, tolerance, significance)
    some = m > 0
    assert (log_e_high(m[some], s[some], tolerance) >= bar).all()
    assert (log_e_high(m[some] + 1, s[some], tolerance) < bar).all()
    assert (log_e_high(s[~some], s[~some], tolerance) < bar).all()


def test_scalars_and_shapes():
    assert least_n_to_certify(0, 0.01, 0.01).shape == ()
    assert int(greatest_n_to_refute(3, 0.01, 0.01)) == 6
    assert least_n_to_certify([[0, 1]], 0.01, 0.01).shape == (1, 2)


@pytest.mark.parametrize("tolerance", [0.5, 0.1, 0.03, 0.01, 1e-3])
@pytest.mark.parametrize("significance", [0.2, 0.01])
def test_table_agrees_with_every_e_value(tolerance: float, significance: float):
    """Brute force over all counts at all looks up to 1,500."""
    found = boundaries(tolerance, significance, 1500)
    for look, low, high in zip(*table_of(found)):
        s, bar = np.arange(look + 1), bar_of(significance)
        assert (log_e_low(look, s, tolerance) >= bar).sum() == low + 1
        assert (log_e_high(look, s, tolerance) >= bar).sum() == look + 1 - high
        assert low < high


def test_looks_are_geometric_and_hold_n_s():
    found = boundaries(0.01, 0.01, 20_000)
    geometric = {round(8 * 1.2**k) for k in range(43)}
    short = set(least_n_to_certify(np.arange(21), 0.01, 0.01).tolist())
    assert set(found.looks.tolist()) == geometric | short
    assert found.n_max == max(geometric) == 16_932
    assert (
        found.looks.dtype == found.certify_at.dtype == found.refute_at.dtype == np.int64
    )


def test_a_larger_budget_only_adds_looks():
    small, large = boundaries(0.01, 0.001, 3000), boundaries(0.01, 0.001, 300_000)
    for few, many in zip(table_of(small), table_of(large)):
        np.testing.assert_array_equal(few, many[: len(few)])


def walk(failures: set[int], n_max: int) -> tuple[Verdict, int]:
    """One image, draw by draw: the first decision of the table, and when."""
    found, count = boundaries(0.01, 0.01, n_max), 0
    for n in range(1, found.n_max + 1):
        count += n in failures
        if n in found.looks:
            verdict = Verdict(int(found.decide(found.next_look(n - 1), count)))
            if verdict is not Verdict.UNDECIDED:
                return verdict, n
    return Verdict.UNDECIDED, found.n_max


def test_a_resumed_run_decides_as_one_long_run():
    """Were n_max = 33 a look, it would refute what a long run certifies."""
    failures = {10, 20, 30, 33}
    assert float(log_e_high(33, 4, 0.01)) > bar_of(0.01)
    assert walk(failures, 33) == (Verdict.UNDECIDED, 29)
    assert walk(failures, 20_000) == (Verdict.ROBUST, 1551)


def test_decide_broadcasts():
    found = boundaries(0.01, 0.01, 1000)
    i = int(np.flatnonzero(found.looks == 505)[0])
    verdict = found.decide(np.array([[i], [0]]), np.array([0, 4, 400]))
    assert verdict.dtype == np.int8 and verdict.shape == (2, 3)
    assert verdict.tolist() == [[1, 0, 2], [0, 2, 2]]


def test_next_look():
    found = boundaries(0.01, 0.01, 1000)
    index = found.next_look(np.array([0, 7, 8, 504, 505, 10**6]))
    assert index.dtype == np.int64
    assert found.looks[index[:5]].tolist() == [8, 8, 10, 505, 530]
    assert index[5] == len(found.looks)
    assert int(found.next_look(found.n_max)) == len(found.looks)


def test_a_budget_below_the_first_look_is_empty():
    found = boundaries(0.01, 0.01, 7)
    assert found.n_max == 0 and found.looks.shape == (0,)
    assert found.next_look([0]).tolist() == [0]


def test_short_looks_of_a_large_tolerance():
    """Two draws may do; the looks do not wait for 8."""
    found = boundaries(0.95, 0.05, 100)
    assert found.looks[0] == check_design(0.95, 0.05, 100) < 8


def test_the_table_is_cached_and_frozen():
    found = boundaries(0.01, 0.01, 5000)
    assert found is boundaries(0.01, 0.01, 5000)
    for array in table_of(found):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


@pytest.mark.parametrize("tolerance", [1e-9, 1e-12, 0.5, 0.999999, 1 - 1e-12])
def test_extreme_tolerances(tolerance: float):
    """One pass over log1p, betaln and int64 where log(1 - x) and int32 would fail."""
    n = check_design(tolerance, 0.01, 100)
    assert n >= 1 and float(log_e_low(n, 0, tolerance)) >= bar_of(0.01)
    if tolerance < 1e-6:
        # The Poisson limit, with c = n * tolerance and a Gamma(1/4, 1/4) prior cut at 1.
        c = n * tolerance
        masses = [special.gammainc(0.25, v) / v**0.25 for v in (0.25 + c, 0.25)]
        assert abs(c + np.log(masses[0] / masses[1]) - bar_of(0.01)) < 2e-6


REFUSED: list[tuple[float, float, object, str]] = [
    (0, 0.01, 100, r"tolerance=0 .*\(0, 1\)"),
    (1, 0.01, 100, r"tolerance=1 .*\(0, 1\)"),
    (float("nan"), 0.01, 100, r"tolerance=nan .*\(0, 1\)"),
    (1e-17, 0.01, 100, r"2\*\*53"),
    (0.01, 0, 100, r"significance=0 .*\(0, 0.5\)"),
    (0.01, 0.5, 100, r"significance=0.5 .*\(0, 0.5\)"),
    (0.01, 0.01, 0, "n_max=0 .*integer of at least 1"),
    (0.01, 0.01, 10.0, "n_max=10.0 .*integer of at least 1"),
    (0.01, 0.01, True, "n_max=True .*integer of at least 1"),
    (0.01, 0.01, "9", "n_max='9' .*integer of at least 1"),
]


@pytest.mark.parametrize("call", [check_design, boundaries])
@pytest.mark.parametrize("tolerance, significance, n_max, message", REFUSED)
def test_refuses_designs(call: Callable, tolerance, significance, n_max, message: str):
    with pytest.raises(ConfigError, match=message):
        call(tolerance, significance, n_max)


def test_accepts_numpy_integers():
    assert check_design(0.01, 0.01, np.int64(1000)) == 505


def test_refuses_counts():
    with pytest.raises(InputError, match="integers"):
        least_n_to_certify(1.5, 0.01, 0.01)
    with pytest.raises(InputError, match="0 <= s"):
        greatest_n_to_refute(-1, 0.01, 0.01)
