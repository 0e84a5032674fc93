"""How far is a rival exactly? The Lagrange dual of min |d|^2 over m + 2 g.d + d.W d <= 0.

With W = Q diag(w) Q^T, a = (Q^T g)^2 and a multiplier 1 / l, where l + w > 0 for every w:

    D(l) = (m - sum a / (l + w)) / l,    h(l) = m - p(l),    p(l) = sum a (2 l + w) / (l + w)^2

sqrt(D(l)) is a valid radius for *every* feasible l (weak duality), so that an unconverged search
only loses tightness; its largest value, at h(l) = 0, is the exact distance (S-lemma). p decreases.
Written in l and not in 1 / l, each sum has terms of one sign: no cancellation but the last one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .mixture import UNIT

MOST_STEPS = 60
_CLOSE = 1e-9
"""Relative step, measured from the pole, below which a row is done; D is flat there."""
_POLE = 1e-12
"""Relative distance that the multiplier keeps from the largest pole."""
_TINY, _LEAST = 1e-18, 1e-280
"""Least multiplier, in units of the largest that may be needed; and least unit."""


def dual_radius(
    m: Tensor, a: Tensor, w: Tensor, gradient_error: Tensor, slack: bool = True
) -> Tensor:
    """Distances (M,) at least, for margins m (M,) > 0, a = (Q^T g)^2 and w, each (M, d) float64.

    gradient_error: (M,) L2 bounds of the errors of g. slack: take off what rounding of the dual
    itself may have added; w and m bring their own. inf where no rival region exists, provably.
    Cost: about 8 passes over (M, d) a step, mostly 6 to 9 steps.

    >>> row = torch.tensor([[4.0, 0.0]], dtype=torch.float64)
    >>> one = torch.ones(1, dtype=torch.float64)
    >>> dual_radius(one, row, 0 * row, 0 * one, slack=False).tolist()
    [0.25]
    """
    lam = _multiplier(m, a, w)
    rest = (a / (lam.unsqueeze(1) + w)).sum(1)
    upper = ((m - rest) / lam).clamp(min=0).sqrt()
    # |d| <= upper in what follows, so that an error of g takes 2 |error| upper from m at most
    less = m - 2 * gradient_error * upper
    loss = 4 * (w.shape[1] + 6) * UNIT * (m + rest) if slack else 0.0
    found = ((less - rest - loss) / lam).clamp(min=0).sqrt()
    return torch.where(_unreachable(m, a, w, gradient_error), math.inf, found)


def _unreachable(m: Tensor, a: Tensor, w: Tensor, gradient_error: Tensor) -> Tensor:
    """Rows whose quadratic is positive everywhere: w > 0 and m > g.W^-1 g, with its errors."""
    low = w.amin(1)
    convex = low > 0
    safe = torch.where(convex, low, 1.0)
    bottom = (a / torch.where(convex.unsqueeze(1), w, 1.0)).sum(1).sqrt()
    bottom = (bottom + gradient_error / safe.sqrt()).square()
    return convex & (m > bottom * (1 + 4 * (w.shape[1] + 6) * UNIT))


def _multiplier(m: Tensor, a: Tensor, w: Tensor) -> Tensor:
    """l (M,) with h(l) = 0, by Newton's method on 1 / sqrt(p), in a bracket."""
    pole, low, high = _bracket(m, a, w)
    lam = low
    for _ in range(MOST_STEPS):
        p, slope = _secular(lam, a, w)
        left = p > m
        low, high = torch.where(left, lam, low), torch.where(left, high, lam)
        step = p * ((p / m).sqrt() - 1) / slope
        new = lam + step
        middle = pole + ((low - pole) * (high - pole)).sqrt()
        inside = (new > low) & (new < high)
        close = step.abs() <= _CLOSE * (lam - pole)
        new = torch.where(inside, new, torch.where(close, lam, middle))
        done = (new - lam).abs() <= _CLOSE * (lam - pole)
        lam = new
        if bool(done.all()):
            break
    return lam


def _secular(lam: Tensor, a: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """p(l) and -p'(l) / 2 = l sum a / (l + w)^3, each (M,)."""
    q = (lam.unsqueeze(1) + w).reciprocal_()
    part = a * q
    one = part.sum(1)
    part *= q
    two = part.sum(1)
    part *= q
    return lam * two + one, lam * part.sum(1)


def _bracket(m: Tensor, a: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(pole, low, high): l + w > 0 above the pole >= 0, and h(low) <= 0 <= h(high) if it can be.

    One term of p, or all of them with one w, have their root in closed form: the largest p with the
    least w (the multiplier of the `pairwise` radius), the smallest p with the largest w or with the
    term of the least w alone.
    """
    least, where = w.min(1)
    total, first = a.sum(1), a.gather(1, where.unsqueeze(1)).squeeze(1)
    pole = (-least).clamp(min=0)
    high = _root(m, total, least)
    scale = torch.maximum(high, w.abs().amax(1)).clamp(min=_LEAST)
    floor = torch.maximum(pole * (1 + _POLE), scale * _TINY)
    low = torch.maximum(_root(m, first, least), _root(m, total, w.amax(1)))
    low = torch.maximum(low * (1 - _POLE), floor)
    return pole, low, torch.maximum(high * (1 + _POLE), low)


def _root(m: Tensor, c2: Tensor, w: Tensor) -> Tensor:
    """l with c2 (2 l + w) / (l + w)^2 = m; 0 where there is none, which is below every root."""
    inside = c2 * (c2 - m * w)
    found = (c2 + inside.clamp(min=0).sqrt()) / m - w
    return torch.where(inside >= 0, found.clamp(min=0), 0.0)
