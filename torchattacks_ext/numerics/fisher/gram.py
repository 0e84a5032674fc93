"""What is the input Fisher information exactly, when there are few classes? The Gram matrix.

All K - 1 class differences D_k = J_k - J_c are taken by one vjp each. With N and pi of
:mod:`torchattacks_ext.numerics.fisher.factor` the rows A = N^T D give F = pi A^T A, so that A A^T
has F's nonzero spectrum. On the way come, for nothing: the trace, the first-order distances (z_c -
z_k) / |D_k|, and a bound for the Linf ball. K = 2 needs one vjp and K = 1 too: there this is the
closed form p_1 p_2 |J_1 - J_2|^2, p (1 - p) |grad z|^2.

Source: the K x K matrix of arXiv 2606.04767 (its direct method), on class differences.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..._typing import Norm
from ...errors import ConfigError
from ..norms import check_norm
from .factor import Action, Factor, softmax_factor
from .spectral import Ending, row_norms, unit_rows, wide

DUAL = {"L2": 2.0, "Linf": 1.0, "L1": float("inf")}
"""The order of the norm that measures gradients, for every norm of a perturbation."""


@dataclass(frozen=True, eq=False)
class ExactFisher:
    """What the Gram matrix says of every row; natural logarithms, float64, (N,) each.

    log_lam, log_trace: of F; -inf for a zero gradient, NaN where logits or gradients are not
    finite. log_cube: of sum_k pi |a_k|_1^2, an upper bound of e^T F e over |e|_inf <= 1. radius_l2,
    radius_linf: first-order distance to another class, in pixel units, inf where all D_k = 0. u1
    (N, D): unit top eigenvector of F; along it log p_c does not rise, to first order; 0 if D = 0.
    status: int8, see Ending.
    """

    log_lam: Tensor
    log_trace: Tensor
    log_cube: Tensor
    radius_l2: Tensor
    radius_linf: Tensor
    u1: Tensor
    status: Tensor


def exact_fisher(action: Action, *, max_bytes: int = 2**28) -> ExactFisher:
    """Spectral norm and trace of F, exact but for rounding, from K - 1 vjps a row.

    max_bytes: memory for the class differences, N (K - 1) D numbers; a larger batch is worked on
    in parts by `action.take` (a single row always in one). Relative error of lam: below 5e-5 in
    float32 and 1e-6 in float64 on trained and random nets. Raises InputError for logits that are
    not (N, K), K >= 1. Cost: K - 1 vjps a row (K = 1: one), one forward a row if the batch is
    divided, K^2 D multiplications, one K x K eigenproblem. On CUDA, TF32 should be off.

    >>> action = Action.dense(torch.zeros(1, 2), torch.tensor([[[0.0, 0.0], [6.0, 8.0]]]))
    >>> exact = exact_fisher(action)
    >>> round(exact.log_lam.exp().item(), 4), exact.radius_l2.item(), action.passes.vjp
    (25.0, 0.0, 1)
    """
    action = action.with_two_logits()
    n, k = action.logits.shape
    per_row = (k - 1) * max(action.n_inputs, 1) * action.logits.element_size()
    size = max(1, max_bytes // per_row)
    if size >= n or action.take is None:
        return _exact(action)
    chunks = torch.split(torch.arange(n, device=action.logits.device), size)
    parts = [_exact(action.take(rows)) for rows in chunks]
    joined = (
        torch.cat([getattr(part, field.name) for part in parts])
        for field in fields(ExactFisher)
    )
    return ExactFisher(*joined)


def _exact(action: Action) -> ExactFisher:
    factor = softmax_factor(action.logits)
    classes = _others(factor)
    t = factor.t.gather(1, classes)
    rows = class_differences(action, factor, classes)
    gaps = _gaps(action.logits, factor, classes)
    radii = [_nearest(gaps, _sizes(rows, DUAL[norm])) for norm in ("L2", "Linf")]
    # Every image has its own unit: squares of small float32 gradients would underflow.
    unit = rows.abs().amax((1, 2)) if rows.numel() else rows.new_zeros(len(rows))
    bad, zero = ~unit.isfinite() | ~factor.finite, unit == 0
    rows[bad] = 0
    _mix_(rows, unit.masked_fill(bad | zero, 1.0), t, factor.a)
    theta, u1, along = _top(rows, t)
    log_unit = factor.log_pi + 2 * wide(unit).log()
    cube = _sizes(rows, 1.0).square().sum(1)
    trace = _sizes(rows, 2.0).square().sum(1)

    def clean(values: Tensor, nothing: float) -> Tensor:
        return values.masked_fill(zero, nothing).masked_fill(bad, torch.nan)

    status = torch.full_like(bad, 0, dtype=torch.int8)
    status = status.masked_fill(zero, int(Ending.ZERO_GRADIENT))
    logs = [clean(log_unit + v.log(), -torch.inf) for v in (theta, trace, cube)]
    return ExactFisher(
        logs[0],
        logs[1],
        logs[2],
        clean(radii[0], torch.inf),
        clean(radii[1], torch.inf),
        torch.where(along.unsqueeze(1) < 0, -u1, u1),
        status.masked_fill(bad, int(Ending.NON_FINITE)),
    )


def class_differences(action: Action, factor: Factor, classes: Tensor) -> Tensor:
    """D_k = J_k - J_c for some classes k a row. classes: (N, n) int64 -> (N, n, D).

    Classes must differ from factor.top. Cost: n vjps a row.

    >>> action = Action.dense(torch.zeros(1, 2), torch.tensor([[[1.0], [4.0]]]))
    >>> class_differences(action, softmax_factor(action.logits), torch.tensor([[1]])).item()
    3.0
    """
    n, n_classes = classes.shape
    rows = action.logits.new_empty(n, n_classes, action.n_inputs)
    zeros = torch.zeros_like(action.logits).scatter(1, factor.top.unsqueeze(1), -1.0)
    for i in range(n_classes):
        rows[:, i] = action.vjp(zeros.scatter(1, classes[:, i : i + 1], 1.0))
    return rows


def _others(factor: Factor) -> Tensor:
    """The classes other than c, ascending, (N, K - 1)."""
    k = torch.arange(factor.t.shape[1] - 1, device=factor.top.device)
    return k + (k >= factor.top.unsqueeze(1)).to(k.dtype)


def _mix_(rows: Tensor, unit: Tensor, t: Tensor, a: Tensor) -> None:
    """D / unit -> N^T D / unit in place: (I - a t t^T) diag(t) D."""
    scale = t.to(rows).unsqueeze(2)
    rows.div_(unit[:, None, None]).mul_(scale)
    mean = torch.einsum("nkd,nk->nd", rows, t.to(rows))
    rows.sub_(scale * (a.to(rows).unsqueeze(1) * mean).unsqueeze(1))


def _top(rows: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """sigma_1^2 of A (N, k, D), its right vector u, and t^T A u, from the smaller Gram matrix."""
    flat = rows.shape[1] <= rows.shape[2]
    gram = rows @ rows.mT if flat else rows.mT @ rows
    vector = torch.linalg.eigh(wide(gram))[1][:, :, -1].to(rows)
    image = torch.einsum("nkd,nk->nd" if flat else "nkd,nd->nk", rows, vector)
    # The Rayleigh quotient forgives an error of the vector to first order.
    size = row_norms(image)
    left, right = (vector, unit_rows(image, size)) if flat else (image, vector)
    # With a zero matrix every vector is an eigenvector; none is meant.
    right = right.masked_fill((size == 0).unsqueeze(1), 0.0)
    return size.square(), right, (wide(left) * t).sum(1)


def _sizes(rows: Tensor, order: float) -> Tensor:
    """Norms of the last dimension, summed in float64. (N, k, D) -> (N, k)."""
    dtype = torch.float32 if rows.device.type == "mps" else torch.float64
    sizes: Tensor = torch.linalg.vector_norm(rows, order, dim=2, dtype=dtype)
    return sizes


def _gaps(logits: Tensor, factor: Factor, classes: Tensor) -> Tensor:
    z = wide(logits)
    return z.gather(1, factor.top.unsqueeze(1)) - z.gather(1, classes)


def _nearest(gaps: Tensor, sizes: Tensor) -> Tensor:
    """min_k gap_k / |D_k|; a class whose logit runs in parallel is never reached."""
    return torch.where(sizes > 0, gaps / sizes, torch.inf).amin(1)


def margin_radius(
    action: Action, norm: Norm = "L2", n_classes: int | None = None
) -> Tensor:
    """First-order distance to another class: min_k (z_c - z_k) / |D_k|, dual norm, (N,) float64.

    The radius at which the linearised logits tie, c = argmax; exact for affine logits, no bound
    for others. n_classes: look at the classes of the n largest other logits only (None = all); then
    the minimum may be missed and the value is too large. inf where every D_k = 0, NaN where logits
    or gradients are not finite. Labels play no part. Errors: ConfigError for the norm or
    n_classes < 1, InputError for the logits. Cost: n_classes or K - 1 vjps a row.
    :func:`exact_fisher` gives the same for L2 and Linf at no cost.

    >>> jacobian = torch.tensor([[[0.0, 0.0], [3.0, 4.0]]])
    >>> margin_radius(Action.dense(torch.tensor([[10.0, 0.0]]), jacobian), "Linf").item()
    1.4285714285714286
    """
    check_norm(norm)
    if n_classes is not None and n_classes < 1:
        raise ConfigError(f"n_classes={n_classes!r} must be >= 1, or None for all")
    action = action.with_two_logits()
    factor = softmax_factor(action.logits)
    n_others = action.logits.shape[1] - 1
    n = n_others if n_classes is None else min(n_classes, n_others)
    classes = factor.t.topk(n, 1).indices if n < n_others else _others(factor)
    best = torch.full_like(factor.log_pi, torch.inf)
    for i in range(n):  # one class at a time: K D numbers a row are not needed
        chosen = classes[:, i : i + 1]
        size = _sizes(class_differences(action, factor, chosen), DUAL[norm])
        gap = _gaps(action.logits, factor, chosen)
        radius = _nearest(gap, size).masked_fill(~size.isfinite()[:, 0], torch.nan)
        best = torch.minimum(best, radius)
    return best.masked_fill(~factor.finite, torch.nan)
