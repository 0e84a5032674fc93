"""In which direction does a model give way? Its gradient at many points, and what the target says.

Gradients are those of the points alone. Where a model answers at random, loss and gradient are both
means over some draws.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..._typing import LogitsFn
from ...numerics.unit import Unit
from ..judge.harvest import Graded
from .objectives import Objective


@dataclass(frozen=True, eq=False)
class Pulled:
    """At n points: loss (n,), its gradient (n, ...) without NaN, odd (n,) bool: rows whose gradient
    was zero or no number, logits (n, K) of the model, seen (n, K) of the target or None.
    """

    loss: Tensor
    gradient: Tensor
    odd: Tensor
    logits: Tensor
    seen: Tensor | None

    def take(self, rows: Tensor) -> Pulled:
        """The same at these points (m,)."""
        seen = None if self.seen is None else self.seen[rows]
        rest = self.loss[rows], self.gradient[rows], self.odd[rows], self.logits[rows]
        return Pulled(*rest, seen)


@dataclass(frozen=True, eq=False)
class Slope:
    """One model under attack, asked at points on [0, 1].

    model: pixels to logits. unit: the map to pixels. target: pixels to the target's logits; None
    where the model is the target. peek: the same at no cost, asked just after the model. draws:
    forward passes of one loss. known: what was pulled before at the points that are asked first;
    used up by that.

    >>> from .objectives import margin
    >>> slope = Slope(Graded(lambda x: x), Unit((0.0, 1.0)))
    >>> slope.pull(torch.tensor([[0.6, 0.4]]), torch.tensor([0]), None, margin).gradient.tolist()
    [[-1.0, 1.0]]
    """

    model: Graded
    unit: Unit
    target: LogitsFn | None = None
    peek: LogitsFn | None = None
    draws: int = 1
    known: list[Pulled] = field(default_factory=list)

    def pull(
        self,
        points: Tensor,
        labels: Tensor,
        targets: Tensor | None,
        objective: Objective,
        watch: bool = True,
    ) -> Pulled:
        """Loss and gradient at points (n, ...) for labels (n,) and targets (n,) or none.

        watch: whether the target's logits there are wanted. n x draws forward and backward
        row-passes, and n forward ones of the target where it is another model.
        """
        if self.known:
            return self.known.pop()
        losses, gradients, logits, pixels = [], [], points, points
        leaf = points.detach().requires_grad_()
        for _ in range(self.draws):
            with torch.enable_grad():
                pixels = self.unit.back(leaf)
                logits = self.model(pixels)
                loss = objective(logits, labels, targets)
                (gradient,) = torch.autograd.grad(loss.sum(), leaf)
            losses.append(loss.detach())
            gradients.append(gradient)
        logits = logits.detach()
        with torch.no_grad():
            seen = self._seen(pixels.detach(), logits) if watch else None
            gradient, odd = cleaned(_mean(gradients))
        return Pulled(_mean(losses), gradient, odd, logits, seen)

    def look(self, points: Tensor) -> Tensor:
        """The target's logits at points (n, ...) on [0, 1]; n forward row-passes."""
        with torch.no_grad():
            pixels = self.unit.back(points)
            if self.target is None:
                found: Tensor = self.model.model(pixels)
                return found
            return self.target(pixels)

    def _seen(self, pixels: Tensor, logits: Tensor) -> Tensor:
        if self.target is None:
            return logits
        return (self.peek or self.target)(pixels)


def cleaned(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """(gradient (n, ...) without NaN, odd (n,) bool): whose gradient was zero or no number.

    >>> cleaned(torch.tensor([[1.0, float("nan")], [0.0, 0.0], [0.0, -1.0]]))[1].tolist()
    [True, True, False]
    """
    size = gradient.flatten(1).abs().sum(1)
    odd = ~torch.isfinite(size) | (size == 0)
    return torch.nan_to_num(gradient, 0.0, 0.0, 0.0), odd


def _mean(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(parts).mean(0)
