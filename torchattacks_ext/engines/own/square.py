"""What do scores alone give away? Square attack in Linf (Andriushchenko et al. 2020, 1912.00049).

Stripes first: each column of each channel at x + eps or x - eps. Then, query by query, a square
window of each channel is set to one of the two, and stays so where the margin falls. The window
covers a share p of the image, .8 at first, halved at 10, 50, 200, 500, 1000, 2000, 4000, 6000 and
8000 of 10,000 queries (scaled to the number that is asked); it may touch every border. All numbers
are the row's own: window, signs and stripes are functions of (seed, id, query). A tie that argmax
decides for the label is no success, and the row goes on.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...numerics.losses import is_scored, margins
from ...numerics.norms import per_row
from ...numerics.streams import uniform
from ..judge.active import Array
from .pursuit import State, ball_of
from .slope import Slope

SHARE = 0.8
HALVED = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


def windows(queries: int, height: int, width: int) -> Array:
    """(queries + 1,) int64: side of the window of each query, number 0 being the stripes.

    >>> windows(5000, 28, 28)[[1, 100, 5000]].tolist()
    [25, 13, 1]
    """
    number = np.arange(queries + 1) * 10_000 // max(queries, 1)
    halved = np.searchsorted(np.array(HALVED), number, side="left")
    sides = np.sqrt(SHARE * 0.5**halved * height * width)
    least = min(height, width)
    found: Array = np.clip(np.round(sides), 1, least).astype(np.int64)
    return found


class Square:
    """`queries` squares after the stripes, on images (N, C, H, W); `steps` forward row-passes."""

    def __init__(self, slope: Slope, queries: int, seed: int, stream: str) -> None:
        self.slope, self.steps = slope, queries + 1
        self.seed, self.stream = seed, stream
        self.sides: Array | None = None

    def begin(self, state: State) -> None:
        """Slots before their first query."""
        height, width = state["x"].shape[2:]
        if self.sides is None:
            self.sides = windows(self.steps - 1, height, width)
        n, device = len(state["row"]), state["x"].device
        state["least"] = torch.full((n,), torch.inf, dtype=torch.float64, device=device)

    def advance(self, state: State, age: Array) -> tuple[Tensor, Tensor]:
        """One query of every slot."""
        points = self._proposed(state, age)
        seen = self.slope.look(points)
        margin = margins(seen, state["label"]).double()
        margin = torch.where(is_scored(seen, state["label"]), margin, -torch.inf)
        falls = margin < state["least"]
        state["least"] = torch.where(falls, margin, state["least"])
        state["x"] = torch.where(per_row(falls, points), points, state["x"])
        return points, seen

    def _proposed(self, state: State, age: Array) -> Tensor:
        first = age == 0
        if first.all():
            return self._stripes(state)
        points = self._squares(state, age)
        if first.any():
            new = per_row(torch.from_numpy(first).to(points.device), points)
            points = torch.where(new, self._stripes(state), points)
        return points

    def _stripes(self, state: State) -> Tensor:
        x = state["image"]
        n, c, _, w = x.shape
        numbers = uniform(self.seed, state["id"], f"{self.stream}/stripes", 0, c * w)
        return self._at_edge(state, numbers.reshape(n, c, 1, w))

    def _at_edge(self, state: State, numbers: Tensor) -> Tensor:
        """Each pixel at the end of the ball that its number (broadcast) in [0, 1) says."""
        ball = ball_of(state, "Linf")
        sign = torch.where(numbers < 0.5, -1.0, 1.0).to(ball.images.dtype)
        return (ball.images + ball.column * sign).clamp_(0, 1)

    def _squares(self, state: State, age: Array) -> Tensor:
        assert self.sides is not None
        x = state["x"]
        n, c, h, w = x.shape
        draws = torch.from_numpy(age).to(x.device)
        numbers = uniform(self.seed, state["id"], self.stream, draws, 2 + c)
        side = torch.from_numpy(self.sides[age]).to(x.device)[:, None]
        down, across = (
            self._span(numbers[:, i : i + 1], side, size)
            for i, size in ((0, h), (1, w))
        )
        window = (down[:, :, None] & across[:, None, :])[:, None]
        return torch.where(window, self._at_edge(state, numbers[:, 2:, None, None]), x)

    def _span(self, number: Tensor, side: Tensor, size: int) -> Tensor:
        """(n, size) bool: which rows, or columns, the window of each slot covers."""
        start = (number.double() * (size - side + 1)).long()
        place = torch.arange(size, device=number.device)
        return (place >= start) & (place < start + side)

    def last(self, state: State) -> None:
        """Every point was asked."""
        return None


def misfit(images: Tensor) -> str:
    """Why Square cannot run on such images; empty where it can.

    >>> misfit(torch.zeros(2, 5))
    'square needs images (N, C, H, W)'
    """
    return "" if images.ndim == 4 else "square needs images (N, C, H, W)"
