"""Where may a candidate be, and which step is the longest? The ball of each row within [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..._typing import Norm
from ...numerics.norms import per_row

TINY = 1e-12
ROUNDING = 1e-6
"""What a pixel, or a radius as a share of it, may be off and still counts as there."""
ROUNDS = 16
"""At most, of a search that needs three or four; in L1 four times as many."""


@dataclass(frozen=True, eq=False)
class Ball:
    """|x - image| <= radius, met with the box [0, 1]; images (n, ...), radius (n,) in their units.

    >>> ball = Ball(torch.tensor([[0.1, 0.5]]), torch.tensor([0.2]), "Linf")
    >>> ball.into(torch.tensor([[-1.0, 2.0]])).tolist()
    [[0.0, 0.699999988079071]]
    """

    images: Tensor
    radius: Tensor
    norm: Norm

    @property
    def column(self) -> Tensor:
        """The radius as (n, 1, ...)."""
        return per_row(self.radius.to(self.images.dtype), self.images)

    def into(self, points: Tensor) -> Tensor:
        """The point of ball and box that is nearest to each of the points (n, ...)."""
        column = self.column
        if self.norm == "Linf":
            low, high = self.images - column, self.images + column
            return torch.clamp(points, low, high).clamp_(0, 1)
        change = points - self.images
        room = torch.where(change > 0, 1 - self.images, self.images)
        if self.norm == "L1":
            level = per_row(_level(change, room, self.radius), change)
            change = (change.abs() - level).clamp_min_(0) * change.sign()
            return (self.images + change).clamp_(0, 1)
        share = per_row(_share(change, room, self.radius), change)
        return (self.images + change * share).clamp_(0, 1)

    def climb(self, gradient: Tensor, points: Tensor, length: Tensor) -> Tensor:
        """The change (n, ...) of length (n,) from points along which a row rises most.

        In L2 and L1 pixels that stand at the border of the box and press outward are left out; in
        L1 the others move as far as the box lets them, those of the largest gradient first, until
        the length is spent.
        """
        size = per_row(length.to(points.dtype), points)
        if self.norm == "Linf":
            return size * gradient.sign()
        pull = free(gradient, points)
        if self.norm == "L2":
            return size * (pull / per_row(_lengths(pull), pull).clamp_min(TINY))
        room = torch.where(pull > 0, 1 - points, points) * (pull != 0)
        order = pull.flatten(1).abs().sort(dim=1, descending=True, stable=True).indices
        most = room.flatten(1).gather(1, order).double()
        left = length.to(most)[:, None] - (most.cumsum(1) - most)
        spent = torch.minimum(left.clamp_min(0), most).to(points.dtype)
        change = torch.zeros_like(spent).scatter(1, order, spent)
        return change.view_as(points) * pull.sign()

    def beyond(self, points: Tensor) -> Tensor:
        """(n,) bool: points outside the ball by more than their rounding."""
        change = (points - self.images).flatten(1)
        order = {"Linf": torch.inf, "L2": 2.0, "L1": 1.0}[self.norm]
        length = torch.linalg.vector_norm(change, order, dim=1)
        found: Tensor = length > self.radius.to(length) * (1 + 10 * ROUNDING)
        return found


def free(gradient: Tensor, points: Tensor) -> Tensor:
    """The gradient (n, ...) without pixels that stand at the border of the box and press outward.

    >>> free(torch.tensor([[-1.0, 1.0, 1.0]]), torch.tensor([[0.0, 0.5, 1.0]])).tolist()
    [[0.0, 1.0, 0.0]]
    """
    stuck = torch.where(gradient > 0, points >= 1 - ROUNDING, points <= ROUNDING)
    return torch.where(stuck, 0.0, gradient)


def _level(change: Tensor, room: Tensor, radius: Tensor) -> Tensor:
    """(n,) least level >= 0 for which min(max(|change| - level, 0), room) sums up to the radius.

    The sum falls with the level, in straight pieces (Croce & Hein 2021, arXiv:2103.01208,
    Proposition 2.2 sorts them). Here Newton's step, which is exact on a piece, within a bracket
    that is halved where it leads out; a row that is there moves no more.
    """
    size, most = change.flatten(1).double().abs(), room.flatten(1).double()
    limit = radius.to(size) * (1 - 1e-7)
    low, high = torch.zeros_like(limit), size.amax(1)
    level = low
    for _ in range(4 * ROUNDS):
        left = (size - level[:, None]).clamp_min_(0)
        falls = ((left > 0) & (left < most)).sum(1)
        over = torch.minimum(left, most).sum(1) - limit
        there = (over.abs() <= 1e-9 * limit) | ((over <= 0) & (level <= 0))
        low = torch.where(over > 0, level, low)
        high = torch.where(over > 0, high, level)
        new = level + over / falls.clamp_min(1)
        out = (falls == 0) | (new <= low) | (new >= high)
        new = torch.where(out, (low + high) / 2, new)
        level = torch.where(there, level, new)
        if level.device.type == "cpu" and bool(there.all()):
            break
    return level.to(change.dtype)


def _share(change: Tensor, room: Tensor, radius: Tensor) -> Tensor:
    """(n,) largest t <= 1 for which min(t |change|, room) is no longer than the radius in L2.

    The multiplier of the nearest point: from below, pixels that have no more room are fixed and t
    found for the rest, until no pixel is new; t only grows, and is at no time too large.
    """
    size, most = change.flatten(1).abs(), room.flatten(1)
    limit = radius.to(size) ** 2
    t = radius.to(size) / _lengths(size).clamp_min(TINY)
    for _ in range(ROUNDS):
        cut = torch.minimum(t[:, None] * size, most)
        whole = _lengths(cut).square()
        rest = _lengths(cut * (cut < most)).square()  # of pixels that have room
        new = t * ((limit - whole + rest).clamp_min(0) / rest.clamp_min(TINY**2)).sqrt()
        grows = new > t * (1 + 4 * torch.finfo(t.dtype).eps)
        t = torch.where(grows, new, t).clamp_max(1)
        if t.device.type == "cpu" and not bool(grows.any()):
            break
    return t.clamp_max(1)


def _lengths(rows: Tensor) -> Tensor:
    found: Tensor = torch.linalg.vector_norm(rows.flatten(1), 2.0, dim=1)
    return found


def dual_norm(gradients: Tensor, norm: Norm) -> Tensor:
    """(n,) how much a row with this gradient rises at most, a unit of the radius.

    >>> dual_norm(torch.tensor([[3.0, -4.0]]), "Linf"), dual_norm(torch.tensor([[3.0, -4.0]]), "L1")
    (tensor([7.]), tensor([4.]))
    """
    rows = gradients.flatten(1)
    if norm == "Linf":
        return rows.abs().sum(1)
    return rows.abs().amax(1) if norm == "L1" else _lengths(rows)
