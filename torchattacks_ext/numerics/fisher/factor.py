r"""How is the input Fisher information written so that a saturated softmax loses nothing of it?

With logits z(x), p = softmax(z), J = dz/dx (K x D) and c = argmax z, the information is
F = J^T (diag p - p p^T) J. Put

    log pi = lse(z_k, k != c) - lse(z),   q = softmax(z_k, k != c),   t = sqrt(q),   t_c = 0,
    D_k = J_k - J_c,   a = pi / (1 + sqrt(p_c)),   N = diag(t) (I - a t t^T).

Then F = pi D^T N N^T D, where nothing underflows before pi does: its logarithm is kept apart.
With pi = 1 - p_c rounded to 0 the textbook form says F = 0; here only log lambda becomes very
negative. N has rank K - 1: row and column c are zero, no other direction is lost.

Source: F = Var(J) is Theorem 2 of arXiv 2606.04767; the factorisation is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...errors import InputError
from ..losses import is_finite_rows
from .spectral import Operator, wide


@dataclass
class Passes:
    """Row-passes through a model, by kind; a backend may count one jvp as more than one pass.

    >>> Passes(forward=2).total, Passes(1, 9, 3).total
    (2, 13)
    """

    forward: int = 0
    """Rows run forward to build an action."""
    vjp: int = 0
    """Rows of J^T w."""
    jvp: int = 0
    """Rows of J v."""

    @property
    def total(self) -> int:
        """All of them, one each."""
        return self.forward + self.vjp + self.jvp


@dataclass(eq=False)
class Action:
    """What is known of a model at N inputs: its logits and the products with its Jacobian.

    logits: (N, K), K >= 1 (one column z means the two logits 0, z). n_inputs: D. vjp: (N, K) ->
    (N, D), row i is J_i^T w_i. jvp: (N, D) -> (N, K), row i is J_i v_i. Both take and return the
    dtype of the logits, and must treat rows apart. take: an index (n,) -> the action at those rows,
    or None. backend: how jvp is computed, "" while it was not asked for. passes: what has been
    spent, shared with what take returns.

    >>> jacobian = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]]])
    >>> action = Action.dense(torch.zeros(1, 3), jacobian)
    >>> action.vjp(torch.tensor([[1.0, -1.0, 0.0]])), action.passes.vjp
    (tensor([[-2., -2.]]), 1)
    """

    logits: Tensor
    n_inputs: int
    vjp: Callable[[Tensor], Tensor]
    jvp: Callable[[Tensor], Tensor]
    take: Callable[[Tensor], Action] | None = None
    backend: str = "given"
    passes: Passes = field(default_factory=Passes)

    @classmethod
    def dense(
        cls, logits: Tensor, jacobian: Tensor, passes: Passes | None = None
    ) -> Action:
        """The action of Jacobians in memory, for tests and tables. jacobian: (N, K, D).

        Raises InputError when the shapes do not fit.
        """
        if jacobian.ndim != 3 or logits.shape != jacobian.shape[:2]:
            raise InputError(
                f"expected logits (N, K) and jacobian (N, K, D), got {tuple(logits.shape)} and "
                f"{tuple(jacobian.shape)}"
            )
        spent = Passes() if passes is None else passes
        spent.forward += len(logits)

        def vjp(weights: Tensor) -> Tensor:
            spent.vjp += len(weights)
            return torch.einsum("nk,nkd->nd", weights, jacobian)

        def jvp(directions: Tensor) -> Tensor:
            spent.jvp += len(directions)
            return torch.einsum("nkd,nd->nk", jacobian, directions)

        def take(rows: Tensor) -> Action:
            return cls.dense(logits[rows], jacobian[rows], spent)

        return cls(logits, jacobian.shape[2], vjp, jvp, take, "dense", spent)

    def with_two_logits(self) -> Action:
        """Itself when K >= 2; for K = 1 the action of the logits (0, z), whose F is the same.

        Raises InputError unless the logits are (N, K) with K >= 1.
        """
        if self.logits.ndim != 2 or self.logits.shape[1] < 1:
            raise InputError(
                f"expected logits (N, K) with K >= 1, got shape {tuple(self.logits.shape)}"
            )
        if self.logits.shape[1] > 1:
            return self
        take = self.take

        def pad(scores: Tensor) -> Tensor:
            return torch.nn.functional.pad(scores, (1, 0))

        def fewer(rows: Tensor) -> Action:
            assert take is not None
            return take(rows).with_two_logits()

        return Action(
            pad(self.logits),
            self.n_inputs,
            lambda weights: self.vjp(weights[:, 1:]),
            lambda directions: pad(self.jvp(directions)),
            None if take is None else fewer,
            self.backend,
            self.passes,
        )


@dataclass(frozen=True, eq=False)
class Factor:
    """The softmax half of F, see the file: top = c, log_pi, t and a, in float64 (MPS: float32).

    top (N,) int64; log_pi (N,) <= 0; t (N, K), zero at c, unit rows; a (N,) in [0, 1); finite (N,)
    bool, False where a logit is NaN or infinite (such rows hold the values of equal logits).
    """

    top: Tensor
    log_pi: Tensor
    t: Tensor
    a: Tensor
    finite: Tensor

    def take(self, rows: Tensor) -> Factor:
        """The factor of some rows. rows: (n,) int64."""
        parts = (self.top, self.log_pi, self.t, self.a, self.finite)
        return Factor(*(part[rows] for part in parts))

    def mixed(self, w: Tensor) -> Tensor:
        """(I - a t t^T) w, (N, K) -> (N, K)."""
        along = self.a * (self.t * w).sum(1)
        return w - along.unsqueeze(1) * self.t

    def weights(self, w: Tensor) -> Tensor:
        """The b with J^T b = D^T N w: N w, and minus its sum at c. (N, K) -> (N, K)."""
        b = self.t * self.mixed(w)
        return b.scatter(1, self.top.unsqueeze(1), -b.sum(1, keepdim=True))

    def pulled(self, scores: Tensor) -> Tensor:
        """N^T D v from scores = J v. (N, K) -> (N, K), zero at c."""
        y = scores.to(self.t)
        y = y - y.gather(1, self.top.unsqueeze(1))
        return self.mixed(self.t * y)

    def runner_up(self) -> Tensor:
        """The class of the second largest logit, (N,) int64."""
        return self.t.argmax(1)


def softmax_factor(logits: Tensor) -> Factor:
    """The factor of F at given logits (N, K), K >= 2, of any float dtype.

    Everything is a function of the differences of logits, in float64. Errors: that of a float32
    logit z, 6e-8 |z|, is the absolute error of log pi; none is added. Raises InputError for other
    shapes. No passes.

    >>> factor = softmax_factor(torch.tensor([[0.0, 60.0, -40.0]]))
    >>> factor.log_pi.item(), factor.t[0].tolist()[:2]
    (-60.0, [1.0, 0.0])
    """
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise InputError(
            f"expected logits (N, K) with K >= 2, got shape {tuple(logits.shape)}"
        )
    finite = is_finite_rows(logits)
    z = torch.where(finite.unsqueeze(1), wide(logits), 0.0)
    top = z.argmax(1, keepdim=True)
    others = (z - z.gather(1, top)).scatter(1, top, float("-inf"))
    log_odds = torch.logsumexp(others, 1)
    # p_c = 1 / (1 + e^log_odds), pi = e^log_odds p_c
    log_top = -torch.nn.functional.softplus(log_odds)
    log_pi = log_odds + log_top
    t = ((others - log_odds.unsqueeze(1)) / 2).exp()
    a = log_pi.exp() / (1 + (log_top / 2).exp())
    return Factor(top.squeeze(1), log_pi, t, a, finite)


def fisher_operator(action: Action, factor: Factor) -> Operator:
    """B = D^T N as an operator: F = pi B B^T, so lambda_max(F) = pi sigma_1(B)^2.

    apply costs one vjp, adjoint one jvp, take one forward, a row each.

    >>> action = Action.dense(torch.zeros(1, 2), torch.tensor([[[0.0], [3.0]]]))
    >>> operator = fisher_operator(action, softmax_factor(action.logits))
    >>> bool((operator.apply(torch.tensor([[0.0, 1.0]]).double()) - 3 * 0.5**0.5).abs() < 1e-6)
    True
    """
    take, dtype = action.take, action.logits.dtype

    def fewer(rows: Tensor) -> Operator:
        assert take is not None
        return fisher_operator(take(rows), factor.take(rows))

    return Operator(
        lambda w: action.vjp(factor.weights(w).to(dtype)),
        lambda v: factor.pulled(action.jvp(v)),
        None if take is None else fewer,
    )
