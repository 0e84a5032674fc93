"""How far is a rival exactly? The Lagrange dual of min |d|^2 over m + 2 g.d + d.W d <= 0.

With W = Q diag(w) Q^T, a = (Q^T g)^2 and a multiplier 1 / l, where l + w > 0 for every w:

    D(l) = (m - sum a / (l + w)) / l,    h(l) = m - p(l),    p(l) = sum a (2 l + w) / (l + w)^2

sqrt(D(l)) is a valid radius for *every* feasible l (weak duality), so that an unconverged search
only loses tightness; its largest value, at h(l) = 0, is the exact distance (S-lemma). p decreases.
Written in l and not in 1 / l, each sum has terms of one sign: no cancellation but the last one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .mixture import UNIT

MOST_STEPS = 60
_CLOSE = 1e-8
"""Relative step, measured from the pole, below which a row is done; D is flat there."""
_POLE = 1e-12
"""Relative distance that the multiplier keeps from the largest pole."""
_TINY, _LEAST = 1e-18, 1e-280
"""Least multiplier, in units of the largest that may be needed; and least unit."""
_BEYOND = 1 + 1e-6
"""Factor of a squared limit above which a row need not be searched further."""
_BLOCK = 2048
"""Rows that are searched together: their numbers stay in the processor's cache."""


class Ends(NamedTuple):
    """Of each row: the least of w, the largest, a at the least, and the sum of a."""

    least: Tensor
    most: Tensor
    first: Tensor
    total: Tensor


def ends_of(a: Tensor, w: Tensor) -> Ends:
    """The ends of rows in any order, (M, d)."""
    least, where = w.min(1)
    first = a.gather(1, where.unsqueeze(1)).squeeze(1)
    return Ends(least, w.amax(1), first, a.sum(1))


def dual_radius(
    m: Tensor,
    a: Tensor,
    w: Tensor,
    gradient_error: Tensor,
    *,
    ends: Ends | None = None,
    limit: Tensor | None = None,
    slack: bool = True,
) -> Tensor:
    """Distances (M,) at least, for margins m (M,) > 0, a = (Q^T g)^2 and w, each (M, d) float64.

    gradient_error: (M,) L2 bounds of the errors of g. ends: where they are known already. limit:
    (M,) distances beyond which any answer will do. slack: take off what rounding of the dual itself
    may have added; w and m bring their own. inf where no rival region exists, provably. Cost: about
    7 passes over (M, d) a step, mostly 5 to 8 steps.

    >>> row = torch.tensor([[4.0, 0.0]], dtype=torch.float64)
    >>> one = torch.ones(1, dtype=torch.float64)
    >>> dual_radius(one, row, 0 * row, 0 * one, slack=False).tolist()
    [0.25]
    """
    ends = ends_of(a, w) if ends is None else ends
    pole, low, high = _bracket(m, ends)
    wide = torch.full_like(m, math.inf) if limit is None else limit.square() * _BEYOND
    lam, rest = torch.empty_like(m), torch.empty_like(m)
    for start in range(0, len(m), _BLOCK):
        rows = slice(start, start + _BLOCK)
        parts = (x[rows] for x in (m, a, w, pole, low, high, wide))
        lam[rows], rest[rows] = _search(*parts)
    upper = ((m - rest) / lam).clamp(min=0).sqrt()
    # |d| <= upper in what follows, so that an error of g takes 2 |error| upper from m at most
    less = m - 2 * gradient_error * upper
    loss = 4 * (w.shape[1] + 6) * UNIT * (m + rest) if slack else 0.0
    found = ((less - rest - loss) / lam).clamp(min=0).sqrt()
    convex = (ends.least > 0).nonzero()[:, 0]
    if len(convex):
        given = (m, a, w, gradient_error, ends.least)
        away = _unreachable(*(x[convex] for x in given))
        found[convex[away]] = math.inf
    return found


