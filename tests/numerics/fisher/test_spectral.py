"""Do the searches find the largest singular value, and never claim more than they know?"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from torchattacks_ext.errors import ConfigError
from torchattacks_ext.numerics.fisher.lanczos import lanczos
from torchattacks_ext.numerics.fisher.spectral import (
    Ending,
    Operator,
    dense_operator,
    gaussians,
    hutchinson_trace,
    max_rayleigh,
    power_iteration,
)


def matrices(
    n: int, m: int, d: int, seed: int, decay: float, dtype: torch.dtype
) -> Tensor:
    """Random (n, d, m) whose columns are scaled by 10^0 .. 10^-decay."""
    source = torch.Generator().manual_seed(seed)
    scale = torch.logspace(0, -decay, m, dtype=torch.float64)
    return (torch.randn(n, d, m, generator=source).double() * scale).to(dtype)


def random_start(n: int, m: int, draw: int = 0) -> Tensor:
    return gaussians(torch.zeros(n, m).double(), "test", draw, torch.arange(n))


def truth(matrix: Tensor) -> Tensor:
    return torch.linalg.svdvals(matrix.double())[:, 0].square()


class Counted:
    """An operator that counts the rows of its products."""

    def __init__(self, matrix: Tensor, takes: bool = True) -> None:
        self.rows, self.rebuilt = 0, 0
        self.operator = self._of(matrix, takes)

    def _of(self, matrix: Tensor, takes: bool) -> Operator:
        inner = dense_operator(matrix)

        def apply(w: Tensor) -> Tensor:
            self.rows += len(w)
            return inner.apply(w)

        def take(rows: Tensor) -> Operator:
            self.rebuilt += len(rows)
            return self._of(matrix[rows], takes)

        return Operator(apply, inner.adjoint, take if takes else None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("decay", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("m", [2, 9, 99])
def test_converged_means_right(m: int, decay: float, dtype: torch.dtype) -> None:
    """150 spectra each, 2700 in all, flat to steep. The draws are fixed: no false alarm is left.

    (In 50,000 other spectra the rule never erred.)
    """
    matrix = matrices(150, m, 2 * m, m, decay, dtype)
    found = lanczos(dense_operator(matrix), random_start(150, m), m)
    right = truth(matrix)
    done = found.status == int(Ending.CONVERGED)
    assert bool(done.all())
    assert bool(((found.theta - right).abs() <= 1e-3 * right).all())
    # a Rayleigh quotient is never above the largest eigenvalue, but for rounding
    assert bool((found.theta <= right * (1 + 100 * torch.finfo(dtype).eps)).all())
    assert bool((found.residual <= 1e-3).all())
    image = torch.einsum("ndm,nm->nd", matrix.double(), found.w)
    torch.testing.assert_close(image.to(dtype), found.image, rtol=1e-4, atol=1e-5)


def test_a_hidden_vector_is_found() -> None:
    """A start that leans on the second eigenvector: the residual alone would stop there.

    sigma^2 = 1 with overlap 1e-4, then .9 and a few small ones. The plain rule r <= tol theta
    (miss = inf) takes .9 for the answer, the rule with `miss` does not.
    """
    sizes = torch.tensor([1.0, 0.9, 0.3, 0.2, 0.1]).double().sqrt()
    operator = dense_operator(torch.diag(sizes)[None])
    start = torch.tensor([[1e-4, 1.0, 0.1, 0.1, 0.1]]).double()
    naive = lanczos(operator, start, 5, miss=math.inf, tol=2e-2)
    assert naive.theta.item() < 0.901 and naive.status.item() == Ending.CONVERGED
    found = lanczos(operator, start, 5, tol=2e-2)
    assert found.theta.item() > 0.99


def test_batch_and_order_change_nothing() -> None:
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-9)):
        matrix = matrices(40, 30, 50, 1, 1.5, dtype)
        start = random_start(40, 30)
        whole = lanczos(dense_operator(matrix), start, 30)
        order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
        mixed = lanczos(dense_operator(matrix[order]), start[order], 30)
        ones = [
            lanczos(dense_operator(matrix[i : i + 1]), start[i : i + 1], 30).theta
            for i in range(40)
        ]
        for other in (mixed.theta[order.argsort()], torch.cat(ones)):
            torch.testing.assert_close(other, whole.theta, rtol=tolerance, atol=0)


def test_finished_rows_are_left_behind() -> None:
    easy = torch.zeros(30, 60, 40)
    easy[:, 0, 0] = 1
    matrix = torch.cat([easy, matrices(10, 40, 60, 2, 0.0, torch.float32)])
    start = random_start(40, 40)
    with_take, without = Counted(matrix), Counted(matrix, takes=False)
    one = lanczos(with_take.operator, start, 40)
    two = lanczos(without.operator, start, 40)
    torch.testing.assert_close(one.theta, two.theta, rtol=1e-6, atol=0)
    assert with_take.rows < 0.6 * without.rows
    assert 10 <= with_take.rebuilt <= 40
    assert without.rows == 40 * int(two.n_iterations.max())


def test_little_memory_costs_one_product() -> None:
    matrix = matrices(5, 20, 30, 3, 1.0, torch.float64)
    start = random_start(5, 20)
    rich, poor = Counted(matrix, False), Counted(matrix, False)
    one = lanczos(rich.operator, start, 20)
    two = lanczos(poor.operator, start, 20, max_bytes=1)
    torch.testing.assert_close(one.theta, two.theta)
    torch.testing.assert_close(one.image, two.image)
    assert poor.rows == rich.rows + 5


def test_the_cap_is_told() -> None:
    matrix = matrices(8, 200, 400, 4, 0.0, torch.float64)
    found = lanczos(dense_operator(matrix), random_start(8, 200), 200, n_max=4)
    assert bool((found.status == int(Ending.CAP)).all())
    assert bool((found.theta < truth(matrix)).all())
    assert found.n_iterations.tolist() == [4] * 8


def test_zero_and_non_finite_rows_are_named_and_harm_no_other() -> None:
    matrix = matrices(4, 5, 6, 5, 0.0, torch.float32)
    alone = lanczos(dense_operator(matrix[:2]), random_start(4, 5)[:2], 5)
    matrix[2] = 0
    matrix[3, 0, 0] = float("nan")
    for search in (
        lanczos(dense_operator(matrix), random_start(4, 5), 5),
        power_iteration(dense_operator(matrix), random_start(4, 5), 1e-9, 1000),
    ):
        assert search.status.tolist() == [0, 0, 2, 3]
        torch.testing.assert_close(search.theta[:2], alone.theta, rtol=1e-4, atol=0)
        assert search.theta[2].item() == 0 and bool(search.theta[3].isnan())


def test_no_rows() -> None:
    found = lanczos(dense_operator(torch.zeros(0, 4, 3)), torch.zeros(0, 3).double(), 3)
    assert found.theta.shape == (0,) and found.image.shape == (0, 4)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(1, 4),
    m=st.integers(1, 12),
    d=st.integers(1, 12),
    power=st.integers(-18, 15),
    rank=st.integers(0, 12),
)
def test_any_matrix_of_any_size(
    seed: int, n: int, m: int, d: int, power: int, rank: int
) -> None:
    """Rank-deficient, wide, tall, tiny and huge float32 matrices, zero ones included."""
    source = torch.Generator().manual_seed(seed)
    left = torch.randn(n, d, rank, generator=source)
    right = torch.randn(n, rank, m, generator=source)
    matrix = (left @ right) * 10.0**power
    found = lanczos(dense_operator(matrix), random_start(n, m), m)
    right_answer = truth(matrix)
    assert bool(found.theta.isfinite().all())
    torch.testing.assert_close(found.theta, right_answer, rtol=1e-3, atol=0)
    zero = right_answer == 0
    assert bool(((found.status == int(Ending.ZERO_GRADIENT)) == zero).all())


def test_power_iteration_finds_what_lanczos_finds_and_takes_longer() -> None:
    matrix = matrices(20, 8, 16, 6, 1.0, torch.float64)
    start = random_start(20, 8)
    power = power_iteration(dense_operator(matrix), start, 1e-9, 2000)
    quick = lanczos(dense_operator(matrix), start, 8)
    torch.testing.assert_close(power.theta, truth(matrix), rtol=1e-6, atol=0)
    assert power.n_iterations.double().mean() > 2 * quick.n_iterations.double().mean()
    short = power_iteration(dense_operator(matrix), start, 1e-9, 2)
    assert bool((short.status == int(Ending.CAP)).all())


def test_power_iteration_leaves_a_start_in_the_null_space() -> None:
    operator = dense_operator(torch.tensor([[[1.0, -1.0]]]).double())
    found = power_iteration(operator, torch.ones(1, 2).double())
    assert found.theta.item() == pytest.approx(2) and found.status.item() == 0


@pytest.mark.parametrize(("m", "ratio"), [(4, 0.93), (10, 0.58), (100, 0.072)])
def test_the_largest_random_quotient_is_far_below(m: int, ratio: float) -> None:
    """Rank one, 100 draws, mean over 400 rows with their own draws: .93, .58, .072 are known.

    The standard deviation of one row is below .14 of the mean (m = 100: .3), so that 6 standard
    errors of the mean of 400, below .05 (.1) of it, make a false alarm of 2e-9.
    """
    matrix = torch.zeros(400, 1, m)
    matrix[:, 0, 0] = 1
    like = torch.zeros(400, m).double()
    found = max_rayleigh(dense_operator(matrix), like, 100, torch.arange(400))
    assert found.theta.mean().item() == pytest.approx(ratio, rel=0.1)
    assert bool((found.theta <= 1 + 1e-6).all())
    assert bool((found.status == int(Ending.CAP)).all())


def test_hutchinson_is_unbiased() -> None:
    """500 rows of one matrix with their own draws: the mean is within 6 standard errors (2e-9)."""
    matrix = matrices(1, 7, 9, 8, 0.5, torch.float64)
    many = dense_operator(matrix.expand(500, -1, -1))
    like = torch.ones(500, 7).double()
    value, error = hutchinson_trace(many, like, 10, torch.arange(500))
    exact = matrix.square().sum().item()
    spread = value.std().item() / math.sqrt(500)
    assert abs(value.mean().item() - exact) < 6 * spread
    # and the stated standard error is that of the values
    stated = error.square().mean().sqrt().item()
    assert stated == pytest.approx(value.std().item(), rel=0.25)
    assert bool(hutchinson_trace(many, like, 1)[1].isnan().all())


def test_bad_settings_are_named() -> None:
    operator, start = dense_operator(torch.eye(2)[None]), torch.ones(1, 2).double()
    with pytest.raises(ConfigError, match=r"tol=0 is not in \(0, 1\)"):
        lanczos(operator, start, 2, tol=0)
    with pytest.raises(ConfigError, match="n_max=0"):
        power_iteration(operator, start, n_max=0)
    with pytest.raises(ConfigError, match="miss=0 must be > 0"):
        lanczos(operator, start, 2, miss=0)
    with pytest.raises(ConfigError, match="n_max=0"):
        max_rayleigh(operator, start, 0)
