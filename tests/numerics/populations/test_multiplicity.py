"""Do the adjusted values keep exactly the claims that each procedure keeps?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.numerics.populations.multiplicity import (
    CORRECTIONS,
    adjust,
    adjust_e,
)

TEN = [0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205, 0.212, 0.216]
HOLM = [0.01, 0.072] + [0.312] * 5 + [0.615] * 3
BH = [0.01, 0.04, 0.084, 0.084, 0.084, 0.1, 0.74 / 7, 0.216, 0.216, 0.216]

Floats = NDArray[np.float64]
# Few different values: ties are common.
some_p = st.lists(
    st.one_of(st.sampled_from([0.0, 0.01, 0.02, 0.5, 1.0]), st.floats(0, 1)),
    min_size=1,
    max_size=30,
).map(np.array)
some_log_e = st.lists(
    st.one_of(st.sampled_from([-np.inf, 0.0, np.inf, 3.0, 800.0]), st.floats(-30, 30)),
    min_size=1,
    max_size=30,
).map(np.array)


def naive(p: Floats, method: str) -> list[float]:
    """The definition, claim by claim, with ties counted by their rank from either end."""
    m = len(p)
    ordered = sorted(p)
    c = sum(1 / k for k in range(1, m + 1)) if method == "by" else 1.0
    found = []
    for value in p:
        if method == "holm":
            steps = [(m - j) * q for j, q in enumerate(ordered) if q <= value]
            found.append(min(1.0, max(steps)))
        else:
            steps = [m * q / (j + 1) for j, q in enumerate(ordered) if q >= value]
            found.append(min(1.0, c * min(steps)))
    return found


def kept_by_e_bh(log_e: Floats, q: float) -> NDArray[np.bool_]:
    """Wang & Ramdas 2022: the k largest, for the greatest k with k E_(k) >= m / q."""
    m, e = len(log_e), np.exp(np.minimum(log_e, 700))
    ordered = np.sort(e)[::-1]
    good = np.flatnonzero(np.arange(1, m + 1) * ordered >= m / q)
    if not good.size:
        return np.zeros(m, dtype=bool)
    return np.asarray(e >= ordered[good[-1]])


@pytest.mark.parametrize("method, expected", [("holm", HOLM), ("bh", BH)])
def test_reference(method: Any, expected: list[float]):
    np.testing.assert_allclose(adjust(TEN, method), expected, rtol=1e-9)


def test_by_reference():
    """BH times 1 + 1/2 + ... + 1/10 = 7381 / 2520, capped."""
    expected = np.minimum(np.array(BH) * 7381 / 2520, 1)
    np.testing.assert_allclose(adjust(TEN, "by"), expected, rtol=1e-12)


@given(p=some_p)
def test_against_the_definition(p: Floats):
    for method in ("holm", "bh", "by"):
        np.testing.assert_allclose(
            adjust(p, method), naive(p, method), rtol=1e-12, atol=1e-300
        )


@given(p=some_p, random=st.randoms(use_true_random=False))
def test_order_does_not_matter(p: Floats, random: Any):
    order = np.array(random.sample(range(len(p)), len(p)))
    for method in CORRECTIONS:
        np.testing.assert_array_equal(
            adjust(p[order], method), adjust(p, method)[order]
        )


@given(p=some_p)
def test_relations_between_the_procedures(p: Floats):
    """All are >= p and <= 1; Holm lies between BH and Bonferroni; BY is c(m) BH."""
    m = len(p)
    found = {method: adjust(p, method) for method in CORRECTIONS}
    tiny = 1 + 1e-12
    for values in found.values():
        assert (values * tiny >= p).all() and (values <= 1).all()
    assert (found["none"] == p).all()
    assert (found["bh"] <= found["holm"] * tiny).all()
    assert (found["holm"] <= np.minimum(m * p, 1) * tiny).all()
    c = (1 / np.arange(1, m + 1)).sum()
    np.testing.assert_allclose(
        found["by"], np.minimum(c * found["bh"], 1), rtol=1e-12, atol=1e-300
    )


@given(p=some_p, factor=st.floats(0, 1))
def test_monotone(p: Floats, factor: float):
    """A smaller p keeps its rank; if one of them falls, no adjusted value rises."""
    smaller = p.copy()
    smaller[0] *= factor
    for method in CORRECTIONS:
        adjusted = adjust(p, method)
        assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()
        ties = p[:, None] == p
        assert (adjusted[:, None] == adjusted)[ties].all()
        assert (adjust(smaller, method) <= adjusted * (1 + 1e-12)).all()


@pytest.mark.parametrize("method", CORRECTIONS)
def test_shapes(method: Any):
    p = np.array(TEN).reshape(2, 5)
    assert adjust(p, method).shape == (2, 5)
    np.testing.assert_array_equal(adjust(p, method).ravel(), adjust(TEN, method))
    assert adjust([], method).shape == (0,)
    assert adjust(np.zeros((0, 3)), method).shape == (0, 3)
    assert adjust(0.3, method).shape == () and float(adjust(0.3, method)) == 0.3
    assert adjust([0, 1], method).dtype == np.float64


def test_the_input_is_left_alone():
    p = np.array(TEN)
    for method in CORRECTIONS:
        adjust(p, method)[:] = 7
    assert p.tolist() == TEN


@pytest.mark.parametrize("bad", [np.nan, -1e-9, 1.1, np.inf])
@pytest.mark.parametrize("method", CORRECTIONS)
def test_refuses_p_values(bad: float, method: Any):
    with pytest.raises(InputError, match=r"1 p-values are not in \[0, 1\]"):
        adjust([0.1, bad], method)


@pytest.mark.parametrize("method", ["BH", "bonferroni", "", None])
def test_refuses_methods(method: Any):
    with pytest.raises(ConfigError, match="'holm', 'bh', 'by'"):
        adjust([0.1], method)


def share_of_false_claims(p: Floats, null: NDArray[np.bool_], method: Any) -> Floats:
    """(R, m) -> false claims / claims at level 0.1, for each repeat."""
    kept = np.array([adjust(row, method) <= 0.1 for row in p])
    return (kept & null).sum(1) / np.maximum(kept.sum(1), 1)


@pytest.mark.parametrize("method", ["holm", "bh", "by"])
def test_false_claims_are_as_rare_as_promised(method: Any):
    """20 nulls, 10 alternatives, 4,000 repeats; fails by luck at most once in 1e6 (Hoeffding)."""
    rng, repeats = np.random.default_rng(0), 4000
    null = np.arange(30) < 20
    z = rng.standard_normal((repeats, 30)) + np.where(null, 0, -3)
    share = share_of_false_claims(stats.norm.cdf(z), null, method)
    if method == "holm":
        share = share > 0
    assert share.mean() <= 0.1 + np.sqrt(np.log(1e6) / (2 * repeats))


@given(log_e=some_log_e, q=st.floats(0.001, 0.999))
def test_e_bh_keeps_what_the_definition_keeps(log_e: Floats, q: float):
    adjusted = adjust_e(log_e)
    if np.abs(adjusted / q - 1).min() > 1e-9:
        np.testing.assert_array_equal(adjusted <= q, kept_by_e_bh(log_e, q))


@given(log_e=some_log_e, random=st.randoms(use_true_random=False))
def test_e_bh_is_equivariant_and_monotone(log_e: Floats, random: Any):
    order = np.array(random.sample(range(len(log_e)), len(log_e)))
    adjusted = adjust_e(log_e)
    np.testing.assert_array_equal(adjust_e(log_e[order]), adjusted[order])
    assert (np.diff(adjusted[np.argsort(-log_e)]) >= 0).all()
    assert (adjust_e(log_e + 1.0) <= adjusted).all()


def test_e_bh_ends():
    assert adjust_e([]).shape == (0,)
    assert adjust_e([[np.inf], [-np.inf]]).tolist() == [[0.0], [1.0]]
    assert adjust_e([-5.0, 0.0]).tolist() == [1.0, 1.0]
    assert float(adjust_e(np.log(20.0))) == pytest.approx(0.05, rel=1e-12)
    with pytest.raises(InputError, match="1 values of log E are NaN"):
        adjust_e([0.0, np.nan])


def test_e_bh_holds_at_the_stop_and_fails_on_running_maxima():
    """Two fair games on dependent data, all four outcomes counted: nothing is random.

    Game 1 grows from 1 to 1/q on the events B1 and C, then doubles on B1 and is lost on C; game 2
    does the same with B2 and C. Both nulls are true, and B1, B2, C exclude each other.
    """
    q = 0.25
    chance = np.array([q / 2, q / 2, q / 2, 1 - 1.5 * q])  # B1, B2, C, none
    at_stop = np.array([[2 / q, 0], [0, 2 / q], [0, 0], [0, 0]])
    highest = np.array([[2 / q, 1], [1, 2 / q], [1 / q, 1 / q], [1, 1]])
    assert (chance @ at_stop == 1).all()
    for bar in (1, 1 / q, 2 / q):  # Ville: each 1 / max E alone is a p-value
        assert (chance @ (highest >= bar) <= 1 / bar).all()

    def false_claims(e: Floats) -> float:
        with np.errstate(divide="ignore"):
            kept = [adjust_e(np.log(row)).min() <= q * (1 + 1e-12) for row in e]
        return float(chance @ np.array(kept))

    assert false_claims(at_stop) == q
    assert false_claims(highest) == 1.5 * q
