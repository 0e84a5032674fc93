"""What do scores alone give away? Square attack in Linf (Andriushchenko et al. 2020, 1912.00049).

Stripes first: each column of each channel at x + eps or x - eps. Then, query by query, a square
window of each channel is set to one of the two, and stays so where the margin falls. The window
covers a share p of the image, .8 at first, halved at 10, 50, 200, 500, 1000, 2000, 4000, 6000 and
8000 of 10,000 queries (scaled to the number that is asked); it may touch every border. All numbers
are the row's own: window, signs and stripes are functions of (seed, id, query). A tie that argmax
decides for the label is no success, and the row goes on.

A square that changes no pixel is made without the model, whose answer is known: with one channel
half of those of one pixel are such, which 2,000 of 5,000 are on pictures of 28 x 28.
"""

from __future__ import annotations

from dataclasses import dataclass

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
MOST_AHEAD, ROWS_AHEAD, IN_VAIN = 8, 64, 0.3
"""Queries that are made at once of a slot, rows of a batch filled so, and about twice the share
that may be asked in vain: a small batch costs little less than a larger one."""
BLOCK, MOST_DRAWN = 32, 2**22
"""Queries of a slot whose windows are drawn in one go, and pixels of all of these windows."""
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
    """`queries` squares after the stripes, on images (N, C, H, W).

    One forward row-pass a query that changes a pixel; where slots are few, queries that follow one
    by which the margin fell have been asked in vain, about 11 in 100. None of that changes what is
    found.
    """

    def __init__(self, slope: Slope, queries: int, seed: int, stream: str) -> None:
        self.slope, self.steps = slope, queries + 1
        self.seed, self.stream = seed, stream
        self.sides: Array | None = None
        self.n_classes = 0
        self.rate = self.share = (
            1.0  # of queries: by which a margin fell, that were asked
        )
        self.block: Block | None = None

    def begin(self, state: State) -> None:
        """Slots before their first query."""
        height, width = state["x"].shape[2:]
        if self.sides is None:
            self.sides = windows(self.steps - 1, height, width)
        n, device = len(state["row"]), state["x"].device
        state["least"] = torch.full((n,), torch.inf, dtype=torch.float64, device=device)
        column = ball_of(state, "Linf").column
        state["bottom"] = (state["image"] - column).clamp_(0, 1)
        state["top"] = (state["image"] + column).clamp_(0, 1)
        state["answer"] = state["x"].new_zeros(n, self.n_classes)  # the logits of x

    def advance(self, state: State, age: Array) -> tuple[Tensor, Tensor]:
        """One query of every slot; of few slots several, up to one that changes a thing."""
        n, ahead = len(age), self._ahead(state, age)
        if ahead < 2:
            points = self._proposed(state, age)[None]
        else:
            points = self._squares(state, age + np.arange(ahead)[:, None])
        new = self._new(state, points, age)
        seen, asked = self._asked(state, points, new)
        labels = state["label"].expand(ahead, n)
        margin = self._margin(seen, labels)
        falls = new & (margin < state["least"])
        stop = falls | (new & (seen.argmax(2) != labels))
        stop[-1] = True
        which = stop.long().argmax(0)  # the first query after which the next is another
        place = which, torch.arange(n, device=which.device)
        points, seen, falls = points[place], seen[place], falls[place]
        made = age * 0 + 1 if ahead < 2 else which.cpu().numpy() + 1
        if n <= ROWS_AHEAD and _on_host(points):
            self.rate += 0.05 * (int(falls.sum()) / made.sum() - self.rate)
            self.share += 0.05 * (asked / (ahead * n) - self.share)
        self._take(state, points, seen, margin[place], falls)
        age += made - 1
        return points, seen

    def _ahead(self, state: State, age: Array) -> int:
        """How many queries at once; one on a device that is not the host, which would wait."""
        few = len(age) <= ROWS_AHEAD // 2 and bool(age.all())
        if not few or not _on_host(state["x"]):
            return 1
        worth = 1 + int(IN_VAIN / max(self.rate, 1e-6))
        most = int(ROWS_AHEAD / (len(age) * max(self.share, 0.5)))
        return max(1, min(MOST_AHEAD, most, worth, self.steps - int(age.max())))

    def _new(self, state: State, points: Tensor, age: Array) -> Tensor:
        """(a, n) bool: which of the points (a, n, ...) are not where slots stand, or unknown."""
        if not _on_host(points):  # it would wait for what is picked
            return torch.ones(points.shape[:2], dtype=torch.bool, device=points.device)
        first = torch.from_numpy(age == 0)
        return (points != state["x"]).flatten(2).any(2) | first

    def _asked(self, state: State, points: Tensor, new: Tensor) -> tuple[Tensor, int]:
        """Logits (a, n, K) at points (a, n, ...), where nothing is new those of the slot's x; how
        many were asked.
        """
        rows = points.flatten(0, 1)
        if not _on_host(points):
            return self.slope.look(rows).view(*new.shape, -1), len(rows)
        which = new.flatten().nonzero().flatten()
        if len(which) == len(rows):
            return self.slope.look(rows).view(*new.shape, -1), len(rows)
        found = state["answer"].repeat(len(points), 1)
        if len(which):
            asked = self.slope.look(rows[which]).to(found.dtype)
            found.index_copy_(0, which, asked)
        return found.view(*new.shape, -1), len(which)

    def _margin(self, seen: Tensor, labels: Tensor) -> Tensor:
        """(a, n) of logits (a, n, K) and labels (a, n)."""
        rows, wanted = seen.flatten(0, 1), labels.flatten()
        margin = margins(rows, wanted).double()
        margin = torch.where(is_scored(rows, wanted), margin, -torch.inf)
        return margin.view(labels.shape)

    def _take(
        self, state: State, points: Tensor, seen: Tensor, margin: Tensor, falls: Tensor
    ) -> None:
        """Slots go to their points where the margin falls."""
        state["x"] = torch.where(per_row(falls, points), points, state["x"])
        state["least"] = torch.where(falls, margin, state["least"])
        if state["answer"].shape[1] == seen.shape[1]:
            seen = torch.where(falls[:, None], seen, state["answer"])
        state["answer"], self.n_classes = seen, seen.shape[1]

    def _proposed(self, state: State, age: Array) -> Tensor:
        first = age == 0
        if first.all():
            return self._stripes(state)
        points = self._squares(state, age[None])[0]
        if first.any():
            new = per_row(torch.from_numpy(first).to(points.device), points)
            points = torch.where(new, self._stripes(state), points)
        return points

    def _stripes(self, state: State) -> Tensor:
        n, c, _, w = state["image"].shape
        numbers = uniform(self.seed, state["id"], f"{self.stream}/stripes", 0, c * w)
        sign = numbers.reshape(n, c, 1, w) < 0.5
        return torch.where(sign, state["bottom"], state["top"])

    def _squares(self, state: State, number: Array) -> Tensor:
        """Queries number (a, n) of the slots, (a, n, ...), each from where its slot stands."""
        block = self.block
        if block is None or not block.holds(state["row"], number):
            block = self.block = self._drawn(state, number)
        window, sign = block.at(number)
        edge = torch.where(sign, state["bottom"], state["top"])
        return torch.where(window, edge, state["x"])

    def _drawn(self, state: State, number: Array) -> Block:
        """Windows and signs of these queries, and of those that follow where slots are few."""
        assert self.sides is not None
        n, c, h, w = state["x"].shape
        a = len(number)
        if n <= ROWS_AHEAD // 2:
            a = max(a, min(BLOCK, MOST_DRAWN // (n * h * w)))
        every = np.minimum(number[0] + np.arange(a)[:, None], self.steps - 1)
        draws = torch.from_numpy(every.ravel()).to(state["x"].device)
        ids = state["id"].repeat(a)
        numbers = uniform(self.seed, ids, self.stream, draws, 2 + c).view(a, n, 2 + c)
        side = torch.from_numpy(self.sides[every]).to(draws.device)[:, :, None]
        down, across = (
            _span(numbers[:, :, i : i + 1], side, size) for i, size in ((0, h), (1, w))
        )
        window = (down[:, :, :, None] & across[:, :, None, :])[:, :, None]
        return Block(
            state["row"], number[0], window, numbers[:, :, 2:, None, None] < 0.5
        )

    def last(self, state: State) -> None:
        """Every point was asked."""
        return None


@dataclass(frozen=True, eq=False)
class Block:
    """Of the slots with these rows the queries from `first` (n,) on: windows (a, n, 1, H, W) bool,
    signs (a, n, C, 1, 1) bool.
    """

    rows: Tensor
    first: Array
    windows: Tensor
    signs: Tensor

    def holds(self, rows: Tensor, number: Array) -> bool:
        """Whether queries number (b, n) of these very slots are among them."""
        if rows is not self.rows:
            return False
        return bool((number[-1] - self.first).max() < len(self.windows))

    def at(self, number: Array) -> tuple[Tensor, Tensor]:
        """Windows (b, n, ...) and signs (b, n, ...) of the queries number (b, n)."""
        if len(number) == len(self.windows):
            return self.windows, self.signs
        place = torch.from_numpy(number - self.first)
        slots = torch.arange(place.shape[1])
        return self.windows[place, slots], self.signs[place, slots]


def _span(number: Tensor, side: Tensor, size: int) -> Tensor:
    """(a, n, size) bool: which rows, or columns, each window covers; number, side (a, n, 1)."""
    start = (number.double() * (size - side + 1)).long()
    place = torch.arange(size, device=number.device)
    return (place >= start) & (place < start + side)


def _on_host(x: Tensor) -> bool:
    return x.device.type == "cpu"


def misfit(images: Tensor) -> str:
    """Why Square cannot run on such images; empty where it can.

    >>> misfit(torch.zeros(2, 5))
    'square needs images (N, C, H, W)'
    """
    return "" if images.ndim == 4 else "square needs images (N, C, H, W)"
