"""Do the bounds of KL hold on affine nets, and does the climb end at the top of the cube?"""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.numerics.fisher.ball import (
    VALID_RANGE,
    cube_fisher,
    kl_bounds,
    quadratic,
)
from torchattacks_ext.numerics.fisher.factor import Action
from torchattacks_ext.numerics.fisher.gram import exact_fisher
from torchattacks_ext.numerics.fisher.top import top_fisher

DOUBLE = torch.float64


def problem(seed: int, n: int, k: int, d: int) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, k, generator=source, dtype=DOUBLE)
    return logits, torch.randn(n, k, d, generator=source, dtype=DOUBLE)


def divergence(logits: Tensor, change: Tensor) -> Tensor:
    """KL(softmax z || softmax(z + change)) of every row."""
    p, q = logits.log_softmax(1), (logits + change).log_softmax(1)
    return (p.exp() * (p - q)).sum(1)


@settings(max_examples=100)
@given(seed=st.integers(0, 2**31), k=st.integers(2, 8), size=st.floats(1e-3, 20))
def test_kl_lies_between_its_bounds(seed: int, k: int, size: float) -> None:
    logits, jacobian = problem(seed, 6, k, 4)
    source = torch.Generator().manual_seed(seed)
    e = size * torch.randn(6, 4, generator=source, dtype=DOUBLE)
    log_v, spread = quadratic(Action.dense(logits, jacobian), e)
    v = log_v.exp()
    kl = divergence(logits, torch.einsum("nkd,nd->nk", jacobian, e))
    lower, upper = kl_bounds(v, spread)
    rounding = 1e-12 * (1 + v)
    assert bool((lower <= kl + rounding).all())
    assert bool((kl <= upper * (1 + 1e-9) + rounding).all())
    near = spread <= VALID_RANGE
    off = (kl - v / 2).abs()[near]
    assert bool((off <= 0.19 * v[near] / 2 + rounding[near]).all())


def test_the_bounds_are_sharp_somewhere() -> None:
    """Two classes, nearly all mass on the one that falls: KL reaches the upper bound."""
    logits = torch.tensor([[14.0, 0.0]], dtype=DOUBLE)
    change = torch.tensor([[0.0, 3.0]], dtype=DOUBLE)
    p = logits.softmax(1)
    v = p[:, 0] * p[:, 1] * 9
    _, upper = kl_bounds(v, torch.tensor([3.0], dtype=DOUBLE))
    kl = divergence(logits, change)
    assert 0.999 < float(kl / upper) <= 1
    lower, _ = kl_bounds(v, torch.tensor([3.0], dtype=DOUBLE))
    kl = divergence(logits, -change)
    assert 1 <= float(kl / lower) < 1.001


def test_small_ranges_keep_their_digits() -> None:
    r = torch.logspace(-12, 1, 200, dtype=DOUBLE)
    lower, upper = kl_bounds(torch.ones_like(r), r)
    assert bool((lower.diff() <= 0).all()) and bool((upper.diff() >= 0).all())
    assert float(lower[0]) == pytest.approx(0.5) == float(upper[0])


@pytest.mark.parametrize("k", [2, 4, 10])
def test_the_cube_against_all_its_vertices(k: int) -> None:
    """4096 vertices in 12 dimensions: value <= maximum <= upper bound, and the value is near."""
    logits, jacobian = problem(k, 20, k, 12)
    action = Action.dense(logits, jacobian)
    top = exact_fisher(action)
    cube = cube_fisher(action, top.u1, top.log_lam, top.log_cube)
    vertices = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=12))).double()
    p = logits.softmax(1)
    change = torch.einsum("nkd,vd->nvk", jacobian, vertices)
    mean = torch.einsum("nvk,nk->nv", change, p)
    values = torch.einsum("nvk,nk->nv", change**2, p) - mean**2
    best = values.amax(1)
    value, upper = cube.log_value.exp(), cube.log_upper.exp()
    assert bool((value <= best * (1 + 1e-9)).all())
    assert bool((value >= 0.7 * best).all()) and float((value / best).median()) > 0.99
    assert bool((best <= upper * (1 + 1e-9)).all())
    # the stated value is that of the stated signs
    again = quadratic(action, cube.signs)[0].exp()
    torch.testing.assert_close(again, value)
    if k == 2:  # rank one: sign(D) is the answer, and both bounds meet
        torch.testing.assert_close(value, best)
        torch.testing.assert_close(upper, best)


def test_the_l2_quadratic_along_u1_is_lambda() -> None:
    logits, jacobian = problem(3, 9, 30, 20)
    action = Action.dense(logits.float(), jacobian.float())
    top = top_fisher(action)
    log_v, _ = quadratic(action, top.u1)
    torch.testing.assert_close(log_v, top.log_lam, rtol=0, atol=1e-4)


def test_batch_changes_nothing_and_bad_rows_are_named() -> None:
    logits, jacobian = problem(4, 6, 5, 8)
    jacobian[1] = 0
    logits[2, 0] = float("nan")
    action = Action.dense(logits, jacobian)
    top = exact_fisher(action)
    cube = cube_fisher(action, top.u1, top.log_lam, top.log_cube)
    assert cube.log_value[1] == -torch.inf == cube.log_upper[1]
    assert bool(cube.log_value[2].isnan()) and bool(cube.log_upper[2].isnan())
    for i in (0, 1, 3, 5):
        row = slice(i, i + 1)
        alone = cube_fisher(
            Action.dense(logits[row], jacobian[row]), top.u1[row], top.log_lam[row]
        )
        torch.testing.assert_close(
            alone.log_value, cube.log_value[row], rtol=0, atol=1e-9
        )
        assert torch.equal(alone.signs, cube.signs[row])
        assert alone.n_iterations == cube.n_iterations[i]


def test_saturated_rows_climb_too() -> None:
    logits = torch.tensor([[0.0, -60.0, -70.0]])
    jacobian = torch.tensor([[[0.0, 0.0], [3.0, -4.0], [1.0, 1.0]]])
    action = Action.dense(logits, jacobian)
    cube = cube_fisher(action, torch.ones(1, 2), torch.zeros(1).double())
    assert cube.log_value.item() == pytest.approx(2 * torch.tensor(7.0).log() - 60)
    assert cube.signs[0, 0] == -cube.signs[0, 1]


def test_bad_arguments_are_named() -> None:
    action = Action.dense(torch.zeros(1, 3), torch.ones(1, 3, 2))
    with pytest.raises(ConfigError, match="n_max=0"):
        cube_fisher(action, torch.ones(1, 2), torch.zeros(1), n_max=0)
    with pytest.raises(InputError, match=r"\(N, D\) = \(1, 2\)"):
        cube_fisher(action, torch.ones(1, 3), torch.zeros(1))
