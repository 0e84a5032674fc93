"""How does APGD walk in Linf and L2? A step that is halved where the loss no longer rises.

With step size a (2 radii at first), u = P(x_t + a d), d the steepest direction, then
x_{t+1} = P(x_t + .75 (u - x_t) + .25 (x_t - x_{t-1})), the first step without memory. Checkpoints
p_0 = 0, p_1 = .22, p_{j+1} = p_j + max(p_j - p_{j-1} - .03, .06), at step ceil(p_j N): a is halved,
and the row goes back to its best point, if fewer than .75 of the steps since the last one raised
the loss, or if a was not halved there and the best loss has not moved since (Croce & Hein 2020,
arXiv:2003.01690, Algorithm 1).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ...numerics.norms import per_row
from ..judge.active import Array
from .ball import Ball
from .pursuit import State

RHO = 0.75
START = 2.0
"""First step, in radii."""


def checkpoints(steps: int) -> Array:
    """(steps + 1,) int64: at a checkpoint the steps since the one before, else 0.

    >>> np.flatnonzero(checkpoints(100)).tolist()
    [22, 41, 57, 70, 80, 87, 93, 99]
    """
    found = np.zeros(steps + 1, dtype=np.int64)
    before, here, last = 0.0, 0.22, 0
    while here < 1:
        # 1e-9: .22 + .19 is .41 but for rounding
        at = min(math.ceil(here * steps - 1e-9), steps)
        if at > last:
            found[at], last = at - last, at
        before, here = here, here + max(here - before - 0.03, 0.06)
    return found


class Halving:
    """Steps of slots in Linf and L2."""

    def marks(self, steps: int) -> Array:
        """(steps + 1,) at a checkpoint the steps since the one before, else 0."""
        return checkpoints(steps)

    def fresh(self, state: State, x: Tensor, ball: Ball) -> State:
        """What slots remember that begin at x."""
        low = torch.full_like(ball.radius.to(x.dtype), -torch.inf)
        return {
            "old": x,
            "step": START * ball.radius.to(x.dtype),
            "then": low,
            "halved": torch.ones_like(state["hit"]),
        }

    def turn(
        self, state: State, width: Tensor, x: Tensor, gradient: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Where to go on, by which gradient; width (n,): steps since the last checkpoint, or 0."""
        due = width > 0
        few = state["rises"] < RHO * width
        stuck = ~state["halved"] & (state["top"] <= state["then"])
        halve = due & (few | stuck)
        state["step"] = torch.where(halve, state["step"] / 2, state["step"])
        state["halved"] = torch.where(due, halve, state["halved"])
        state["then"] = torch.where(due, state["top"], state["then"])
        state["rises"] = torch.where(due, 0, state["rises"])
        wide = per_row(halve, x)
        return torch.where(wide, state["best"], x), torch.where(
            wide, state["slope"], gradient
        )

    def move(
        self, state: State, ball: Ball, x: Tensor, gradient: Tensor, new: Array
    ) -> Tensor:
        """One step from x; new (n,) bool: slots without a step before."""
        point = ball.into(x + ball.climb(gradient, x, state["step"]))
        fresh = np.where(new, 1.0, RHO)
        share = per_row(torch.from_numpy(fresh).to(x), x)
        onward = x + share * (point - x) + (1 - share) * (x - state["old"])
        state["old"] = x
        return ball.into(onward)
