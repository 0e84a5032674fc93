"""How does a row climb with a step that knows when to shrink? APGD (Croce & Hein 2020, 2021).

Steps, checkpoints and what happens at them are the walk's: `halving` in Linf and L2, `sparse` in
L1. Each row has a step size and checkpoints of its own.

A run may come in from outside: with `reach` r > 1 the first .3 of the steps are a run in the ball
of r radii, the next .3 one of (1 + r) / 2 and the rest one of the radius itself, each from the best
point of the one before (arXiv:2103.01208, r = 3). Points outside the ball count for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ..._typing import Norm
from ...numerics.losses import margins
from ...numerics.norms import per_row
from ..judge.active import Array
from .ball import Ball, dual_norm
from .halving import Halving
from .objectives import Objective, temperature
from .pursuit import State
from .slope import Pulled, Slope
from .sparse import Sparse

FLAT = 1e-6
"""A margin below this share of the spread of the logits is none."""
SHARE = 0.3
"""Of the steps, in each of the wider balls."""


def stretches(steps: int, reach: float) -> list[tuple[int, float]]:
    """(steps, radii) of the balls that a run goes through, the ball itself last.

    >>> stretches(100, 3), stretches(20, 1)
    ([(30, 3.0), (30, 2.0), (40, 1.0)], [(20, 1.0)])
    """
    if reach == 1 or steps < 3:
        return [(steps, 1.0)]
    part = min(math.ceil(SHARE * steps), (steps - 1) // 2)
    return [(part, float(reach)), (part, (1 + reach) / 2), (steps - 2 * part, 1.0)]


class APGD:
    """`steps` steps of every slot, from its image or where `start` says.

    One forward and one backward row-pass of the model a step (times its draws); a slot whose first
    gradient is zero does not move. start: slots to points (n, ...).
    targeted: whether slots aim at a class. reach: radii of the first ball. ahead: whether the loss
    is above 0 where the model is wrong, so that its slope at the image says which rows one step may
    break: those are asked where that step leads, before a gradient is paid for there.
    """

    def __init__(
        self,
        slope: Slope,
        objective: Objective,
        steps: int,
        norm: Norm,
        start: Callable[[State], Tensor] | None = None,
        targeted: bool = False,
        reach: float = 1.0,
        ahead: bool = False,
    ) -> None:
        self.slope, self.objective, self.steps = slope, objective, steps
        self.norm, self.start, self.targeted = norm, start, targeted
        self.ahead = ahead
        self.walk = Sparse() if norm == "L1" else Halving()
        marks, radii, new = [], [], []
        for count, scale in stretches(steps, reach):
            marks.append(self.walk.marks(count)[:count])
            radii.append(np.full(count, scale))
            new.append(np.arange(count) == 0)
        self.marks, self.radii, self.new = map(np.concatenate, (marks, radii, new))

    def begin(self, state: State) -> None:
        """Slots at their start."""
        if self.start is not None:
            first = np.zeros(len(state["row"]), dtype=np.int64)
            state["x"] = self._ball(state, first).into(self.start(state))
        self._renew(state, np.zeros(len(state["row"]), dtype=np.int64), None)

    def _ball(self, state: State, age: Array) -> Ball:
        scale = torch.from_numpy(self.radii[age]).to(state["radius"])
        return Ball(state["image"], scale * state["radius"], self.norm)

    def _renew(self, state: State, age: Array, which: Tensor | None) -> None:
        """Slots, or those at `which` (n,) bool, begin to walk at x."""
        x = state["x"]
        low = torch.full_like(state["radius"].to(x.dtype), -torch.inf)
        found = self.walk.fresh(state, x, self._ball(state, age))
        found |= {"best": x, "slope": torch.zeros_like(x), "top": low, "before": low}
        found["rises"] = torch.zeros_like(state["row"])
        for key, value in found.items():
            if which is not None:
                value = torch.where(per_row(which, value), value, state[key])
            state[key] = value

    def advance(self, state: State, age: Array) -> tuple[Tensor, Tensor]:
        """One step up."""
        new = self.new[age]
        if (new & (age > 0)).any():
            self._come_in(state, age, new & (age > 0))
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
            width = torch.from_numpy(window).to(x.device)
            here, gradient = self.walk.turn(state, width, here, gradient)
        ball = self._ball(state, age)
        state["x"] = self.walk.move(state, ball, here, gradient, new)
        return x, self._inside(state, x, pulled.seen, age)

    def _come_in(self, state: State, age: Array, which: Array) -> None:
        """Slots at the start of a smaller ball go on from their best point, moved into it."""
        chosen = torch.from_numpy(which).to(state["x"].device)
        x = self._ball(state, age).into(state["best"])
        state["x"] = torch.where(per_row(chosen, x), x, state["x"])
        self._renew(state, age, chosen)

    def _inside(self, state: State, x: Tensor, seen: Tensor, age: Array) -> Tensor:
        """Logits at x; outside the ball such as say nothing, the label for sure."""
        if not (self.radii[age] > 1).any():
            return seen
        out = Ball(state["image"], state["radius"], self.norm).beyond(x)
        label = one_hot(state["label"], seen.shape[1]).to(seen.dtype)
        sure = torch.finfo(seen.dtype).max * label
        return torch.where(out[:, None], sure, seen)

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

    def last(self, state: State) -> Tensor:
        """The point after the last step, which nobody has asked about."""
        return state["x"]
