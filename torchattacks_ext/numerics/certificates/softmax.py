r"""How much can a softmax add to the Fisher information? Its own factor, bounded from above.

F = J^T S J with S = diag p - p p^T, whose rows sum to zero: S = C S C with C = I - 11^T / K. So

    lambda_max(F) <= lambda_max(S) |C J|^2.

*At given p*: with c the top class, pi = 1 - p_c and q the softmax of the others, lambda_max(S) =
pi m, where m is the largest root of (m - p_c) / (p_c - pi m) = sum_k q_k^2 / (m - q_k). This is the
secular equation sum_k p_k^2 / (p_k - l) = 1 in a form that a saturated softmax does not break.

*Whatever p is*: u^T F u is the variance of J_y u over y ~ p, at most a quarter of its squared range
(Popoviciu 1935), hence lambda_max(F) <= max_ij |J_i - J_j|^2 / 4. Never more than |C J|^2 / 2,
which is what lambda_max(S) <= 1/2 gives, as |e_i - e_j|^2 = 2; equal to it for K = 2.

Theorem 3 of arXiv 2606.04767 has max_k p_k (1 - p_k) in place of lambda_max(S): too small by up to
a factor 2, seen at K = 2, p = (1/2, 1/2), where it allows 1/4 and the truth is 1/2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...errors import InputError
from ..fisher.factor import Factor, softmax_factor

BISECTIONS = 60
"""Halvings of a bracket that is at most 2 wide: past the last digit of float64."""
SLACK = 1e-12
"""Relative: what a result is raised by, and at least 8 (K + 8) roundings."""
EPS = torch.finfo(torch.float64).eps
BLOCK_BYTES = 2**26
"""Of distances between rows that are in memory at once."""


def log_softmax_top(logits: Tensor) -> Tensor:
    """log lambda_max(diag p - p p^T), p = softmax(logits), rounded up. (N, K) -> (N,) float64.

    Finite where p rounds to a unit vector; NaN for a row that is not finite. The slack in lambda is
    1e-12 relative up to K = 500, and 8 (K + 8) roundings above. Raises InputError for other shapes
    or K < 2. Cost: no passes; 60 sums over K a row.

    >>> log_softmax_top(torch.zeros(1, 2)).exp().item()
    0.5000000000005
    >>> round(log_softmax_top(torch.tensor([[0.0, 1000.0]])).item(), 3)     # log 2 - 1000
    -999.307
    """
    factor = softmax_factor(logits.double())
    slack = max(SLACK, 8 * (logits.shape[1] + 8) * EPS)
    log_top = (factor.log_pi + _root(factor).log()).clamp(max=math.log(0.5))
    return (log_top + slack).masked_fill(~factor.finite, torch.nan)


def _root(factor: Factor) -> Tensor:
    """m of the file, the upper end of its last bracket, (N,)."""
    q = factor.t.square()
    pi = factor.log_pi.exp()
    p_c = 1 - pi
    # lambda >= S_cc = p_c pi, and >= p_(2) (interlacing); <= 2 p_c pi (Gershgorin), and <= p_c
    low = torch.maximum(p_c, q.amax(1))
    high = torch.maximum(torch.minimum(2 * p_c, p_c / pi), low)
    for _ in range(BISECTIONS):
        m = (low + high) / 2
        rest = p_c - pi * m
        left = torch.where(rest > 0, (m - p_c) / rest, torch.inf)
        gaps = m.unsqueeze(1) - q
        terms = torch.where(q > 0, q.square() / gaps, 0.0)
        past = left >= torch.where(gaps > 0, terms, torch.inf).sum(1)
        high, low = torch.where(past, m, high), torch.where(past, low, m)
    return high


def cheap_softmax_bound(probs: Tensor) -> Tensor:
    """min(1/2, p_max, max 2 p (1 - p), 1 - |p|^2) >= lambda_max(S). Probabilities (N, K) -> (N,).

    Each of the four is a bound: two by Gershgorin and p_max >= lambda, one by the trace. Their
    minimum is up to 2 times the truth (many classes, one near 1). Not rounded up; probabilities sum
    to 1 by promise. Raises InputError for other shapes. Cost: no passes, O(K) a row.

    >>> cheap_softmax_bound(torch.tensor([[0.5, 0.5], [0.9, 0.1]])).tolist()
    [0.5, 0.180000...]
    """
    if probs.ndim != 2 or probs.shape[1] < 1:
        raise InputError(f"expected probabilities (N, K), got {tuple(probs.shape)}")
    p = probs.double()
    top = p.argmax(1, keepdim=True)
    # 1 - p loses the digits of the top class where it is almost 1; the others' sum has them
    spread = p * (1 - p).scatter(1, top, p.scatter(1, top, 0.0).sum(1, keepdim=True))
    each = (p.amax(1), 2 * spread.amax(1), spread.sum(1))
    return torch.stack(each, 1).amin(1).clamp(max=0.5)


def largest_distance(rows: Tensor) -> float:
    """max_ij |J_i - J_j|_2 over rows (K, D), rounded up; 0 for K = 1.

    A quarter of its square bounds lambda_max(F) whatever p is. From the Gram matrix of the centred
    rows in float64: the largest distance is at least the largest centred row, so that nothing is
    lost to cancellation there. Raises InputError for other shapes or rows that are not finite.
    Cost: K^2 D multiplications.

    >>> round(largest_distance(torch.tensor([[1.0, 0.0], [-2.0, 4.0], [1.0, 1.0]])), 9)
    5.0
    """
    if rows.ndim != 2 or 0 in rows.shape or not bool(rows.isfinite().all()):
        raise InputError(f"expected finite rows (K, D), got shape {tuple(rows.shape)}")
    wide = rows.double()
    unit = float(wide.abs().amax())
    if len(rows) == 1 or unit == 0:
        return 0.0
    centred = wide / unit - (wide / unit).mean(0)
    sizes = centred.square().sum(1)
    step = max(1, BLOCK_BYTES // (8 * len(rows)))
    most = 0.0
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        squares = sizes[part, None] + sizes - 2 * centred[part] @ centred.T
        most = max(most, float(squares.amax()))
    roundings = 8 * (rows.shape[1] + len(rows) + 8) * EPS
    # what centring and scaling may have moved any row by
    moved = 4 * EPS * math.sqrt(rows.shape[1])
    return unit * (math.sqrt(max(most, 0.0)) * (1 + roundings) + moved)
