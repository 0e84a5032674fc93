"""What is the exact distance to some rivals of some latents? Rotated pair by pair, solved at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .dual import dual_radius
from .eigen import Pairs
from .mixture import UNIT
from .scene import Scene, gamma


def distances(
    pairs: Pairs, scene: Scene, rows: Tensor, own: Tensor, rival: Tensor
) -> Tensor:
    """Distances (M,) of latents `rows` (M,) to where a rival component reaches an own one, at least.

    own, rival: (M,) components; where both are the same, the distance to the edge of its reject
    region, from inside. 0 where the rival is not behind. Radii of section `exact`.
    """
    m, g, error = _quantities(scene, rows, own, rival)
    found = torch.zeros_like(m)
    behind = (m > 0).nonzero()[:, 0]
    if not len(behind):
        return found
    rows, own, rival = rows[behind], own[behind], rival[behind]
    turned, w, skew = _rotated(pairs, g[behind], own, rival)
    error = error[behind]
    if pairs.slack:
        d = scene.mixture.dim
        error = error + (2 * math.sqrt(d) * gamma(d) + skew) * turned.norm(dim=1)
    found[behind] = dual_radius(m[behind], turned.square(), w, error, pairs.slack)
    return found


def _quantities(
    scene: Scene, rows: Tensor, own: Tensor, rival: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """m (M,) less its error, g (M, d), and the L2 error of g (M,)."""
    scores, lost, off = scene.scores, scene.score_error, scene.pulled_error
    same = own == rival
    m = scores[rows, own] - scores[rows, rival] - lost[rows, own] - lost[rows, rival]
    g = scene.pulled[rival, rows] - scene.pulled[own, rows]
    error = off[rows, own] + off[rows, rival]
    if bool(same.any()):
        inside = scene.reject_margin[rows, own]
        m = torch.where(same, inside, m)
        g = torch.where(same.unsqueeze(1), -scene.pulled[own, rows], g)
    return m, g, error


def _rotated(
    pairs: Pairs, g: Tensor, own: Tensor, rival: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """(Q^T g, lowered eigenvalues w, skew) in the axes of each pair: (M, d), (M, d), (M,)."""
    mixture = pairs.mixture
    skew = torch.zeros_like(g[:, 0])
    if mixture.kind in ("diag", "spherical"):
        return g, _diagonal(pairs, own, rival), skew
    if mixture.kind == "shared":  # only reject regions come here, all of one shape
        own = rival = torch.zeros_like(own)
    turned, w = torch.empty_like(g), torch.empty_like(g)
    key = torch.minimum(own, rival) * mixture.n_components + torch.maximum(own, rival)
    order = key.argsort()
    groups, counts = key[order].unique_consecutive(return_counts=True)
    sign = torch.where(own < rival, 1.0, -1.0).to(g)
    for number, rows in zip(groups.tolist(), order.split(counts.tolist())):
        pair = pairs.pair(*divmod(number, mixture.n_components))
        turned[rows] = g[rows] @ pair.vectors
        w[rows] = sign[rows].unsqueeze(1) * pair.values - pair.error
        skew[rows] = pair.skew
    return turned, w, skew


def _diagonal(pairs: Pairs, own: Tensor, rival: Tensor) -> Tensor:
    """The same where P is diagonal: P_rival - P_own, or -P_own where both are one."""
    mixture = pairs.mixture
    square = mixture.factors.square()
    square = square.reshape(len(square), -1)
    other = torch.where((own == rival).unsqueeze(1), 0.0, square[rival])
    error = pairs.error[own] + pairs.error[rival]
    found = other - square[own] - error.unsqueeze(1)
    return found.expand(len(own), mixture.dim)