def _unreachable(
    m: Tensor, a: Tensor, w: Tensor, gradient_error: Tensor, least: Tensor
) -> Tensor:
    """Rows (w > 0) whose quadratic is positive everywhere: m > g.W^-1 g, with its errors."""
    bottom = (a / w).sum(1).sqrt() + gradient_error / least.sqrt()
    return m > bottom.square() * (1 + 4 * (w.shape[1] + 6) * UNIT)


def _search(
    m: Tensor,
    a: Tensor,
    w: Tensor,
    pole: Tensor,
    low: Tensor,
    high: Tensor,
    wide: Tensor,
) -> tuple[Tensor, Tensor]:
    """l (M,) with h(l) = 0, by Newton's method on 1 / sqrt(p) in a bracket, and sum a / (l + w).

    Rows that are done, or whose D is beyond `wide`, are left out once they are half of all.
    """
    start = pole + ((low - pole) * (high - pole)).sqrt()
    found, rest = start.clone(), torch.empty_like(low)
    rows, lam = torch.arange(len(m), device=m.device), start
    q, part = torch.empty_like(a), torch.empty_like(a)
    for _ in range(MOST_STEPS):
        n = len(rows)
        one, two, three = _sums(lam, a, w, q[:n], part[:n])
        p = lam * two + one
        found[rows], rest[rows] = lam, one
        left = p > m
        low, high = torch.where(left, lam, low), torch.where(left, high, lam)
        step = p * ((p / m).sqrt() - 1) / (lam * three)
        new = lam + step
        middle = pole + ((low - pole) * (high - pole)).sqrt()
        done = step.abs() <= _CLOSE * (lam - pole)
        new = torch.where((new > low) & (new < high) | done, new, middle)
        done |= (new - lam).abs() <= _CLOSE * (lam - pole)
        done |= m - one > wide * lam
        n_done = int(done.sum())
        if n_done == n:
            break
        lam = torch.where(done, lam, new)
        if 2 * n_done > n:
            keep = (~done).nonzero()[:, 0]
            parts = (rows, lam, m, a, w, pole, low, high, wide)
            taken = (x.index_select(0, keep) for x in parts)
            rows, lam, m, a, w, pole, low, high, wide = taken
    return found, rest


def _sums(
    lam: Tensor, a: Tensor, w: Tensor, q: Tensor, part: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """sum a / (l + w)^j for j = 1, 2, 3, each (M,); q, part: (M, d) memory for it."""
    torch.add(w, lam.unsqueeze(1), out=q).reciprocal_()
    one = torch.mul(a, q, out=part).sum(1)
    two = part.mul_(q).sum(1)
    return one, two, part.mul_(q).sum(1)


def _bracket(m: Tensor, ends: Ends) -> tuple[Tensor, Tensor, Tensor]:
    """(pole, low, high): l + w > 0 above the pole >= 0, and h(low) <= 0 <= h(high) if it can be.

    One term of p, or all of them with one w, have their root in closed form: the largest p with the
    least w (the multiplier of the `pairwise` radius), the smallest p with the largest w or with the
    term of the least w alone.
    """
    pole = (-ends.least).clamp(min=0)
    high = _root(m, ends.total, ends.least)
    size = torch.maximum(ends.least.abs(), ends.most.abs())
    scale = torch.maximum(high, size).clamp(min=_LEAST)
    floor = torch.maximum(pole * (1 + _POLE), scale * _TINY)
    low = torch.maximum(
        _root(m, ends.first, ends.least), _root(m, ends.total, ends.most)
    )
    low = torch.maximum(low * (1 - _POLE), floor)
    return pole, low, torch.maximum(high * (1 + _POLE), low)


def _root(m: Tensor, c2: Tensor, w: Tensor) -> Tensor:
    """l with c2 (2 l + w) / (l + w)^2 = m; 0 where there is none, which is below every root."""
    inside = c2 * (c2 - m * w)
    found = (c2 + inside.clamp(min=0).sqrt()) / m - w
    return torch.where(inside >= 0, found.clamp(min=0), 0.0)
