"""Are the coefficients those of scipy, and do their intervals hold what they promise?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.numerics import resampling
from torchattacks_ext.numerics.correlation import weighted
from torchattacks_ext.numerics.correlation.columns import (
    COEFFICIENTS,
    compare,
    correlate,
)
from torchattacks_ext.numerics.resampling import bootstrap

Floats = NDArray[np.float64]
SCIPY: dict[str, Any] = {
    "spearman": stats.spearmanr,
    "kendall": stats.kendalltau,
    "pearson": stats.pearsonr,
}
# Few different values: ties are common.
number = st.one_of(st.integers(-3, 3).map(float), st.floats(-100, 100, width=16))
pairs = st.lists(st.tuples(number, number), min_size=3, max_size=25).map(np.array)


def varied(rows: Floats) -> bool:
    return all(len(set(values.tolist())) > 1 for values in rows.T)


def naive(x: Floats, y: Floats, coefficient: str) -> float:
    """The definition, pair by pair, nan for a constant column."""
    if len(set(x.tolist())) < 2 or len(set(y.tolist())) < 2:
        return math.nan
    if coefficient == "kendall":
        sx, sy = (np.sign(v[:, None] - v[None]) for v in (x, y))
        return float((sx * sy).sum() / math.sqrt((sx**2).sum() * (sy**2).sum()))
    if coefficient == "spearman":
        below = [
            (v[None] < v[:, None]).sum(1) + (v[None] == v[:, None]).sum(1) / 2
            for v in (x, y)
        ]
        return naive(below[0], below[1], "pearson")
    dx, dy = x - x.mean(), y - y.mean()
    return float((dx * dy).sum() / math.sqrt((dx**2).sum() * (dy**2).sum()))


@pytest.mark.parametrize("coefficient", COEFFICIENTS)
@given(rows=pairs.filter(varied))
def test_values_are_those_of_scipy_and_of_the_definition(
    coefficient: Any, rows: Floats
) -> None:
    x, y = rows.T
    found = correlate(x, y, coefficient, n_resamples=40)
    assert found.value == pytest.approx(naive(x, y, coefficient), abs=1e-9)
    if coefficient != "pearson":
        expected = float(SCIPY[coefficient](x, y).statistic)
        assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.n == len(x) and found.reason == ""


@pytest.mark.parametrize("coefficient", COEFFICIENTS)
@given(rows=pairs, seed=st.integers(0, 2**63 - 1))
@settings(max_examples=40)
def test_every_resample_is_ranked_anew(
    coefficient: Any, rows: Floats, seed: int
) -> None:
    """The weighted sums equal the coefficient of the rows written out, resample by resample."""
    x, y = rows.T
    (drawn,) = resampling.resamples(len(x), 30, seed)
    (found,) = weighted.resampled([x], y, coefficient, 30, seed)
    expected = [naive(x[row], y[row], coefficient) for row in drawn]
    near = 1e-6 if coefficient == "pearson" else 1e-9
    np.testing.assert_allclose(found, expected, atol=near)


@pytest.mark.parametrize("coefficient", COEFFICIENTS)
def test_reference(coefficient: Any) -> None:
    """On paper: R(x) = 1, 2.5, 2.5, 4 and R(y) = 1, 2, 3, 4; C = 5, one tie in x."""
    expected = {
        "spearman": 4.5 / math.sqrt(4.5 * 5),
        "kendall": 5 / math.sqrt(5 * 6),
        "pearson": 3 / math.sqrt(2 * 5),
    }[coefficient]
    found = correlate([0, 1, 1, 2], [1, 2, 3, 4], coefficient)
    assert found.value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("coefficient", COEFFICIENTS)
@given(rows=pairs.filter(varied), seed=st.integers(0, 9))
def test_sign_order_and_scale(coefficient: Any, rows: Floats, seed: int) -> None:
    """-x mirrors value and interval; x and y may change places; a x + b (a > 0) changes nothing."""
    x, y = rows.T

    def of(a: Floats, b: Floats) -> list[float]:
        found = correlate(a, b, coefficient, n_resamples=60, seed=seed)
        return [found.low, found.value, found.high]

    base = of(x, y)
    near: Any = {"abs": 1e-6, "nan_ok": True}
    assert of(-x, y)[::-1] == pytest.approx([-v for v in base], **near)
    assert of(y, x) == pytest.approx(base, **near)
    assert of(4 * x, 0.5 * y) == pytest.approx(base, **near)
    if coefficient != "pearson":
        assert of(np.cbrt(x), np.arctan(y / 64)) == base
    order = np.random.default_rng(seed).permutation(len(x))
    assert of(x[order], y[order])[1] == pytest.approx(base[1], abs=1e-9)


@pytest.mark.parametrize("coefficient", COEFFICIENTS)
def test_intervals_cover(coefficient: Any) -> None:
    """Bivariate normal, rho = .5, n = 100, 300 repeats of a 95 % interval.

    The percentile interval of 100 rows covers .92 to .96; below .90 or above .985 would be a
    mistake. Fails by luck at most 1e-7 a side for a true coverage of .90 and .985. The
    mean width is that of the large-sample spread within a tenth, more than ten times its error.
    """
    rho, n, repeats = 0.5, 100, 300
    truth = {
        "pearson": rho,
        "spearman": 6 / math.pi * math.asin(rho / 2),
        "kendall": 2 / math.pi * math.asin(rho),
    }[coefficient]
    rng, hits, widths = np.random.default_rng(7), 0, []
    for seed in range(repeats):
        x, e = rng.standard_normal((2, n))
        y = rho * x + math.sqrt(1 - rho**2) * e
        found = correlate(x, y, coefficient, n_resamples=300, seed=seed)
        hits += found.low <= truth <= found.high
        widths.append(found.high - found.low)
    least = stats.binom.ppf(1e-7, repeats, 0.90)
    most = stats.binom.ppf(1 - 1e-7, repeats, 0.985)
    assert least <= hits <= most
    if coefficient == "pearson":
        expected = 2 * 1.96 * (1 - rho**2) / math.sqrt(n)
        assert np.mean(widths) == pytest.approx(expected, rel=0.1)
        assert np.std(widths) / math.sqrt(repeats) < 0.01 * expected


def test_rows_with_nan_are_dropped_and_counted() -> None:
    x = torch.tensor([1.0, math.nan, 3.0, 2.0, 5.0, 4.0])
    y = torch.tensor([1.0, 2.0, math.nan, 3.0, 4.0, 5.0], dtype=torch.float64)
    found = correlate(x, y)
    assert (found.n, found.n_dropped) == (4, 2)
    same = correlate([1, 2, 5, 4], [1, 3, 4, 5])
    assert (found.value, found.low, found.high) == (same.value, same.low, same.high)


@pytest.mark.parametrize("coefficient", COEFFICIENTS)
@pytest.mark.parametrize(
    "x, y, reason",
    [
        ([], [], "0 rows without nan"),
        ([math.nan] * 4, [1, 2, 3, 4], "0 rows without nan"),
        ([1, 2], [2, 1], "2 rows without nan"),
        ([3, 3, 3], [1, 2, 3], "x is constant"),
        ([1, 2, 3], [True, True, True], "y is constant"),
        ([math.inf] * 3, [1, 2, 3], "x"),
    ],
)
def test_no_value_has_a_reason(
    coefficient: Any, x: list[float], y: list[float], reason: str
) -> None:
    found = correlate(x, y, coefficient)
    assert found.reason.startswith(reason)
    assert math.isnan(found.value) and math.isnan(found.low) and math.isnan(found.high)


def test_infinite_numbers_have_a_rank_but_no_moment() -> None:
    x, y = [-math.inf, 1, 2, math.inf], [1, 2, 3, 4]
    assert correlate(x, y).value == correlate(x, y, "kendall").value == 1
    assert "infinite" in correlate(x, y, "pearson").reason


def test_large_and_flat_numbers_make_no_warning() -> None:
    y = [1.0, 5.0, 2.0]
    assert correlate([1e300, -1e300, 1.5e300], y, "pearson").value < 0
    assert "rounding" in correlate([1, 1, 1 + 1e-15], y, "pearson").reason
    few = correlate([0, 0, 0, 0, 1], [0, 0, 0, 0, 1], n_resamples=400)
    assert few.n_constant > 50 and few.low < few.value == few.high == 1
    assert "only 1 of 5 rows" in few.doubt


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = np.random.default_rng(1).standard_normal((2, 50))
    whole = [correlate(x, y, c, n_resamples=100) for c in COEFFICIENTS]
    median = bootstrap(x, "median")
    monkeypatch.setattr(resampling, "_CHUNK", 350)
    monkeypatch.setattr(weighted, "_PAIRS", 333)
    assert [correlate(x, y, c, n_resamples=100) for c in COEFFICIENTS] == whole
    assert bootstrap(x, "median") == median


def test_a_seed_is_a_sample_and_nothing_global() -> None:
    x, y = np.random.default_rng(2).standard_normal((2, 30))
    before = torch.get_rng_state()
    first, again, other = (correlate(x, y, seed=s) for s in (0, 0, 1))
    assert first == again and first.low != other.low and first.value == other.value
    assert torch.equal(before, torch.get_rng_state())


def test_pairs_of_predictors() -> None:
    rng = np.random.default_rng(3)
    y, noise, other = rng.standard_normal((3, 120))
    near, far = y + 0.3 * noise, y + 3 * other
    found = compare(near, far, y)
    assert found.first == correlate(near, y).value
    assert found.second == correlate(far, y).value
    assert found.difference == found.first - found.second > 0
    assert 0 < found.low < found.difference < found.high
    mirrored = compare(far, near, y)
    assert (mirrored.low, mirrored.high) == (-found.high, -found.low)
    alike = compare(near, near + 1e-3 * other, y)
    assert alike.high - alike.low < 0.05 < found.high - found.low
    near[0] = math.nan
    assert (compare(near, far, y).n, compare(near, far, y).n_dropped) == (119, 1)
    assert compare([1, 1, 1], [1, 2, 3], [3, 2, 1]).reason == "first is constant"


def test_the_difference_covers() -> None:
    """Two predictors of equal worth: 0 is inside as often as promised; limits as above."""
    rng, repeats, hits = np.random.default_rng(5), 300, 0
    for seed in range(repeats):
        y, a, b = rng.standard_normal((3, 80))
        found = compare(y + a, y + b, y, n_resamples=300, seed=seed)
        hits += found.low <= 0 <= found.high
    least, most = stats.binom.ppf([1e-7, 1 - 1e-7], repeats, [0.90, 0.985])
    assert least <= hits <= most


def test_what_is_refused() -> None:
    with pytest.raises(ConfigError, match="'spearman', 'kendall', 'pearson'"):
        correlate([1, 2, 3], [1, 2, 3], "rho")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"confidence=1.0 is not in \(0, 1\)"):
        correlate([1, 2, 3], [1, 2, 3], confidence=1.0)
    with pytest.raises(ConfigError, match="n_resamples=39 is too small"):
        compare([1, 2, 3], [1, 2, 3], [1, 2, 3], n_resamples=39)
    with pytest.raises(InputError, match="different lengths {'x': 3, 'y': 2}"):
        correlate([1, 2, 3], [1, 2])
    with pytest.raises(InputError, match=r"x is \(1, 3\) int64, expected \(N,\)"):
        correlate([[1, 2, 3]], [1, 2, 3])
    with pytest.raises(InputError, match="real numbers"):
        correlate([1j, 2j, 3j], [1, 2, 3])


def test_results_as_dicts() -> None:
    found = correlate([1, 2, 3], [1, 2, 3]).to_dict()
    assert found["value"] == 1 and found["n"] == 3 and found["reason"] == ""
    assert set(compare([1, 2, 3], [1, 3, 2], [1, 2, 3]).to_dict()) > {"first", "low"}
