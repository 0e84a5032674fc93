"""Does the logarithm survive where the incomplete beta integral underflows?"""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from scipy import special

from torchattacks_ext.errors import BackendError
from torchattacks_ext.numerics.incbeta import Tail, log_partial_beta

TAILS: tuple[Tail, Tail] = ("below", "above")
CASES = [
    (0.25, 25.0, 0.01),
    (0.25, 25.0, 0.5),
    (0.25, 25_000.0, 0.5),
    (0.25, 0.2777, 0.9),
    (0.25, 2.5e7, 1e-8),
    (3.25, 500.0, 0.01),
    (400.25, 1625.0, 0.01),
    (400.25, 1625.0, 0.6),
    (8.25, 1.025e9, 1e-8),
    (0.25, 1e6, 1e-12),
    (9.99, 10.01, 0.5),
    (1.0, 1.0, 1 - 1e-12),
]


def by_series(p: float, q: float, x: float, tail: Tail) -> float:
    """The hypergeometric series of positive terms, in 60 digits."""
    with mp.workdps(60):
        a, b, u = mp.mpf(p), mp.mpf(q), mp.mpf(x)
        if tail == "above":
            a, b, u = b, a, 1 - u
        if u <= 0.5:  # elsewhere the series may need 1e10 terms
            return float(mp.log(_sum(a, b, u) / a))
        whole = mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b)
        whole = mp.exp(whole - a * mp.log(u) - b * mp.log(1 - u))
        return float(mp.log(whole - _sum(b, a, 1 - u) / b))


def _sum(a: mp.mpf, b: mp.mpf, u: mp.mpf) -> mp.mpf:
    term = total = mp.mpf(1)
    j = 0
    while term > total * mp.mpf(10) ** -45:
        term *= (a + b + j) / (a + 1 + j) * u
        total += term
        j += 1
    return total


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("p, q, x", CASES)
def test_against_sixty_digits(p: float, q: float, x: float, tail: Tail):
    expected = by_series(p, q, x, tail)
    found = float(log_partial_beta(p, q, x, tail))
    assert abs(found - expected) <= 2e-13 * max(1, abs(expected))


@pytest.mark.parametrize(
    "tail, edge, start, end",
    [("below", 1e-280, 1e-13, 1e-10), ("above", 0.999, 0.014, 0.022)],
)
def test_both_methods_agree_where_they_meet(tail: Tail, edge: float, start, end):
    """On both sides of the point where betainc is given up."""
    p, q = 30.25, 3000.0
    x = np.geomspace(start, end, 2001)
    switch = int(np.searchsorted(special.betainc(p, q, x), edge))
    assert 0 < switch < 2000
    for v in x[switch - 1 : switch + 1]:
        expected = by_series(p, q, float(v), tail)
        assert abs(float(log_partial_beta(p, q, v, tail)) - expected) < 2e-12


@pytest.mark.parametrize("tail, sign", [("below", 1), ("above", -1)])
@pytest.mark.parametrize(
    "p, q, x", [(0.25, 25.0, 0.03), (20.0, 90.0, 0.1), (4.0, 2.0, 0.9)]
)
def test_slope_in_logit(p: float, q: float, x: float, tail: Tail, sign: int):
    step = 1e-5
    ends = special.expit(special.logit(x) + step * np.array([-1, 1]))
    low, high = log_partial_beta(p, q, ends, tail)
    value = float(log_partial_beta(p, q, x, tail))
    expected = sign * np.exp(-value) - (p - (p + q) * x)
    assert abs((high - low) / (2 * step) - expected) < 1e-7 * max(1, abs(expected))


def test_broadcasts_and_keeps_shape():
    x = np.array([[0.1], [0.5], [0.999999]])
    found = log_partial_beta(np.array([1.0, 50.0]), 2.0, x, "above")
    each = [
        [float(log_partial_beta(p, 2.0, v, "above")) for p in (1.0, 50.0)]
        for v in x[:, 0]
    ]
    assert found.shape == (3, 2)
    np.testing.assert_allclose(found, each, rtol=1e-14)
    assert log_partial_beta(1.0, 1.0, 0.5, "below").shape == ()
    assert log_partial_beta(np.zeros(0), 1.0, 0.5, "below").shape == (0,)


def test_nan_is_an_error_and_no_number():
    with pytest.raises(BackendError, match="converge"), np.errstate(invalid="ignore"):
        log_partial_beta(np.nan, 1.0, 0.5, "below")
