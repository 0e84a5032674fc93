"""How far are some rivals of some latents, exactly? Rotated pair by pair, solved at once."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .dual import Ends, dual_radius, ends_of
from .eigen import Pair, Pairs
from .scene import Scene, gamma


class Triples(NamedTuple):
    """M latents `rows`, each with a component of its own and a rival; both are the same for the
    edge of a reject region, seen from inside."""

    rows: Tensor
    own: Tensor
    rival: Tensor

    def taken(self, places: Tensor) -> Triples:
        """Those at some places."""
        return Triples(*(x[places] for x in self))


class Axes(NamedTuple):
    """Triples in the axes of their pairs: Q^T g and the lowered eigenvalues w, (M, d); skew (M,).

    at_end: (M,) whether the least eigenvalue comes last and not first; None for any order.
    """

    g: Tensor
    w: Tensor
    skew: Tensor
    at_end: Tensor | None


def distances(
    pairs: Pairs, scene: Scene, asked: Triples, limit: Tensor | None = None
) -> Tensor:
    """Distances (M,), at least, of latents to where a rival reaches an own component.

    0 where the rival is not behind. limit: (M,), beyond which any answer will do.
    """
    m, error = _margin(scene, asked)
    found = torch.zeros_like(m)
    places = (m > 0).nonzero()[:, 0]
    if not len(places):
        return found
    key = _key(pairs, asked.taken(places))
    key, order = key.sort()
    places = places[order]
    turned = _axes(pairs, scene, asked.taken(places), key)
    a = turned.g.square()
    total, error = a.sum(1), error[places]
    if pairs.slack:
        d = scene.mixture.dim
        error = error + (2 * math.sqrt(d) * gamma(d) + turned.skew) * total.sqrt()
    found[places] = dual_radius(
        m[places],
        a,
        turned.w,
        error,
        ends=_ends(turned, a, total),
        limit=None if limit is None else limit[places],
        slack=pairs.slack,
    )
    return found


def _ends(turned: Axes, a: Tensor, total: Tensor) -> Ends:
    if turned.at_end is None:
        return ends_of(a, turned.w)
    one, other = turned.w[:, 0], turned.w[:, -1]
    first = torch.where(turned.at_end, a[:, -1], a[:, 0])
    return Ends(torch.minimum(one, other), torch.maximum(one, other), first, total)


def _margin(scene: Scene, asked: Triples) -> tuple[Tensor, Tensor]:
    """m (M,) less its error, and the L2 error of g (M,)."""
    rows, own, rival = asked
    scores, lost, off = scene.scores, scene.score_error, scene.pulled_error
    m = scores[rows, own] - scores[rows, rival] - lost[rows, own] - lost[rows, rival]
    same = own == rival
    if bool(same.any()):
        m = torch.where(same, scene.reject_margin[rows, own], m)
    return m, off[rows, own] + off[rows, rival]


def _key(pairs: Pairs, asked: Triples) -> Tensor:
    """(M,) which decomposition each triple needs; 0 where it needs none, or one serves all."""
    if pairs.mixture.kind != "full":
        return torch.zeros_like(asked.own)
    c = pairs.mixture.n_components
    return torch.minimum(asked.own, asked.rival) * c + torch.maximum(
        asked.own, asked.rival
    )


def _axes(pairs: Pairs, scene: Scene, asked: Triples, key: Tensor) -> Axes:
    """Gradients of triples sorted by key (M,), in the axes of each pair."""
    rows, own, rival = asked
    g = scene.of(rival, rows)
    same = (own == rival).unsqueeze(1)
    if bool(same.any()):
        g = torch.where(same, 0.0, g)
    g -= scene.of(own, rows)
    if pairs.mixture.kind in ("diag", "spherical"):
        return Axes(g, _diagonal(pairs, own, rival), torch.zeros_like(g[:, 0]), None)
    unique: Any = torch.unique_consecutive
    groups, counts = unique(key, return_counts=True)
    turned, held, start = torch.empty_like(g), [], 0
    for number, size in zip(groups.tolist(), counts.tolist()):
        pair = pairs.pair(*divmod(number, pairs.mixture.n_components))
        part = slice(start, start + size)
        torch.mm(g[part], pair.vectors, out=turned[part])
        held.append(pair)
        start += size
    which = torch.arange(len(held), device=g.device).repeat_interleave(counts)
    back = own >= rival
    w, skew = _both_ways(held)
    w = w.index_select(0, which + back * len(held))
    return Axes(turned, w, skew[which], back)


def _both_ways(held: list[Pair]) -> tuple[Tensor, Tensor]:
    """Lowered eigenvalues (2 G, d) of P_b - P_a, then of their negatives, and the skews (G,)."""
    values = torch.stack([pair.values for pair in held])
    error, skew = values.new_tensor([(p.error, p.skew) for p in held]).T
    error = error.unsqueeze(1)
    return torch.cat([values - error, -values - error]), skew


def _diagonal(pairs: Pairs, own: Tensor, rival: Tensor) -> Tensor:
    """The same where P is diagonal: P_rival - P_own, or -P_own where both are one."""
    mixture = pairs.mixture
    square = mixture.factors.square()
    square = square.reshape(len(square), -1)
    other = torch.where((own == rival).unsqueeze(1), 0.0, square[rival])
    error = pairs.error[own] + pairs.error[rival]
    found = other - square[own] - error.unsqueeze(1)
    return found.expand(len(own), mixture.dim)
