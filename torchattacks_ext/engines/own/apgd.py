"""How does a row climb with a step that knows when to shrink? APGD (Croce & Hein 2020).

With step size a (2 eps at first), u = P(x_t + a d), d the steepest direction, then
x_{t+1} = P(x_t + .75 (u - x_t) + .25 (x_t - x_{t-1})), the first step without memory. Checkpoints
p_0 = 0, p_1 = .22, p_{j+1} = p_j + max(p_j - p_{j-1} - .03, .06), at step ceil(p_j N): a is halved,
and the row goes back to its best point, if fewer than .75 of the steps since the last one raised
the loss, or if a was not halved there and the best loss has not moved since (arXiv:2003.01690,
Algorithm 1). Each row has a step size and checkpoints of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..._typing import Norm
from ...numerics.losses import margins
from ...numerics.norms import per_row
from ..judge.active import Array
from .ball import dual_norm
from .objectives import Objective, temperature
from .pursuit import State, ball_of
from .slope import Pulled, Slope

RHO = 0.75
START = 2.0
"""First step, in radii."""
FLAT = 1e-6
"""A margin below this share of the spread of the logits is none."""


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


class APGD:
    """`steps` steps of every slot, from its image or where `start` says.

    One forward and one backward row-pass of the model a step (times its draws); a slot whose first
    gradient is zero does not move. start: slots to points (n, ...).
    targeted: whether slots aim at a class. ahead: whether the loss is above 0 where the model is
    wrong, so that its slope at the image says which rows one step may break: those are asked where
    that step leads, before a gradient is paid for there.
    """

    def __init__(
        self,
        slope: Slope,
        objective: Objective,
        steps: int,
        norm: Norm,
        start: Callable[[State], Tensor] | None = None,
        targeted: bool = False,
        ahead: bool = False,
    ) -> None:
        self.slope, self.objective, self.steps = slope, objective, steps
        self.norm, self.start, self.marks = norm, start, checkpoints(steps)
        self.targeted, self.ahead = targeted, ahead

    def begin(self, state: State) -> None:
        """Slots at their start."""
        if self.start is not None:
            state["x"] = ball_of(state, self.norm).into(self.start(state))
        x, radius = state["x"], state["radius"].to(state["x"].dtype)
        low = torch.full_like(radius, -torch.inf)
        state |= {"old": x, "best": x, "slope": torch.zeros_like(x)}
        state |= {"step": START * radius, "top": low, "before": -low, "then": low}
        state["rises"] = torch.zeros_like(state["row"])
        state["halved"] = torch.ones_like(state["hit"])

    def advance(self, state: State, age: Array) -> tuple[Tensor, Tensor]:
        """One step up."""
        x = state["x"]
        targets = state["target"] if self.targeted else None
        pulled = self.slope.pull(x, state["label"], targets, self.objective)
        assert pulled.seen is not None
        state["odd"] = state["odd"] | pulled.odd
        if (age == 0).any():
            self._first(state, pulled, age)
        state["fooled"] = state["fooled"] | (pulled.logits.argmax(1) != state["label"])
        better = pulled.loss > state["top"]
        state["top"] = torch.where(better, pulled.loss, state["top"])
        wide = per_row(better, x)
        state["best"] = torch.where(wide, x, state["best"])
        state["slope"] = torch.where(wide, pulled.gradient, state["slope"])
        state["rises"] = state["rises"] + (pulled.loss > state["before"])
        state["before"] = pulled.loss
        here, gradient = x, pulled.gradient
        window = self.marks[age]
        if window.any():
            here, gradient = self._checked(state, window, here, gradient)
        self._move(state, here, gradient, age)
        return x, pulled.seen

    def _first(self, state: State, pulled: Pulled, age: Array) -> None:
        """At their start: rows that cannot move are through; of what margin is the clean image?

        A margin that is none leaves a gate nothing to compare with: such a row is odd.
        """
        new = age == 0
        if self.start is None:
            flat = margins(pulled.logits, state["label"]) < FLAT * temperature(
                pulled.logits
            )
            state["odd"] = state["odd"] | (torch.from_numpy(new).to(flat.device) & flat)
        if self.ahead:
            most = dual_norm(pulled.gradient, self.norm) * state["radius"]
            first = torch.from_numpy(new).to(most.device)
            state["ahead"] = first & (pulled.loss + most > 0)
        stays = (pulled.gradient == 0).flatten(1).all(1).cpu().numpy()
        age[new & stays] = self.steps - 1

    def _checked(
        self, state: State, window: Array, x: Tensor, gradient: Tensor
    ) -> tuple[Tensor, Tensor]:
        """At a checkpoint: where to go on, and by which gradient."""
        width = torch.from_numpy(window).to(x.device)
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

    def _move(self, state: State, x: Tensor, gradient: Tensor, age: Array) -> None:
        ball = ball_of(state, self.norm)
        step = per_row(state["step"], x)
        point = ball.into(x + step * ball.steepest(gradient))
        fresh = np.where(age == 0, 1.0, RHO)
        share = per_row(torch.from_numpy(fresh).to(x), x)
        onward = x + share * (point - x) + (1 - share) * (x - state["old"])
        state["old"], state["x"] = x, ball.into(onward)

    def last(self, state: State) -> Tensor:
        """The point after the last step, which nobody has asked about."""
        return state["x"]
