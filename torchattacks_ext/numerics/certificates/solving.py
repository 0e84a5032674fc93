"""How far are some rivals of some latents, exactly? Rotated pair by pair, solved at once."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .dual import Ends, dual_radius
from .eigen import Pair, Pairs
from .scene import Scene, gamma


class Rotated(NamedTuple):
    """M triples in the axes of their pairs, sorted by pair.

    order (M,): which triple each row is; g (M, d): Q^T g; w (M, d): eigenvalues, lowered; ends: of
    w, and where the least of them is; skew (M,).
    """

    order: Tensor
    g: Tensor
    w: Tensor
    skew: Tensor
    ends: Ends | None


def distances(
    pairs: Pairs,
    scene: Scene,
    rows: Tensor,
    own: Tensor,
    rival: Tensor,
    limit: Tensor | None = None,
) -> Tensor:
    """Distances (M,), at least, of latents `rows` (M,) to where a rival reaches an own component.

    own, rival: (M,) components; where both are the same, the distance to the edge of its reject
    region, from inside. 0 where the rival is not behind. limit: (M,), beyond which any answer will
    do.
    """
    m, g, error = _quantities(scene, rows, own, rival)
    found = torch.zeros_like(m)
    behind = (m > 0).nonzero()[:, 0]
    if not len(behind):
        return found
    turned = _rotated(pairs, g[behind], own[behind], rival[behind])
    behind = behind[turned.order]
    error = error[behind]
    a = turned.g.square()
    if pairs.slack:
        d = scene.mixture.dim
        error = error + (2 * math.sqrt(d) * gamma(d) + turned.skew) * a.sum(1).sqrt()
    found[behind] = dual_radius(
        m[behind],
        a,
        turned.w,
        error,
        ends=_with_first(turned, a),
        limit=None if limit is None else limit[behind],
        slack=pairs.slack,
    )
    return found


def _with_first(turned: Rotated, a: Tensor) -> Ends | None:
    if turned.ends is None:
        return None
    least, most, at_end = turned.ends
    return Ends(least, most, torch.where(at_end > 0, a[:, -1], a[:, 0]))


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


def _rotated(pairs: Pairs, g: Tensor, own: Tensor, rival: Tensor) -> Rotated:
    """Gradients g (M, d) of the triples in the axes of each pair, with its eigenvalues."""
    mixture = pairs.mixture
    if mixture.kind in ("diag", "spherical"):
        order = torch.arange(len(g), device=g.device)
        w = _diagonal(pairs, own, rival)
        return Rotated(order, g, w, torch.zeros_like(g[:, 0]), None)
    if mixture.kind == "shared":  # only reject regions come here, all of one shape
        own = rival = torch.zeros_like(own)
    key = torch.minimum(own, rival) * mixture.n_components + torch.maximum(own, rival)
    key, order = key.sort()
    unique: Any = torch.unique_consecutive
    groups, counts = unique(key, return_counts=True)
    g, sizes, start = g[order], counts.tolist(), 0
    turned, held = torch.empty_like(g), []
    for number, size in zip(groups.tolist(), sizes):
        pair = pairs.pair(*divmod(number, mixture.n_components))
        rows = slice(start, start + size)
        torch.mm(g[rows], pair.vectors, out=turned[rows])
        held.append(pair)
        start += size
    ends, w, skew = _directed(held, counts, own[order] < rival[order])
    return Rotated(order, turned, w, skew, ends)


def _directed(
    held: list[Pair], counts: Tensor, forward: Tensor
) -> tuple[Ends, Tensor, Tensor]:
    """Lowered eigenvalues (M, d) of pairs, each for `counts` rows, with their ends, and the skew.

    forward: (M,) whether a row wants P_b - P_a or its negative. `first` of the ends is 1 where the
    least eigenvalue comes last.
    """
    which = torch.arange(len(held), device=counts.device).repeat_interleave(counts)
    values = torch.stack([pair.values for pair in held])[which]
    error, skew = values.new_tensor([(p.error, p.skew) for p in held])[which].T
    sign = torch.where(forward, 1.0, -1.0).to(values).unsqueeze(1)
    w = values.mul_(sign).sub_(error.unsqueeze(1))
    one_end, other = w[:, 0], w[:, -1]
    last = torch.where(forward, 0.0, 1.0).to(values)
    return (
        Ends(torch.minimum(one_end, other), torch.maximum(one_end, other), last),
        w,
        skew,
    )


def _diagonal(pairs: Pairs, own: Tensor, rival: Tensor) -> Tensor:
    """The same where P is diagonal: P_rival - P_own, or -P_own where both are one."""
    mixture = pairs.mixture
    square = mixture.factors.square()
    square = square.reshape(len(square), -1)
    other = torch.where((own == rival).unsqueeze(1), 0.0, square[rival])
    error = pairs.error[own] + pairs.error[rival]
    found = other - square[own] - error.unsqueeze(1)
    return found.expand(len(own), mixture.dim)
