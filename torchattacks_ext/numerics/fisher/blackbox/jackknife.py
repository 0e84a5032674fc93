"""How sure is the largest eigenvalue of a sum of few random rank-one terms? Leave each one out.

For G = sum_i a_i a_i^T with m terms and g = log lambda_max(G / m), the delete-one jackknife
says

    se^2 = (m - 1)/m sum_i (g_(i) - mean g_(.))^2,

where g_(i) is the same without term i. The m eigenvalues need no m decompositions: with
G = W diag(theta) W^T and b = W^T a_i, the largest eigenvalue of G - a_i a_i^T is the root of

    sum_j b_j^2 / (theta_j - x) = 1   in [theta_2, theta_1]

(secular equation of a rank-one change; Golub, "Some modified matrix eigenvalue problems",
SIAM Review 1973), found by bisection for all terms of all samples at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ....errors import InputError

_HALVINGS = 60  # of the gap theta_1 - theta_2: beyond float64


def top_eigenvalues(responses: Tensor) -> tuple[Tensor, Tensor]:
    """Largest eigenvalue of sum_i a_i a_i^T, with all terms and without each one.

    responses: (N, m, K), the a_i as rows, finite, m >= 1. Returns (N,) and (N, m), float64,
    >= 0, with the accuracy of float64 relative to the first. Raises InputError for other
    shapes. Cost: one singular value decomposition of m x K and 60 m min(m, K) divisions a
    sample, no forward passes.

    >>> whole, without = top_eigenvalues(torch.tensor([[[3.0, 0.0], [0.0, 2.0], [1.0, 0.0]]]))
    >>> whole.round(decimals=6), without.round(decimals=6)
    (tensor([10.], dtype=torch.float64), tensor([[ 4., 10.,  9.]], dtype=torch.float64))
    """
    if responses.ndim != 3 or 0 in responses.shape[1:]:
        raise InputError(f"responses {tuple(responses.shape)} must be (N, m, K)")
    u, s, _ = torch.linalg.svd(responses.double(), full_matrices=False)
    theta = s.square()
    parts = (u * s.unsqueeze(1)).square()  # (N, m, r): b_j^2 of every term
    high = theta[:, :1].expand(parts.shape[:2]).clone()
    low = theta[:, 1:2].expand_as(high).clone() if theta.shape[1] > 1 else high * 0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        total = (parts / (theta.unsqueeze(1) - middle.unsqueeze(2))).sum(2)
        # A gap of zero divides by zero: NaN is no "below", and both ends are the root.
        below = total < 1
        low = torch.where(below, middle, low)
        high = torch.where(below, high, middle)
    left = (low + high) / 2
    rounding = theta[:, :1] * torch.finfo(theta.dtype).eps * 4
    return theta[:, 0], torch.where(left > rounding, left, 0.0)


def log_error(without: Tensor) -> Tensor:
    """Jackknife standard error of the log of the largest eigenvalue: (N, m) -> (N,), in [0, inf].

    without: as :func:`top_eigenvalues` returns it. Infinite for m = 1 and where a single term
    carries everything. To first order it is the relative standard deviation of the
    eigenvalue itself.

    >>> log_error(torch.ones(1, 4)), log_error(torch.tensor([[0.0, 2.0]]))
    (tensor([0.]), tensor([inf]))
    """
    m = without.shape[1]
    logs = without.log()
    spread = (logs - logs.mean(1, keepdim=True)).square().sum(1)
    error = (spread * (m - 1) / m).sqrt()
    lone = (without <= 0).any(1) if m > 1 else torch.ones_like(error, dtype=torch.bool)
    return error.masked_fill(lone, float("inf"))


def log_bias(top: Tensor, without: Tensor) -> Tensor:
    """Jackknife bias of g = log lambda_max(G / m): (N,), (N, m) -> (N,), 0 for m = 1.

    (m - 1)(mean g_(.) - g). Infinities (a term that carries everything) count as 0.

    >>> log_bias(torch.tensor([4.0]), torch.full((1, 4), 3.0)).abs()
    tensor([0.])
    """
    m = without.shape[1]
    if m == 1:
        return torch.zeros_like(top)
    shift = (without / (m - 1)).log().mean(1) - (top / m).log()
    return (shift * (m - 1)).nan_to_num(0.0, 0.0, 0.0)
