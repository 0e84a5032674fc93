r"""How far does the output distribution move for the worst small step? lambda_max of the input FIM.

F(x) = J^T (diag p - p p^T) J, J = dz/dx, p = softmax(z): the covariance over labels y ~ p of the
gradients of log p_y. For |e|_2 <= eps the divergence KL(p(x) || p(x + e)) is at most about
lambda_max(F) eps^2 / 2, and largest along the top eigenvector u1. lambda is in nats * 2 / |dx|^2,
lower = less sensitive, and given as its logarithm: it reaches 1e-600 for a sharp softmax.

Source: arXiv 2606.04767 (the score R_norm), with these corrections: the factorisation of
:mod:`torchattacks_ext.numerics.fisher.factor` in place of p and log p, which underflow; exact
values or Lanczos with a residual in place of a maximum of 100 random quotients, which is the
paper's default and .58 of the truth at K = 10, .07 at 100 and .008 at 1000; no Theorem 3, whose p_k
(1 - p_k) is too small by up to a factor 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import torch
from torch import Tensor

from ...errors import ConfigError
from .factor import Action, Factor, fisher_operator, softmax_factor
from .gram import exact_fisher
from .lanczos import lanczos
from .spectral import (
    Ending,
    Operator,
    TopSingular,
    gaussians,
    hutchinson_trace,
    max_rayleigh,
    power_iteration,
    row_norms,
    unit_rows,
)

_Number = TypeVar("_Number", int, float)
Method = Literal["auto", "gram", "lanczos", "power", "srp_hutchinson"]
METHODS: tuple[Method, ...] = get_args(Method)

GRAM_UP_TO = 16
"""The largest K for which "auto" takes the Gram matrix: K - 1 vjps against 3 to 6 of both kinds."""


@dataclass(frozen=True, eq=False)
class TopFisher:
    """The top of F's spectrum for N rows.

    log_lam (N,) float64, natural logarithm; -inf for a zero gradient, NaN for non-finite rows. u1
    (N, D): unit eigenvector, dtype of the logits; along it log p_c does not rise, to first order.
    residual (N,) float64: |M w - theta w| / theta in class space, 0 when exact, NaN when unknown.
    n_iterations (N,) int64: 0 for the Gram matrix. status (N,) int8, see Ending. log_trace,
    log_cube, radius_l2, radius_linf: as in ExactFisher, None unless the Gram matrix was used.
    """

    log_lam: Tensor
    u1: Tensor
    residual: Tensor
    n_iterations: Tensor
    status: Tensor
    method: Method
    log_trace: Tensor | None = None
    log_cube: Tensor | None = None
    radius_l2: Tensor | None = None
    radius_linf: Tensor | None = None


def top_fisher(
    action: Action,
    method: Method = "auto",
    *,
    tol: float | None = None,
    n_max: int | None = None,
    miss: float = 1e-3,
    n_draws: int = 100,
    max_bytes: int = 2**28,
    ids: Tensor | None = None,
) -> TopFisher:
    """log lambda_max(F) and its eigenvector for every row of an action (N, K) by (N, D).

    method: "gram" (exact, K - 1 vjps), "lanczos" (n iterations of a vjp and a jvp each, whatever K
    is), "auto" = gram up to K = 16, else lanczos; for reproduction "power" (Algorithm 1 of the
    paper, its start the gradient of log p_c) and "srp_hutchinson" (Algorithm 2: the largest of
    n_draws random quotients, far below the truth for many classes, status CAP always). tol: of
    lanczos 1e-3 and of power 1e-6 when None; n_max: 60 and 100. miss: see lanczos. max_bytes: for
    the large intermediate array. ids (N,) int64: own draws for srp_hutchinson's rows.

    A row that says CONVERGED is within tol of the truth (power: not promised), one that says CAP is
    a lower bound. Errors: ConfigError for a setting, InputError for the logits.
    Cost: as above; K <= 2 takes one vjp by "gram" and "auto". `action.passes` counts.

    >>> logits, jacobian = torch.tensor([[60.0, 0.0]]), torch.tensor([[[3.0], [0.0]]])
    >>> round(top_fisher(Action.dense(logits, jacobian)).log_lam.item(), 4)  # log 9 - 60
    -57.8028
    """
    if method not in METHODS:
        raise ConfigError(f"method={method!r} is not one of {METHODS}")
    action = action.with_two_logits()
    n_others = action.logits.shape[1] - 1
    if method == "gram" or (method == "auto" and n_others < GRAM_UP_TO):
        return _by_gram(action, max_bytes)
    factor = softmax_factor(action.logits)
    operator = fisher_operator(action, factor)
    if method == "power":
        # N w = q, so that B w = D^T q = -(grad log p_c) / pi: finite when that gradient is not
        tol, n_max = _default(tol, 1e-6), _default(n_max, 100)
        found = power_iteration(operator, factor.t, tol, n_max)
    elif method == "srp_hutchinson":
        found = max_rayleigh(_full_operator(action, factor), factor.t, n_draws, ids)
        found = _signed_by_gradient(action, factor, found)
    else:
        tol, n_max = _default(tol, 1e-3), _default(n_max, 60)
        found = lanczos(
            operator,
            dual_start(factor),
            n_others,
            tol=tol,
            miss=miss,
            n_max=n_max,
            max_bytes=max_bytes,
        )
        method = "lanczos"
    return from_search(found, factor.log_pi, factor.finite, factor.t, method)


def _default(value: _Number | None, default: _Number) -> _Number:
    return default if value is None else value


def _by_gram(action: Action, max_bytes: int) -> TopFisher:
    exact = exact_fisher(action, max_bytes=max_bytes)
    none = torch.zeros_like(exact.log_lam)
    return TopFisher(
        exact.log_lam,
        exact.u1,
        none.masked_fill(exact.log_lam.isnan(), torch.nan),
        none.to(torch.int64),
        exact.status,
        "gram",
        exact.log_trace,
        exact.log_cube,
        exact.radius_l2,
        exact.radius_linf,
    )


def from_search(
    found: TopSingular,
    log_scale: Tensor,
    finite: Tensor,
    falling: Tensor,
    method: Method,
) -> TopFisher:
    """The top of F = e^log_scale B B^T from that of B^T B.

    log_scale: (N,) float64. finite: (N,) bool, False for rows that have no answer. falling (N, m):
    <falling, B^T v> > 0 where log p_c falls along v, for an eigenvector B^T v.
    """
    bad = ~finite | (found.status == int(Ending.NON_FINITE))
    log_lam = (log_scale + found.theta.log()).masked_fill(bad, torch.nan)
    status = found.status.masked_fill(bad, int(Ending.NON_FINITE))
    u1 = unit_rows(found.image, row_norms(found.image))
    # For F itself log p_c falls along D^T q, and <D^T q, B w> = theta t^T w / (1 - a).
    u1 = torch.where(((falling * found.w).sum(1) < 0).unsqueeze(1), -u1, u1)
    residual = found.residual.masked_fill(bad, torch.nan)
    return TopFisher(log_lam, u1, residual, found.n_iterations, status, method)


def dual_start(factor: Factor) -> Tensor:
    """A start for Lanczos, (N, K) unit rows: half the runner-up class, half a random part.

    N^T e_second is close to the answer when two classes have nearly all the mass, and is not zero
    where grad log p_c is (p = (.4, .3, .3), J = (0, v, -v)). The random part N^T g, g normal and
    the same for all rows, shows what symmetry could hide: J = (0, 0, v, -v) has M N^T e_second = 0.
    It weighs classes as the softmax does, so a saturated row still needs one iteration only.

    >>> dual_start(softmax_factor(torch.tensor([[90.0, 0.0, -90.0]]))).abs().round()
    tensor([[0., 1., 0.]], dtype=torch.float64)
    """
    one = torch.zeros_like(factor.t).scatter(1, factor.runner_up().unsqueeze(1), 1.0)
    parts = []
    for vector in (one, gaussians(factor.t, "lanczos", 0, None)):
        pulled = factor.mixed(factor.t * vector)
        parts.append(unit_rows(pulled, row_norms(pulled)))
    # the two must not cancel where only one class is left
    agree = torch.where((parts[0] * parts[1]).sum(1, keepdim=True) < 0, -1.0, 1.0)
    start = parts[0] + agree * parts[1]
    return unit_rows(start, row_norms(start))


def _full_operator(action: Action, factor: Factor) -> Operator:
    """z -> J^T R z / sqrt(pi), R = diag(s)(I - s s^T), s = sqrt(p): the K-dimensional form.

    Only Algorithm 2 needs it: its draws fill all K dimensions, the null direction s included.
    """
    top, dtype = factor.top.unsqueeze(1), action.logits.dtype
    root_pi = (factor.log_pi / 2).exp().unsqueeze(1)
    root_top = (1 - root_pi.square()).sqrt()

    def apply(z: Tensor) -> Tensor:
        along = root_top * z.gather(1, top)
        along = along + root_pi * (factor.t * z).sum(1, keepdim=True)
        b = factor.t * (z - root_pi * factor.t * along)
        return action.vjp(b.scatter(1, top, -b.sum(1, keepdim=True)).to(dtype))

    def adjoint(v: Tensor) -> Tensor:
        raise NotImplementedError("Algorithm 2 needs vjps only")

    return Operator(apply, adjoint)


def _signed_by_gradient(
    action: Action, factor: Factor, found: TopSingular
) -> TopSingular:
    """Give w the sign that from_search expects: that of the image against D^T q. One vjp."""
    q = factor.t.square().scatter(1, factor.top.unsqueeze(1), -1.0)
    gradient = action.vjp(q.to(action.logits.dtype))
    falls = (gradient * found.image).sum(1, keepdim=True) >= 0
    w = factor.t * torch.where(falls, 1.0, -1.0)
    rest = (found.image, found.residual, found.n_iterations, found.status)
    return TopSingular(found.theta, w, *rest)


def log_trace(
    action: Action, n_draws: int | None = None, ids: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """log tr F of every row, and the relative standard error of tr F (0 when exact), (N,) float64.

    lambda_max <= tr F <= (K - 1) lambda_max. n_draws=None: exact, K - 1 vjps, without keeping
    gradients (exact_fisher gives it at no cost). Else Hutchinson's unbiased estimate from n_draws
    vjps; ids (N,) int64 give rows their own draws. Errors: ConfigError for n_draws < 1, InputError
    for the logits. -inf for a zero gradient, NaN for non-finite rows.

    >>> action = Action.dense(torch.zeros(1, 2), torch.tensor([[[0.0, 0.0], [6.0, 8.0]]]))
    >>> round(log_trace(action)[0].exp().item(), 4)
    25.0
    """
    action = action.with_two_logits()
    factor = softmax_factor(action.logits)
    operator = fisher_operator(action, factor)
    if n_draws is not None:
        value, error = hutchinson_trace(operator, factor.t, n_draws, ids)
    else:
        value = torch.zeros_like(factor.log_pi)
        error = torch.zeros_like(value)
        n, k = factor.t.shape
        for i in range(k - 1):
            others = i + (i >= factor.top).to(torch.int64)
            one = torch.zeros_like(factor.t).scatter(1, others.unsqueeze(1), 1.0)
            value = value + row_norms(operator.apply(one)).square()
    bad = ~factor.finite | ~value.isfinite()
    relative = torch.where(value > 0, error / value, 0.0)
    return (factor.log_pi + value.log()).masked_fill(bad, torch.nan), relative
