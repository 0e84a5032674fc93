"""Is the dual's maximum found, and never overstated? Grids, 40 digits, hard cases."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from torchattacks_ext.numerics.certificates.closed import closed_radius
from torchattacks_ext.numerics.certificates.dual import dual_radius

DOUBLE = torch.float64


def rows(n: int, d: int, seed: int, width: float = 1.0) -> tuple[Tensor, ...]:
    """m (n,), g (n, d), w (n, d) of many sizes."""
    source = torch.Generator().manual_seed(seed)
    m = torch.randn(n, generator=source, dtype=DOUBLE).mul(2).exp()
    g = torch.randn(n, d, generator=source, dtype=DOUBLE)
    w = torch.randn(n, d, generator=source, dtype=DOUBLE) * width
    return m, g, w


def dual(m: Tensor, g: Tensor, w: Tensor, nu: Tensor) -> Tensor:
    """D(nu) = nu m - nu^2 sum g^2 / (1 + nu w), literally."""
    below = 1 + nu.unsqueeze(1) * w
    return nu * m - nu.square() * (g.square() / below).sum(1)


def solved(m: Tensor, g: Tensor, w: Tensor, slack: bool = True) -> Tensor:
    return dual_radius(m, g.square(), w, torch.zeros_like(m), slack=slack)


@pytest.mark.parametrize("width", [0.01, 1.0, 30.0])
def test_no_multiplier_gives_more(width: float) -> None:
    """Random feasible multipliers, and a fine grid about the best, never exceed what is found."""
    m, g, w = rows(200, 6, seed=1, width=width)
    found = solved(m, g, w, slack=False)
    most = torch.where(w.amin(1) < 0, -1 / w.amin(1), 1e6)
    source = torch.Generator().manual_seed(2)
    best = torch.zeros_like(m)
    for _ in range(300):
        part = torch.rand(len(m), generator=source, dtype=DOUBLE)
        nu = most * part.pow(6 * float(torch.rand(1, generator=source))) * (1 - 1e-9)
        best = torch.maximum(best, dual(m, g, w, nu).clamp(min=0).sqrt())
    finite = found.isfinite()
    assert bool((best[finite] <= found[finite] * (1 + 1e-9)).all())
    # the grid is no straw man: it comes close
    assert float((best / found)[finite].median()) > 0.999


def test_forty_digits_agree() -> None:
    """The same root in 40 digits: what is returned lies below, within 2e-12."""
    mp = pytest.importorskip("mpmath")
    m, g, w = rows(40, 5, seed=3)
    w[:10, 0] = -1e6 * w[:10, 0].abs()  # a steep pole
    g[10:20, 0] *= 1e-9  # nearly the hard case
    w[10:20, 0] = w[10:20].amin(1) - 1
    found = solved(m, g, w)
    with mp.workdps(40):
        for i in range(len(m)):
            truth = precise(mp, m[i], g[i], w[i])
            assert found[i].item() <= truth
            assert found[i].item() >= truth * (1 - 2e-12)


def precise(mp: object, m: Tensor, g: Tensor, w: Tensor) -> float:
    """sqrt(max D) by bisection on h in 40 digits."""
    mpf, sqrt = mp.mpf, mp.sqrt  # type: ignore[attr-defined]
    a = [mpf(x) ** 2 for x in g.tolist()]
    v, target = [mpf(x) for x in w.tolist()], mpf(m.item())

    def p(lam: object) -> object:
        return sum(x * (2 * lam + y) / (lam + y) ** 2 for x, y in zip(a, v))  # type: ignore

    low = max(mpf(0), -min(v))
    high = low + 1
    while p(high) > target:  # type: ignore[operator]
        high = low + 2 * (high - low)
    for _ in range(140):
        middle = (low + high) / 2
        low, high = (middle, high) if p(middle) > target else (low, middle)  # type: ignore
    value = (target - sum(x / (high + y) for x, y in zip(a, v))) / high
    return float(sqrt(value))


def test_a_concentric_rival_is_the_hard_case() -> None:
    """g = 0: no root below the pole, where the answer is sqrt(m / -w)."""
    m = torch.tensor([3.0, 5.0], dtype=DOUBLE)
    w = torch.tensor([[-2.0, 1.0], [-0.1, -0.1]], dtype=DOUBLE)
    found = solved(m, torch.zeros(2, 2, dtype=DOUBLE), w)
    truth = (m / -w.amin(1)).sqrt()
    assert bool((found <= truth).all())
    assert found.tolist() == pytest.approx(truth.tolist(), rel=1e-11)


def test_the_hard_case_with_a_slope_beside_it() -> None:
    """m = 4, g = (0, 1), W = diag(-1, 1): 4 + 2 y - x^2 + y^2 <= 0, nearest at y = -1/2."""
    m, g = torch.tensor([4.0], dtype=DOUBLE), torch.tensor([[0.0, 1.0]], dtype=DOUBLE)
    w = torch.tensor([[-1.0, 1.0]], dtype=DOUBLE)
    x2 = 4 - 1 + 0.25
    truth = math.sqrt(x2 + 0.25)
    assert solved(m, g, w).item() == pytest.approx(truth, rel=1e-11)
    assert solved(m, g, w).item() <= truth


def test_no_rival_region_is_infinite_and_nothing_else() -> None:
    m = torch.tensor([1.0, 1.0, 1.0], dtype=DOUBLE)
    g = torch.tensor([[1.0, 0.5], [1.0, 0.5], [1.0, 0.5]], dtype=DOUBLE)
    w = torch.tensor([[2.0, 2.0], [1.2, 2.0], [2.0, 0.0]], dtype=DOUBLE)
    # g.W^-1 g = .625, .958, inf
    found = solved(m, g, w)
    assert found[:2].tolist() == [math.inf, math.inf] and math.isfinite(found[2])
    error = torch.tensor([0.0, 0.2, 0.0], dtype=DOUBLE)
    less = dual_radius(m, g.square(), w, error)
    assert less[0] == math.inf and math.isfinite(less[1])


def test_an_error_of_the_gradient_is_taken_off() -> None:
    m, g, w = rows(100, 4, seed=5)
    error = 0.01 * torch.ones_like(m)
    less = dual_radius(m, g.square(), w, error)
    source = torch.Generator().manual_seed(6)
    for _ in range(50):
        turn = torch.randn(g.shape, generator=source, dtype=DOUBLE)
        moved = g + 0.01 * torch.nn.functional.normalize(turn)
        assert bool((less <= solved(m, moved, w, slack=False) * (1 + 1e-12)).all())


def test_cancellation_far_out_gives_nothing_away() -> None:
    """m just above g.W^-1 g: the distance is large and D is a small difference of large numbers."""
    mp = pytest.importorskip("mpmath")
    g = torch.tensor([[1.0, 1.0]], dtype=DOUBLE).expand(6, 2)
    w = torch.tensor([[1.0, 1e-7]], dtype=DOUBLE).expand(6, 2)
    bottom = 1 + 1e7
    parts = torch.tensor([1e-3, 1e-6, 1e-9, 1e-12, 1e-14, 0.0], dtype=DOUBLE)
    m = bottom * (1 - parts)
    found = solved(m, g, w)
    with mp.workdps(60):
        for i in range(5):
            assert found[i].item() <= precise(mp, m[i], g[i], w[i])
    assert bool((found > 0).all())


def test_a_limit_leaves_valid_radii_and_ends_early() -> None:
    m, g, w = rows(500, 8, seed=7)
    whole = solved(m, g, w)
    limit = torch.full_like(m, float(whole.median()))
    some = dual_radius(m, g.square(), w, torch.zeros_like(m), limit=limit)
    near = whole <= limit
    assert torch.allclose(some[near], whole[near], rtol=1e-12)
    assert bool((some[~near] >= limit[~near]).all())
    assert bool((some <= whole * (1 + 1e-12)).all())
    assert bool((some < whole * (1 - 1e-6)).any())


def test_rows_do_not_depend_on_their_company() -> None:
    m, g, w = rows(1200, 5, seed=8)
    alone = torch.cat(
        [solved(m[i : i + 7], g[i : i + 7], w[i : i + 7]) for i in range(0, 1200, 7)]
    )
    assert torch.allclose(alone, solved(m, g, w), rtol=1e-12)


@pytest.mark.parametrize("bend", [-3.0, 0.0, 0.2])
def test_one_eigenvalue_is_the_formula(bend: float) -> None:
    m, g, _ = rows(50, 3, seed=9)
    w = torch.full_like(g, bend)
    truth = closed_radius(m, g.norm(dim=1), w[:, 0])
    found = solved(m, g, w, slack=False)
    assert found.tolist() == pytest.approx(truth.tolist(), rel=1e-12)
