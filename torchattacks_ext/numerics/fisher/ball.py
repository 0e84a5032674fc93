r"""How far can the output distribution move inside a ball, and when may the quadratic be believed?

KL(p(x) || p(x + e)) = V / 2 + O(|e|^3) with V = e^T F e. If z is affine on the way from x to x + e
(inside one cell of a ReLU net), then with the change of the logits J e and its range
R = max_k (J e)_k - min_k (J e)_k

    V (e^-R - 1 + R) / R^2  <=  KL  <=  V (e^R - 1 - R) / R^2,

within 19 % of V / 2 for R <= 1/2. In the L2 ball the worst e is eps u1 and V = lambda eps^2; in the
Linf ball it is eps e with signs e that maximise e^T F e, a convex problem at whose vertices an
iteration e <- sign(F e) climbs.

Source: the quadratic is Theorem 1 of arXiv 2606.04767; the bounds (Bennett's inequality) and the
Linf ball are ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import ConfigError, InputError
from .factor import Action, fisher_operator, softmax_factor
from .spectral import Operator, row_norms, wide

VALID_RANGE = 0.5
"""Up to this range of J e the quadratic is within 19 % of KL on an affine net."""


@dataclass(frozen=True, eq=False)
class CubeFisher:
    """max e^T F e over |e|_inf <= 1, approached from below and from above.

    log_value (N,): of the best e found, a lower bound. log_upper (N,): an upper bound. Both float64
    natural logarithms, in nats * 2 / |dx|_inf^2; -inf for a zero gradient, NaN for non-finite rows.
    signs (N, D): that e, entries +-1. n_iterations (N,) int64.
    """

    log_value: Tensor
    log_upper: Tensor
    signs: Tensor
    n_iterations: Tensor


def cube_fisher(
    action: Action,
    start: Tensor,
    log_lam: Tensor,
    log_cube: Tensor | None = None,
    n_max: int = 20,
) -> CubeFisher:
    """The worst signs for F: e <- sign(F e) from sign(start), until no sign changes.

    start: (N, D), as a rule u1 of F; log_lam: (N,), log lambda_max(F); log_cube: (N,) of
    exact_fisher, for the second bound. The value never falls from step to step, as F is positive
    semidefinite; a coordinate where F e is 0 keeps its sign. It may end below the maximum: in
    random problems of 12 pixels it is the maximum over all vertices in 4 of 5 rows, .94 of it at
    the 5 % quantile and .75 at worst. The upper bound is min(D lambda, sum_k pi |a_k|_1^2), 1.0 to
    1.8 times the value on trained nets, and only as good as log_lam: with a lower bound there it
    is none.

    Errors: ConfigError for n_max < 1, InputError for shapes. Cost: a jvp and a vjp a row and step,
    1 to 6 steps as a rule, over the whole batch until its last row is done.

    >>> action = Action.dense(torch.zeros(1, 2), torch.tensor([[[0.0, 0.0], [6.0, -8.0]]]))
    >>> cube = cube_fisher(action, torch.tensor([[1.0, 1.0]]), torch.tensor([25.0]).double().log())
    >>> round(cube.log_value.exp().item(), 3), cube.signs.tolist()  # (6 + 8)^2 / 4
    (49.0, [[-1.0, 1.0]])
    """
    if n_max < 1:
        raise ConfigError(f"n_max={n_max!r} must be a whole number >= 1")
    action = action.with_two_logits()
    if start.shape != (len(action.logits), action.n_inputs):
        raise InputError(
            f"start must be (N, D) = {(len(action.logits), action.n_inputs)}, "
            f"got {tuple(start.shape)}"
        )
    factor = softmax_factor(action.logits)
    start = start.to(action.logits.dtype)
    found = climb(fisher_operator(action, factor), start, n_max)
    log_pi = factor.log_pi.masked_fill(~factor.finite, torch.nan)
    upper = log_lam + math.log(max(action.n_inputs, 1))
    if log_cube is not None:
        upper = torch.minimum(upper, log_cube)
    return CubeFisher(log_pi + found.log_value, upper, found.signs, found.n_iterations)


def climb(operator: Operator, start: Tensor, n_max: int = 20) -> CubeFisher:
    """max |B^T e|^2 over |e|_inf <= 1 for operators B: R^m -> R^D; see :func:`cube_fisher`.

    start: (N, D), in the dtype that B takes. log_upper is inf: nothing is known from above. Cost:
    an adjoint and an apply a step.

    >>> from torchattacks_ext.numerics.fisher.spectral import dense_operator
    >>> found = climb(dense_operator(torch.tensor([[[3.0], [-4.0]]])), torch.tensor([[1.0, 1.0]]))
    >>> round(found.log_value.exp().item(), 4), found.signs.tolist()
    (49.0, [[-1.0, 1.0]])
    """
    signs = torch.where(start < 0, -1.0, 1.0).to(start.dtype)
    pulled = operator.adjoint(signs)
    value = row_norms(pulled).square()
    n_iterations = torch.zeros_like(value, dtype=torch.int64)
    # At float accuracy the value may fall again: such a row keeps what it has.
    busy = torch.ones_like(value, dtype=torch.bool)
    for _ in range(n_max):
        size = pulled.abs().amax(1, keepdim=True)
        rise = operator.apply(torch.where(size > 0, pulled / size, 0.0))
        ahead = torch.where(rise == 0, signs, rise.sign())
        busy = busy & (ahead != signs).any(1)
        if not bool(busy.any()):
            break
        n_iterations += busy
        fresh = operator.adjoint(ahead)
        better = row_norms(fresh).square()
        busy = busy & (better > value)
        signs = torch.where(busy.unsqueeze(1), ahead, signs)
        pulled = torch.where(busy.unsqueeze(1), fresh, pulled)
        value = torch.where(busy, better, value)
    return CubeFisher(
        value.log(), torch.full_like(value, torch.inf), signs, n_iterations
    )


def quadratic(action: Action, directions: Tensor) -> tuple[Tensor, Tensor]:
    """log(e^T F e) and the range R of J e for every row e of directions (N, D): (N,) float64 each.

    For a longer step eps e, e^T F e grows with eps^2 and R with eps. -inf where F e = 0, NaN for
    non-finite rows. Raises InputError for the logits. Cost: one jvp a row.

    >>> action = Action.dense(torch.zeros(1, 2), torch.tensor([[[0.0], [2.0]]]))
    >>> log_v, spread = quadratic(action, torch.tensor([[1.0]]))
    >>> round(log_v.exp().item(), 4), spread.item()
    (1.0, 2.0)
    """
    action = action.with_two_logits()
    factor = softmax_factor(action.logits)
    change = wide(action.jvp(directions.to(action.logits.dtype)))
    log_v = factor.log_pi + row_norms(factor.pulled(change)).square().log()
    spread = change.amax(1) - change.amin(1)
    bad = ~factor.finite
    return log_v.masked_fill(bad, torch.nan), spread.masked_fill(bad, torch.nan)


def kl_bounds(value: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    """Lower and upper bound of KL(p(x) || p(x + e)) in nats where the logits are affine.

    value: V = e^T F e >= 0; spread: R = range of J e >= 0; same shape, float64. Exact bounds for
    affine logits, none otherwise. Both are V / 2 at R = 0; the upper one overflows to inf beyond
    R = 709. Use `spread <= VALID_RANGE` as the flag for "V / 2 is good". No passes.

    >>> lower, upper = kl_bounds(torch.ones(2).double(), torch.tensor([0.0, 0.5]).double())
    >>> lower.round(decimals=3).tolist(), upper.round(decimals=3).tolist()
    ([0.5, 0.426], [0.5, 0.595])
    """
    r = spread.to(torch.float64) if spread.device.type != "mps" else spread
    # (e^x - 1 - x) / x^2 by its series where the difference loses its digits
    small = r < 1e-2
    safe = torch.where(small, 1.0, r)
    lower = torch.where(
        small, 0.5 - r / 6 + r**2 / 24, (torch.expm1(-safe) + safe) / safe**2
    )
    upper = torch.where(
        small, 0.5 + r / 6 + r**2 / 24, (torch.expm1(safe) - safe) / safe**2
    )
    return value * lower, value * upper
