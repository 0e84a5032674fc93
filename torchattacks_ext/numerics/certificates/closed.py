"""How far is a rival at least, by a formula? The paper's radius, and one a pair that is larger.

From m + 2 g.d + d.W d >= m - 2 c t + low t^2, where |d| = t, |g| = c and low = lambda_min(W):

    pairwise   r = m / (c + sqrt(c^2 - low m))                (inf where there is no root)
    paper      R = m / (c_M + sqrt(c_M^2 + max(-low, 0) m)),   m, c_M, low over all rivals

(arXiv:2605.25352, Theorem 4.1). A pair's own numbers never give less than the worst of all.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_ROOM = 2.0**-49
"""Relative room in c^2 < low m before a pair is said to have no rival region."""


def closed_radius(m: Tensor, c: Tensor, low: Tensor) -> Tensor:
    """Distance below which m - 2 c t + low t^2 > 0, elementwise; 0 where m <= 0, else > 0.

    >>> one = torch.ones(2, dtype=torch.float64)
    >>> closed_radius(one, one, torch.tensor([-3.0, 2.0], dtype=torch.float64)).tolist()
    [0.3333333333333333, inf]
    """
    square, rest = c.square(), low * m
    root = c + (square - rest).clamp(min=0).sqrt()
    none = square * (1 + _ROOM) < rest
    found = torch.where(none, math.inf, m / root)  # m / 0 = inf: neither slope nor bend
    return torch.where(m > 0, found, 0.0)


def paper_radius(m: Tensor, c: Tensor, low: Tensor, rivals: Tensor) -> Tensor:
    """The paper's radius (N,) of (N, C) quantities; rivals (N, C) bool.

    >>> m = torch.tensor([[0.0, 4.0, 9.0]])
    >>> paper_radius(m, m.sqrt(), 0 * m, torch.tensor([[False, True, True]])).tolist()
    [0.6666666865348816]
    """
    least = torch.where(rivals, m, math.inf).amin(1)
    worst = torch.where(rivals, c, 0.0).amax(1)
    bend = torch.where(rivals, low, 0.0).amin(1)
    return closed_radius(least, worst, bend)
