r"""How strongly does self-attention change with its tokens, at one input? A bound of its Jacobian.

One head on tokens X (n x D), q_i = x_i W_Q + b_Q, k_j = x_j W_K, v_j = x_j W_V in R^d (the keys'
bias moves all scores of a row alike and drops out; the values' bias is constant):

    P = softmax_rows(q k^T / sqrt(d)),   y_i = sum_j P_ij v_j.

With C_i = cov_{j ~ P_i}(k_j, v_j), V_i = cov_{j ~ P_i}(v_j), both d x d, and
r_i = q_i W_K^T / sqrt(d),

    dy_i = sum_j P_ij dv_j  +  dx_i W_Q C_i / sqrt(d)  +  sum_j P_ij (r_i . dx_j) (v_j - y_i),

and the norms of the three maps are at most, in this order,

    L <= |P|_2 |W_V|  +  max_i |W_Q C_i| / sqrt(d)  +  (max_j sum_i P_ij |r_i|^2 |V_i|)^(1/2).

Heads side by side, then W_O: at most |W_O| (sum_h L_h^2)^(1/2). No such bound holds for all inputs
(Kim et al. 2021, arXiv:2006.04710). The three maps are ours; the form with |W_V| outside, |A|, and
covariances of tokens, which is never smaller, is kept in the tests as its twin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import InputError
from .matrices import spectral_norm

SQUARINGS = 7
"""The spectral norm is taken as the Schatten norm of order 2^8: too large by at most d^(1/256)."""
BLOCK_BYTES = 2**27
"""Of keys and values less their means that are in memory at once."""
SLACK = 1e-9
"""Relative: what a bound is raised by for its roundings in float64."""


@dataclass(frozen=True, eq=False)
class Heads:
    """The weights of h heads of width d on tokens of width D, as y = x W.

    query, key, value: (h, D, d); query_bias: (h, d), zero where there is none; out: (h d, D_out).
    The biases of keys and values do not enter a Jacobian. Raises InputError for other shapes.

    >>> eye = torch.eye(2)[None]
    >>> Heads(eye, eye, eye, torch.zeros(1, 2), torch.eye(2)).width
    2
    """

    query: Tensor
    key: Tensor
    value: Tensor
    query_bias: Tensor
    out: Tensor

    def __post_init__(self) -> None:
        h, width, d = self.query.shape if self.query.ndim == 3 else (0, 0, 0)
        right = {"key": (h, width, d), "value": (h, width, d), "query_bias": (h, d)}
        wrong = [k for k, v in right.items() if tuple(getattr(self, k).shape) != v]
        if h * d == 0 or wrong or self.out.ndim != 2 or len(self.out) != h * d:
            shapes = [tuple(getattr(self, name).shape) for name in self.__dict__]
            raise InputError(
                "expected query, key, value (h, D, d), query_bias (h, d) and out (h d, D_out), "
                f"got {shapes}"
            )

    @property
    def width(self) -> int:
        """D, of a token."""
        return self.query.shape[1]


def attention_bound(tokens: Tensor, heads: Heads) -> float:
    """An upper bound of the norm of the Jacobian of self-attention at `tokens` (n, D), rounded up.

    The map takes n D numbers to n D_out. Holds at these tokens only. Raises InputError for another
    width or tokens that are not finite. Cost: no passes; h n^2 d^2 multiplications and the norms of
    W_V and W_O, in float64.

    >>> eye = torch.eye(2)[None]
    >>> heads = Heads(eye, eye, eye, torch.zeros(1, 2), torch.eye(2))
    >>> round(attention_bound(torch.zeros(3, 2), heads), 6)     # equal tokens: their mean alone
    1.0
    """
    width, finite = heads.width, bool(tokens.isfinite().all())
    if tokens.ndim != 2 or tokens.shape[1] != width or len(tokens) == 0 or not finite:
        raise InputError(
            f"expected finite tokens (n, {width}), got shape {tuple(tokens.shape)}"
        )
    x = tokens.detach().double()
    squares = math.fsum(_head(x, heads, h) ** 2 for h in range(len(heads.query)))
    return math.sqrt(squares) * spectral_norm(heads.out) * (1 + SLACK)


def _head(x: Tensor, heads: Heads, h: int) -> float:
    """L of the file for one head. x (n, D)."""
    w_q, w_k, w_v = (
        w[h].detach().double() for w in (heads.query, heads.key, heads.value)
    )
    scale = 1 / math.sqrt(w_q.shape[1])
    q, k, v = x @ w_q + heads.query_bias[h].detach().double(), x @ w_k, x @ w_v
    p = (scale * (q @ k.T)).softmax(1)
    step = max(1, BLOCK_BYTES // (16 * v.numel()))
    parts = [_covariances(p[i : i + step], k, v) for i in range(0, len(p), step)]
    mixed, spread = (torch.cat(found) for found in zip(*parts))
    # |W_Q C| = |R C| with W_Q = (orthonormal columns) R
    queries = scale * float(schatten(torch.linalg.qr(w_q)[1] @ mixed).amax())
    weights = (scale * (q @ w_k.T)).square().sum(1) * schatten(spread)
    keys = math.sqrt(float((weights @ p).amax()))
    return spectral_norm(p) * spectral_norm(w_v) + queries + keys


def _covariances(p: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """C_i and V_i of the file for some rows of P. (m, n), (n, d), (n, d) -> two of (m, d, d)."""
    root = p.sqrt().unsqueeze(2)
    # differences from the mean, not moments: where P is almost a unit vector those cancel
    keys, values = (root * (x - (p @ x).unsqueeze(1)) for x in (k, v))
    return keys.mT @ values, values.mT @ values


def schatten(matrices: Tensor) -> Tensor:
    """Upper bounds of the spectral norms of (n, a, b) float64 matrices, from products alone: (n,).

    (trace (M^T M)^128)^(1/256): at most b^(1/256) too large, 1.7 % for b = 64. Many small matrices
    at the price of eight products each, where as many SVDs would take minutes.

    >>> found = schatten(torch.diag(torch.tensor([3.0, 1.0])).double()[None]).item()
    >>> 3 <= found * (1 + 1e-12) and found < 3.01
    True
    """
    unit = matrices.abs().amax((1, 2)).clamp(min=torch.finfo(torch.float64).tiny)
    scaled = matrices / unit[:, None, None]
    power = scaled.mT @ scaled
    log_trace = torch.zeros_like(unit)
    for step in range(SQUARINGS + 1):
        trace = power.diagonal(dim1=1, dim2=2).sum(1)
        trace = trace.clamp(min=torch.finfo(torch.float64).tiny)
        log_trace = log_trace + trace.log() / 2 ** (step + 1)
        if step < SQUARINGS:
            power = power / trace[:, None, None]
            power = power @ power
    return unit * log_trace.exp()


def layer_norm_bound(
    inputs: Tensor, weight: Tensor | None, eps: float, n_dims: int = 1
) -> float:
    """max |weight| / sqrt(var + eps), the largest over normalised groups, rounded up.

    inputs (..., D...): the last `n_dims` dimensions are normalised; weight of their shape, or None
    for ones. Bounds the Jacobian at these inputs: that it forgets two directions, the mean and the
    deviation, only lowers it. Raises InputError for inputs that are not finite.

    >>> round(layer_norm_bound(torch.tensor([[1.0, -1.0], [3.0, -3.0]]), None, 0.0), 6)
    1.0
    """
    if inputs.ndim < n_dims or not bool(inputs.isfinite().all()):
        raise InputError(
            f"expected finite inputs of {n_dims} dimensions or more, got {tuple(inputs.shape)}"
        )
    dims = tuple(range(-n_dims, 0))
    variance = float(inputs.detach().double().var(dims, correction=0).amin()) + eps
    gain = 1.0 if weight is None else float(weight.detach().double().abs().amax())
    if variance == 0:
        return math.inf if gain else 0.0
    return gain / math.sqrt(variance) * (1 + SLACK)
