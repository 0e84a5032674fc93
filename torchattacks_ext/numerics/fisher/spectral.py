"""How large is the largest singular value of an operator that is known by its products alone?

A batch of linear maps B_i: R^m -> R^d is given by `apply` (w -> B w) and `adjoint` (v -> B^T v).
All routines look for theta = sigma_1(B)^2 = lambda_max(B^T B) and work on every row by itself: a
row's result depends neither on the batch nor on its place. Here are the simple ones: power
iteration, the largest of random Rayleigh quotients, and Hutchinson's estimate of the trace. The
one to use is :func:`torchattacks_ext.numerics.fisher.lanczos.lanczos`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from ...errors import ConfigError
from ..gaussian import normals
from ..streams import uniform


class Ending(IntEnum):
    """How the search for one row's largest eigenvalue ended.

    >>> [ending.name.lower() for ending in Ending]
    ['converged', 'cap', 'zero_gradient', 'non_finite']
    """

    CONVERGED = 0
    """The stopping rule of the method was met."""
    CAP = 1
    """The iterations ran out first: the value is a lower bound, not an answer."""
    ZERO_GRADIENT = 2
    """The operator is zero, as far as was seen."""
    NON_FINITE = 3
    """Logits or products were NaN or infinite."""


@dataclass(frozen=True, eq=False)
class Operator:
    """A batch of linear maps by their products.

    apply: (N, m) -> (N, d). adjoint: (N, d) -> (N, m). take: an index (n,) int64 -> the operator
    of those rows, or None where that is impossible.
    """

    apply: Callable[[Tensor], Tensor]
    adjoint: Callable[[Tensor], Tensor]
    take: Callable[[Tensor], Operator] | None = None


@dataclass(frozen=True, eq=False)
class TopSingular:
    """theta = sigma_1^2 of every row, and how it was found.

    theta (N,) float64, the Rayleigh quotient |B w|^2, so never above the truth but for rounding;
    w (N, m) unit; image (N, d) = B w; residual (N,) = |B^T B w - theta w| / theta;
    n_iterations (N,) int64; status (N,) int8, see Ending.
    """

    theta: Tensor
    w: Tensor
    image: Tensor
    residual: Tensor
    n_iterations: Tensor
    status: Tensor


def wide(values: Tensor) -> Tensor:
    """The same numbers in float64; float32 on a device without it (MPS).

    >>> wide(torch.zeros(2)).dtype
    torch.float64
    """
    return values.to(torch.float32 if values.device.type == "mps" else torch.float64)


def row_norms(values: Tensor) -> Tensor:
    """Euclidean norm of every row, (N, d) -> (N,), summed in float64.

    >>> row_norms(torch.tensor([[3.0, 4.0]])).item()
    5.0
    """
    dtype = torch.float32 if values.device.type == "mps" else torch.float64
    norms: Tensor = torch.linalg.vector_norm(values, dim=1, dtype=dtype)
    return norms


def unit_rows(values: Tensor, norms: Tensor) -> Tensor:
    """values / norms, zero where the norm is zero; dtype of the values. (N, d), (N,) -> (N, d).

    >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([5.0, 0.0])).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    scale = torch.where(norms > 0, 1 / norms, 0.0).unsqueeze(1)
    # a product with 1/norm may overflow float32 when the norm is tiny: divide in float64 then
    return (values.to(scale.dtype) * scale).to(values.dtype)


def gaussians(like: Tensor, purpose: str, draw: int, ids: Tensor | None) -> Tensor:
    """Standard normal rows shaped like `like` (N, m): functions of id, purpose and draw alone.

    ids: (N,) int64, or None = one row for all. Same dtype and device as `like`.

    >>> rows = gaussians(torch.zeros(2, 3), "demo", 0, None)
    >>> bool((rows[0] == rows[1]).all())
    True
    """
    n, m = like.shape
    keys = torch.zeros(1, dtype=torch.int64) if ids is None else ids
    numbers = normals(uniform(0, keys.to(like.device), purpose, draw, m + m % 2))
    return numbers[:, :m].to(like).expand(n, m)


def dense_operator(matrix: Tensor) -> Operator:
    """The operator of matrices in memory, (N, d, m).

    >>> dense_operator(torch.ones(1, 2, 3)).apply(torch.ones(1, 3)).tolist()
    [[3.0, 3.0]]
    """
    return Operator(
        lambda w: torch.einsum("ndm,nm->nd", matrix, w.to(matrix)),
        lambda v: torch.einsum("ndm,nd->nm", matrix, v.to(matrix)),
        lambda rows: dense_operator(matrix[rows]),
    )


def check_search(tol: float, n_max: int) -> None:
    """Raise ConfigError unless 0 < tol < 1 and n_max >= 1.

    >>> check_search(1e-3, 60)
    """
    if not 0 < tol < 1:
        raise ConfigError(f"tol={tol!r} is not in (0, 1); the default is 1e-3")
    if n_max < 1:
        raise ConfigError(f"n_max={n_max!r} must be a whole number >= 1")


