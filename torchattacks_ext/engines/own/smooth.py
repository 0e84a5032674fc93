"""How does a row climb where its own gradient is no guide? By the mean gradient over noise.

A masked net is flat or jagged near an image, and its mean over a wide noise is not. For step i of
N, with S draws of the row's own stream and the ball's projection P:

    c_i = sigma eps (1 - i / (N + 1)),
    G = sum of grad margin(P(x_i + noise of length c_i)),  v <- .75 v + G / |G|_1,
    x_{i+1} = P(x_i + the change of length eps (1 + cos(pi i / (N + 1))) along which v rises most);

noise and steps shrink to nothing. The noise is c_i N(0, I) in Linf. In L2 and L1, whose balls hold
large changes of few of the D numbers and small ones of all, few are drawn anew, uniformly in the
box: each with the probability 3 c_i^2 / D in L2, 2 c_i / D in L1, at which the mean of |change|^2,
or of |change|, is c_i^2, or c_i, at most. On `mnist_fast_pgd` it breaks more than dense noise does.
Own formula; the mean over noise is that of randomised smoothing, the momentum that of Dong et al.
2018 (arXiv:1710.06081).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..._typing import Norm
from ...numerics.gaussian import normals
from ...numerics.norms import per_row
from ...numerics.streams import uniform
from ..judge.active import Array
from .ball import TINY, Ball
from .objectives import margin
from .pursuit import State, ball_of
from .slope import Slope

MEMORY = 0.75


class Smooth:
    """`steps` steps of every slot, from its image; the target is asked at each of the points.

    `copies` forward and backward row-passes a step, and one forward: noisy copies of n slots are
    one batch of n x copies rows. stream: name of the random numbers.
    """

    def __init__(
        self,
        slope: Slope,
        steps: int,
        norm: Norm,
        sigma: float,
        copies: int,
        seed: int,
        stream: str,
    ) -> None:
        self.slope, self.steps, self.norm = slope, steps, norm
        self.sigma, self.copies = sigma, copies
        self.seed, self.stream = seed, stream

    def begin(self, state: State) -> None:
        """Slots at their image, without momentum."""
        state["force"] = torch.zeros_like(state["x"])

    def advance(self, state: State, age: Array) -> tuple[Tensor, Tensor]:
        """One step, and a look at where it leads."""
        x, ball = state["x"], ball_of(state, self.norm)
        number = torch.from_numpy(age + 1).to(x.device)
        share = number.to(x.dtype) / (self.steps + 1)
        pull = self._pull(state, number, self.sigma * (1 - share), ball)
        size = per_row(pull.flatten(1).abs().sum(1), pull).clamp_min(TINY)
        state["force"] = MEMORY * state["force"] + pull / size
        length = (1 + torch.cos(math.pi * share)) * ball.radius.to(x.dtype)
        state["x"] = ball.into(x + ball.climb(state["force"], x, length))
        return state["x"], self.slope.look(state["x"])

    def _pull(self, state: State, number: Tensor, width: Tensor, ball: Ball) -> Tensor:
        """The sum of gradients (n, ...) over noisy copies of width (n,), in radii."""
        x, s, n = state["x"], self.copies, len(number)
        draws = (number[:, None] * s + torch.arange(s, device=x.device)).T.flatten()
        size = x[0].numel()
        numbers = uniform(
            self.seed, state["id"].repeat(s), self.stream, draws, size + size % 2
        )
        near = self._near(x, width.to(x.dtype) * ball.radius.to(x.dtype), numbers)
        copies = Ball(
            ball.images.repeat(s, *[1] * (x.ndim - 1)), ball.radius.repeat(s), self.norm
        )
        points = copies.into(near.reshape(s * n, *x.shape[1:]))
        labels = state["label"].repeat(s)
        found = self.slope.pull(points, labels, None, margin, watch=False)
        return found.gradient.reshape(s, *x.shape).sum(0)

    def _near(self, x: Tensor, length: Tensor, numbers: Tensor) -> Tensor:
        """Copies (s, n, ...) of points (n, ...) in noise that is length (n,) long at most, in the
        mean.
        """
        size = x[0].numel()
        if self.norm == "Linf":
            noise = normals(numbers)[:, :size].reshape(-1, *x.shape)
            return x + per_row(length, x) * noise.to(x.dtype)
        part = 2 * length / size if self.norm == "L1" else 3 * length**2 / size
        value = numbers[:, :size].reshape(-1, *x.shape) / per_row(part, x).clamp_min(
            TINY
        )
        return torch.where(value < 1, value.to(x.dtype), x)

    def last(self, state: State) -> None:
        """Every point was asked."""
        return None
