r"""How sensitive is the output distribution on average around an image, and not at one point of it?

A ReLU net has kinks, and lambda_max(F(x)) jumps where one is crossed. The mean of F over n points
x + sigma g_i, g_i normal, does so in n small steps:

    F_bar = (1/n) sum_i pi_i B_i B_i^T = e^L B B^T,   B = [s_1 B_1, .., s_n B_n],
    L = max_i log(pi_i / n),   s_i^2 = (pi_i / n) e^-L <= 1,

B_i = D^T N at the i-th point, see :mod:`torchattacks_ext.numerics.fisher.factor`. So B is an
operator from R^(n K), and Lanczos finds its largest singular value as it does for one point.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import ConfigError, InputError
from .factor import Action, Factor, fisher_operator, softmax_factor
from .lanczos import lanczos
from .spectral import Operator, hutchinson_trace, row_norms, unit_rows
from .top import TopFisher, dual_start, from_search


@dataclass(frozen=True, eq=False)
class SmoothedFisher:
    """The mean of F over n points of each of N images.

    operator: B, (N, n K) <-> (N, D). log_scale (N,): L. factor: of all N n points, the n of an
    image one after the other. parts (N, n): s_i. finite (N,) bool: every point of the image is.
    """

    operator: Operator
    log_scale: Tensor
    factor: Factor
    parts: Tensor
    finite: Tensor

    def log_trace(self, n_draws: int, ids: Tensor | None = None) -> Tensor:
        """log tr F_bar (N,), estimated from n_draws vjps a point."""
        like = self.factor.t.reshape(len(self.parts), -1)
        trace = hutchinson_trace(self.operator, like, n_draws, ids)[0]
        return (self.log_scale + trace.log()).masked_fill(~self.finite, torch.nan)

    def top(
        self, *, tol: float = 1e-3, n_max: int = 60, max_bytes: int = 2**28
    ) -> TopFisher:
        """Its largest eigenvalue and eigenvector, as top_fisher's by Lanczos."""
        n, n_points = self.parts.shape
        shape = (n, n_points, self.factor.t.shape[1])
        start = dual_start(self.factor).view(shape) * self.parts.unsqueeze(2)
        start = start.flatten(1)
        found = lanczos(
            self.operator,
            unit_rows(start, row_norms(start)),
            n_points * (shape[2] - 1),
            tol=tol,
            n_max=n_max,
            max_bytes=max_bytes,
        )
        # sum_i pi_i q_i^T D_i v: how fast the mean of log p_c falls
        weight = (self.parts / (1 - self.factor.a.view(n, n_points))).unsqueeze(2)
        falling = (self.factor.t.view(shape) * weight).flatten(1)
        return from_search(found, self.log_scale, self.finite, falling, "lanczos")


def smoothed_fisher(action: Action, n_points: int) -> SmoothedFisher:
    """The mean of F over the n_points rows of an action that belong to each image.

    action: of N n_points rows, those of an image one after the other. Raises ConfigError for
    n_points < 1 and InputError where it does not divide the rows. Cost: none; an apply of the
    operator is a vjp a point, an adjoint a jvp.

    >>> jacobian = torch.tensor([[[0.0], [6.0]], [[0.0], [8.0]]])
    >>> smoothed = smoothed_fisher(Action.dense(torch.zeros(2, 2), jacobian), 2)
    >>> round(smoothed.top().log_lam.exp().item(), 4)  # (36 + 64) / 2 / 4
    12.5
    """
    action = action.with_two_logits()
    if n_points < 1:
        raise ConfigError(f"n_points={n_points!r} must be a whole number >= 1")
    if len(action.logits) % n_points:
        raise InputError(
            f"{len(action.logits)} rows are not a multiple of n_points={n_points}"
        )
    factor = softmax_factor(action.logits)
    finite = factor.finite.view(-1, n_points).all(1)
    logs = factor.log_pi.view(-1, n_points) - math.log(n_points)
    log_scale = logs.amax(1)
    parts = ((logs - log_scale.unsqueeze(1)) / 2).exp()
    operator = _stacked(fisher_operator(action, factor), parts)
    return SmoothedFisher(operator, log_scale, factor, parts, finite)


def _stacked(single: Operator, parts: Tensor) -> Operator:
    """B from the B_i, all in one operator `single`; parts: (N, n)."""
    n_points = parts.shape[1]
    weights = parts.unsqueeze(2)

    def apply(w: Tensor) -> Tensor:
        images = single.apply(w.reshape(len(parts) * n_points, -1))
        return (images.view(len(parts), n_points, -1) * weights.to(images)).sum(1)

    def adjoint(v: Tensor) -> Tensor:
        pulled = single.adjoint(v.repeat_interleave(n_points, 0))
        return (pulled.view(len(parts), n_points, -1) * weights).flatten(1)

    def take(rows: Tensor) -> Operator:
        assert single.take is not None
        points = torch.arange(n_points, device=rows.device)
        whole = (rows.unsqueeze(1) * n_points + points).flatten()
        return _stacked(single.take(whole), parts[rows])

    return Operator(apply, adjoint, None if single.take is None else take)
