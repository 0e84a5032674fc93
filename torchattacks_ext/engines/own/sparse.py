"""How does APGD walk in L1? Few pixels a step, fewer where few have changed.

A step a (one radius at first) goes to the k pixels of largest gradient, a / k each, by its sign;
pixels at the border that press outward are not among them. k is a fifth of all at first. Every
.04 N steps it becomes 1 / 1.5 of the pixels in which the best point differs from the image; if
these have become fewer than .95 of what they were, a is the radius again and the row goes back to
its best point, else a is divided by 1.5, down to a tenth of the radius (Croce & Hein 2021,
arXiv:2103.01208, Algorithm 1).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...numerics.norms import per_row
from ..judge.active import Array
from .ball import ROUNDING, Ball, free
from .pursuit import State

FIRST, FEWER, SHORTER, LEAST, EVERY = 0.2, 0.95, 1.5, 0.1, 0.04


class Sparse:
    """Steps of slots in L1."""

    def marks(self, steps: int) -> Array:
        """(steps + 1,) at a checkpoint the steps since the one before, else 0."""
        found, every = np.zeros(steps + 1, dtype=np.int64), max(int(EVERY * steps), 1)
        found[every::every] = every
        return found

    def fresh(self, state: State, x: Tensor, ball: Ball) -> State:
        """What slots remember that begin at x."""
        size = float(x[0].numel())
        changed = _changed(x, state, ball.radius)
        none = changed == 0
        return {
            "most": ball.radius.to(x.dtype),
            "step": ball.radius.to(x.dtype),
            "wide": torch.where(none, FIRST * size, changed / SHORTER),
            "changed": torch.where(none, size, changed),
        }

    def turn(
        self, state: State, width: Tensor, x: Tensor, gradient: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Where to go on, by which gradient; width (n,): steps since the last checkpoint, or 0."""
        due, changed = width > 0, _changed(state["best"], state, state["most"])
        fewer = changed < FEWER * state["changed"]
        most = state["most"]
        step = torch.where(fewer, most, (state["step"] / SHORTER).maximum(LEAST * most))
        state["step"] = torch.where(due, step, state["step"])
        state["wide"] = torch.where(due, changed / SHORTER, state["wide"])
        state["changed"] = torch.where(due, changed, state["changed"])
        back = per_row(due & fewer, x)
        return torch.where(back, state["best"], x), torch.where(
            back, state["slope"], gradient
        )

    def move(
        self, state: State, ball: Ball, x: Tensor, gradient: Tensor, new: Array
    ) -> Tensor:
        """One step from x."""
        pull = free(gradient, x)
        size = pull.flatten(1).abs()
        kept = state["wide"].ceil().long().clamp(1, size.shape[1])
        # a device that is not the host would wait for the largest k
        most = int(kept.max()) if x.device.type == "cpu" else size.shape[1]
        largest = size.topk(most, dim=1).values
        least = largest.gather(1, kept[:, None] - 1)
        chosen = (size >= least).view_as(pull)
        sign = torch.where(chosen, pull.sign(), 0.0)
        count = sign.flatten(1).abs().sum(1).clamp_min(1)
        return ball.into(x + per_row(state["step"] / count, x) * sign)


def _changed(points: Tensor, state: State, radius: Tensor) -> Tensor:
    """(n,) pixels that differ from the image by more than rounding."""
    change = (points - state["image"]).flatten(1).abs()
    return (change > ROUNDING * radius.to(change)[:, None]).sum(1).to(points.dtype)