def power_iteration(
    operator: Operator, start: Tensor, tol: float = 1e-6, n_max: int = 100
) -> TopSingular:
    """Power iteration on B^T B, until theta moves by at most tol theta from one step to the next.

    start: (N, m) float64; a row that B maps to zero is started again from a normal one. A small
    step is not a small error: near a double eigenvalue the rule stops early, and `residual` tells.
    Rows that are done keep their values; the products go on over the whole batch until all are.
    Errors: ConfigError for tol and n_max. Cost: a vjp and a jvp an iteration, and one vjp when
    some row is started again.

    Source: Algorithm 1 of arXiv 2606.04767 (there on the explicit matrix of all K gradients and
    from p_max as the first guess of lambda, which means nothing).

    >>> found = power_iteration(dense_operator(torch.diag(torch.tensor([3.0, 1.0]))[None]),
    ...                         torch.ones(1, 2).double())
    >>> round(found.theta.item(), 4), Ending(found.status.item()).name
    (9.0, 'CONVERGED')
    """
    check_search(tol, n_max)
    w = unit_rows(start, row_norms(start))
    image = operator.apply(w)
    if bool((row_norms(image) == 0).any()):
        other = gaussians(w, "power", 0, None) * (w != 0)
        w = torch.where((row_norms(image) == 0).unsqueeze(1), other, w)
        w = unit_rows(w, row_norms(w))
        image = operator.apply(w)
    theta = row_norms(image).square()
    residual = torch.full_like(theta, float("inf"))
    n_iterations = torch.zeros(len(w), dtype=torch.int64, device=w.device)
    busy = theta > 0
    for _ in range(n_max):
        size = theta.sqrt()
        back = operator.adjoint(unit_rows(image, size)) * size.unsqueeze(1)
        error = row_norms(back - theta.unsqueeze(1) * w) / theta
        residual = torch.where(busy, error, residual)
        ahead = unit_rows(back, row_norms(back))
        w = torch.where(busy.unsqueeze(1), ahead, w)
        image = torch.where(busy.unsqueeze(1), operator.apply(w), image)
        before, theta = theta, row_norms(image).square()
        n_iterations += busy
        busy = busy & ((theta - before).abs() > tol * theta)
        if not bool(busy.any()):
            break
    status = torch.where(busy, int(Ending.CAP), int(Ending.CONVERGED))
    status = _special(status, theta)
    return TopSingular(theta, w, image, residual, n_iterations, status.to(torch.int8))


def _special(status: Tensor, theta: Tensor) -> Tensor:
    status = torch.where(theta == 0, int(Ending.ZERO_GRADIENT), status)
    return torch.where(theta.isfinite(), status, int(Ending.NON_FINITE))


def max_rayleigh(
    operator: Operator, like: Tensor, n_draws: int = 100, ids: Tensor | None = None
) -> TopSingular:
    """The largest of n_draws Rayleigh quotients |B z|^2 / |z|^2 at normal z in R^m: always low.

    For reproduction only. For a rank-one B it finds about max_j z_j1^2 / |z_j|^2 of the truth, with
    100 draws .93 of it at m = 4, .58 at 10, .07 at 100 and .008 at 1000. So it measures m more than
    B, and its status is never CONVERGED. like: (N, m) gives shape, dtype and device; ids: (N,)
    int64 to give rows their own draws. Raises ConfigError for n_draws < 1. Cost: n_draws vjps.

    Source: Algorithm 2 of arXiv 2606.04767, called Hutchinson's method there.

    >>> found = max_rayleigh(dense_operator(torch.eye(2)[:1][None]), torch.zeros(1, 2), 1000)
    >>> bool(0.99 < found.theta.item() <= 1)
    True
    """
    check_search(0.5, n_draws)
    best: TopSingular | None = None
    for draw in range(n_draws):
        z = gaussians(like, "rayleigh", draw, ids)
        z = unit_rows(z, row_norms(z))
        image = operator.apply(z)
        theta = row_norms(image).square()
        if best is None:
            n = torch.full_like(theta, n_draws, dtype=torch.int64)
            none = torch.full_like(theta, float("nan"))
            best = TopSingular(theta, z, image, none, n, n)
        more = (theta > best.theta).unsqueeze(1)
        best = TopSingular(
            torch.fmax(theta, best.theta),
            torch.where(more, z, best.w),
            torch.where(more, image, best.image),
            best.residual,
            best.n_iterations,
            best.status,
        )
    assert best is not None
    status = _special(torch.full_like(best.status, int(Ending.CAP)), best.theta)
    parts = (best.theta, best.w, best.image, best.residual, best.n_iterations)
    return TopSingular(*parts, status.to(torch.int8))


def hutchinson_trace(
    operator: Operator, like: Tensor, n_draws: int = 100, ids: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Unbiased estimate of tr(B^T B) = E |B z|^2, z of random signs; and its standard error.

    like: (N, m), nonzero where z may be (a zero column is left out). Returns two (N,) float64; the
    standard error is NaN for one draw. Raises ConfigError for n_draws < 1. Cost: n_draws vjps.

    Source: Hutchinson, Commun. Stat. Simul. 1989. It estimates a trace, not an eigenvalue; it is
    of use here because lambda_max <= trace.

    >>> trace, error = hutchinson_trace(dense_operator(torch.eye(3)[None]), torch.ones(1, 3), 5)
    >>> round(trace.item(), 6), round(error.item(), 6)
    (3.0, 0.0)
    """
    check_search(0.5, n_draws)
    values = []
    for draw in range(n_draws):
        signs = torch.sign(gaussians(like, "hutchinson", draw, ids)) * (like != 0)
        values.append(row_norms(operator.apply(signs)).square())
    all_values = torch.stack(values)
    spread = all_values.std(0) if n_draws > 1 else torch.full_like(values[0], torch.nan)
    return all_values.mean(0), spread / n_draws**0.5
