r"""What is lambda_max of the input Fisher information where the Jacobian lies in memory?

Then the products J_k . J_l of all pairs of rows cost one pass over J, half of one by symmetry, and
the rest is K x K: with W = J J^T, c the top class and N of
:mod:`torchattacks_ext.numerics.fisher.factor`

    lambda = pi lambda_max(N^T V N),   V_kl = W_kl - W_kc - W_cl + W_cc.

The difference V loses digits where the gradients of all classes have a large part in common, and W
those of gradients below 1e-19 in float32. Both show in W: rows where the loss is estimated above
5e-5 (float64: 1e-6) are done again from differences of the gradients themselves (exact_fisher).

Source: the K x K matrix of arXiv 2606.04767, in the form that a sharp softmax does not break.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .factor import Action
from .gram import exact_fisher
from .top import top_fisher

Matrix = np.ndarray[Any, np.dtype[np.float64]]

PRODUCTS_UP_TO = 128
"""The largest K for which all pairs of rows are cheaper than Lanczos' 5 to 12 passes, by twos."""
BLOCKS = (48, 16, 4, 1)
"""The triangle of W is taken by so many rows at a time, the most of these that K has (on CPUs)."""
LOSS = {torch.float32: 5e-5, torch.float64: 1e-6}
"""Relative error that W may bring into lambda."""
ROUNDINGS = 8.0
"""Relative error of W in units of eps: an estimate for sums of many partial sums, no bound."""


def log_lambda(
    logits: Tensor, jacobian: Tensor, *, tol: float = 1e-3, n_max: int = 60
) -> tuple[Tensor, Tensor]:
    """log lambda_max(F), F = J^T (diag p - p p^T) J, from Jacobians in memory: the value alone.

    logits: (N, K); jacobian: (N, K, D), of the same dtype. Returns log lambda (N,) float64, -inf
    for a zero gradient and NaN where something is not finite, and the endings (N,) int8, see
    Ending. Up to 128 classes the value is exact but for rounding, 5e-5 in float32 and 1e-6 in
    float64, and tol and n_max play no part; above, it is Lanczos' as in top_fisher. For the
    eigenvector, the trace and distances take
    :func:`~torchattacks_ext.numerics.fisher.top.top_fisher`.

    Errors: InputError for shapes, ConfigError for tol and n_max. Cost: no pass through a model;
    K^2 D / 2 multiplications and one K x K eigenproblem a row, or 4 K D an iteration.

    >>> jacobian = torch.tensor([[[0.0, 0.0], [6.0, 8.0]]])
    >>> log_lam, ending = log_lambda(torch.zeros(1, 2), jacobian)
    >>> round(log_lam.exp().item(), 4), ending.item()
    (25.0, 0)
    """
    action = Action.dense(logits, jacobian)
    n, k = logits.shape
    if not 2 <= k <= PRODUCTS_UP_TO or n == 0:
        found = top_fisher(action, tol=tol, n_max=n_max)
        return found.log_lam, found.status
    values, doubted = _from_products(
        logits.cpu().double().numpy(),
        row_products(jacobian).cpu().double().numpy(),
        jacobian.dtype,
    )
    log_lam = torch.from_numpy(values).to(logits.device)
    status = torch.zeros(n, dtype=torch.int8, device=logits.device)
    if doubted.any():
        rows = torch.from_numpy(doubted.nonzero()[0]).to(logits.device)
        exact = exact_fisher(action.take(rows))  # type: ignore[misc]
        log_lam[rows], status[rows] = exact.log_lam, exact.status
    return log_lam, status


def row_products(rows: Tensor) -> Tensor:
    """J J^T of every matrix, each pair once. (N, K, D) -> (N, K, K).

    >>> row_products(torch.tensor([[[1.0, 2.0], [0.0, 1.0]]])).tolist()
    [[[5.0, 2.0], [2.0, 1.0]]]
    """
    n, k, _ = rows.shape
    size = next(size for size in BLOCKS if k >= size)
    found = rows.new_empty(n, k, k)
    # A batch of one goes to the routine for one matrix, which is the faster one.
    side, filled = (rows[0], found[0]) if n == 1 else (rows, found)
    for i in range(0, k, size):
        part = side[..., i:, :] @ side[..., i : i + size, :].mT
        filled[..., i : i + size, i:] = part.mT
        filled[..., i:, i : i + size] = part
    return found


def _from_products(
    logits: Matrix, products: Matrix, dtype: torch.dtype
) -> tuple[Matrix, Matrix]:
    """log lambda (N,) and which rows are not to be trusted, (N,) bool.

    dtype: of the gradients. In numpy, whose calls cost less than torch's on matrices this small.
    """
    n, k = logits.shape
    info, loss = torch.finfo(dtype), LOSS.get(dtype, LOSS[torch.float32])
    rows = np.arange(n)
    finite: Any = np.isfinite(logits).all(1) & np.isfinite(products).all((1, 2))
    if not finite.all():
        logits = np.where(finite[:, None], logits, 0.0)
        products = np.where(finite[:, None, None], products, 0.0)
    # the factor's log pi, t and a, as in factor.py
    top = logits.argmax(1)
    others = logits - logits[rows, top, None]
    others[rows, top] = -np.inf
    lead = others.max(1, keepdims=True)
    odds = np.exp(others - lead)
    total = odds.sum(1, keepdims=True)
    log_odds = (lead + np.log(total))[:, 0]
    log_top = -np.log1p(np.exp(log_odds))
    q = odds / total
    t = np.sqrt(q)
    a = np.exp(log_odds + log_top) / (1 + np.exp(log_top / 2))
    # B = (I - e_c 1^T) N, so that J^T B = D^T N; its row c is minus the sum of the others
    mixing = (-a[:, None] * q)[:, :, None] * t[:, None]
    mixing.reshape(n, k * k)[:, :: k + 1] += t
    mixing[rows, top] = (a - 1)[:, None] * t
    theta = np.linalg.eigvalsh(mixing.swapaxes(1, 2) @ products @ mixing)[:, -1]
    sizes = products.reshape(n, k * k)[:, :: k + 1]
    at_stake = (q * (sizes + sizes[rows, top, None])).sum(1)
    safe = finite & (at_stake * (ROUNDINGS * info.eps) <= loss * theta)
    safe &= theta > info.tiny / info.eps
    return log_odds + log_top + np.log(np.maximum(theta, info.tiny)), ~safe
