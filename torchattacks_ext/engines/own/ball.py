"""Where may a candidate be, and which step is the longest? The ball of each row within [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..._typing import Norm
from ...numerics.norms import per_row

TINY = 1e-12


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
        """Points (n, ...) moved into the ball, then into the box."""
        column = self.column
        if self.norm == "Linf":
            low, high = self.images - column, self.images + column
            return torch.clamp(points, low, high).clamp_(0, 1)
        change = points - self.images
        length = per_row(_lengths(change), change)
        share = (column / length.clamp_min(TINY)).clamp_max(1)
        return (self.images + change * share).clamp_(0, 1)

    def steepest(self, gradient: Tensor) -> Tensor:
        """The change (n, ...) of length 1 along which a row with this gradient rises most."""
        if self.norm == "Linf":
            return gradient.sign()
        return gradient / per_row(_lengths(gradient), gradient).clamp_min(TINY)


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
