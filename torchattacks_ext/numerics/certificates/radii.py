"""Within which distance of a latent does a Gaussian mixture classifier not change its answer?

`paper` (arXiv:2605.25352, Theorem 4.1) <= `pairwise` (its formula for each rival by itself) <=
`exact` (the distance to each rival's region). The region of a class is the intersection over its
rivals, so that the distance to its edge is the least of them, for any number of classes. With
several components a class, a rival component is kept off by the best own one: the least over
rivals of the largest over own components.

Every radius holds for the stored numbers in real arithmetic: what float64 may have added is taken
off. It is that of an open ball: at the radius itself a tie is possible.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ...errors import ConfigError
from .closed import closed_radius, paper_radius
from .eigen import Pairs
from .scene import Scene, scene_of
from .solving import Triples, distances

Method = Literal["paper", "pairwise", "exact"]
METHODS: tuple[Method, ...] = "paper", "pairwise", "exact"

SAFE = 1 - 1e-9
"""Last factor of every radius: the formulas' own rounding, many times over."""
MOST_EIGENSOLVES = 528
"""So many pairs (33 components) are decomposed beforehand; of more, those that are asked for."""
_CHUNK = 1 << 23
"""Bytes of one (C, N, d) block: more latents are taken in turn."""


@dataclass(frozen=True, eq=False)
class Radii:
    """Answers for N latents.

    label (N,) int64, -1 where nothing is certified (a tie, a reject region, NaN); prediction (N,)
    int64 argmax; radius (N,) float64 >= 0, 0 exactly where label is -1; solved (N,) int64: rivals
    whose exact distance was computed.
    """

    label: Tensor
    prediction: Tensor
    radius: Tensor
    solved: Tensor


def check_method(method: str) -> None:
    """Raises ConfigError for a method that does not exist."""
    if method not in METHODS:
        raise ConfigError(f"method={method!r} is not one of {METHODS}")


def latent_radii(
    pairs: Pairs, z: Tensor, method: Method = "exact", *, prune: bool = True
) -> Radii:
    """Radii of latents z (N, d) float64, in L2.

    pairs: the mixture with its decompositions (they are kept for the next call). prune: rivals
    whose lower bound is beyond another's upper bound are not solved; the radii are the same. Rows
    with NaN or infinite numbers abstain. Raises ConfigError for another method.

    >>> from torchattacks_ext.numerics.certificates.mixture import Mixture
    >>> line = torch.tensor([[0.0], [4.0]], dtype=torch.float64)
    >>> one = torch.ones(2, dtype=torch.float64)
    >>> pairs = Pairs(Mixture(line, one, one, torch.arange(2), one * torch.inf))
    >>> found = latent_radii(pairs, torch.tensor([[1.0], [2.0]], dtype=torch.float64))
    >>> found.label.tolist(), round(float(found.radius[0]), 6), float(found.radius[1])
    ([0, -1], 1.0, 0.0)
    """
    check_method(method)
    mixture = pairs.mixture
    rows = max(1, _CHUNK // (8 * mixture.n_components * mixture.dim))
    order = torch.arange(len(z), device=z.device)
    if method == "exact" and len(z) > rows and not pairs.fit:
        # latents of one class need the same pairs: by class, each is decomposed about twice
        answers = [mixture.scores(part).argmax(1) for part in torch.split(z, rows)]
        order = torch.cat(answers).argsort(stable=True)
    chunks = torch.split(order, rows)
    parts = [_radii(pairs, z[chunk], method, prune) for chunk in chunks]
    back = order.argsort()
    names = ("label", "prediction", "radius", "solved")
    whole = (torch.cat([getattr(p, name) for p in parts]) for name in names)
    return Radii(*(values[back] for values in whole))


def _radii(pairs: Pairs, z: Tensor, method: Method, prune: bool) -> Radii:
    whole = z.isfinite().all(1)
    scene = scene_of(pairs.mixture, z.where(whole.unsqueeze(1), 0.0), pairs.slack)
    view = Rivals(pairs, scene)
    if method == "paper":
        radius, solved = view.paper(), torch.zeros_like(view.prediction)
    elif method == "pairwise":
        radius, solved = view.pairwise(), torch.zeros_like(view.prediction)
    else:
        radius, solved = view.exact(prune)
    if bool((pairs.mixture.reject < math.inf).any()):
        radius = torch.minimum(radius, view.accepted())
    if pairs.slack:
        radius = radius * SAFE
    radius = torch.where(whole & (radius > 0), radius, 0.0)
    label = torch.where(radius > 0, view.prediction, -1)
    prediction = torch.where(whole, view.prediction, -1)
    return Radii(label, prediction, radius, solved)


class Rivals:
    """What keeps each latent's answer, and what stands against it.

    pairs: decompositions; scene: N latents before the C components. rivals: (N, C) bool,
    components of another class than the answer's.
    """

    def __init__(self, pairs: Pairs, scene: Scene) -> None:
        self.pairs, self.scene, self.mixture = pairs, scene, scene.mixture
        self.best = scene.scores.argmax(1)
        owners = self.mixture.owners
        self.prediction = owners[self.best]
        self.rivals = owners.unsqueeze(0) != self.prediction.unsqueeze(1)
        self._norms: list[Tensor] = []

    def _own(self) -> list[Tensor]:
        """(N,) each: own components in turn; the best one again where a class has fewer."""
        if self.mixture.one_each:
            return [self.best]
        found = self.mixture.members[self.prediction]
        return [torch.where(own < 0, self.best, own) for own in found.T]

    def _norm(self, which: int, own: Tensor) -> Tensor:
        """|g| (N, C) of own components number `which`, computed once."""
        if which == len(self._norms):
            self._norms.append(self.scene.gradient_norm(own))
        return self._norms[which]

    def _steep(self, which: int, own: Tensor) -> Tensor:
        """|g| at most, (N, C)."""
        return self._norm(which, own) + self.scene.gradient_error(own)

    # ------------------------------------------------------------------ formulas
    def paper(self) -> Tensor:
        """The paper's radius (N,), with the best own component where there are several."""
        found = []
        for i, own in enumerate(self._own()):
            self.pairs.learn_all(own)
            low = self.pairs.low[own]
            m, steep = self.scene.margin(own), self._steep(i, own)
            found.append(paper_radius(m, steep, low, self.rivals))
        return torch.stack(found).amax(0)

    def pairwise(self) -> Tensor:
        """Least over rivals of the pair's own radius (N,); never below the paper's."""
        paper = self.paper()
        return torch.maximum(self._least(self._lower()), paper)

    def _least(self, distances: Tensor) -> Tensor:
        return torch.where(self.rivals, distances, math.inf).amin(1)

    def _lower(self) -> Tensor:
        """(N, C) lower bounds of the distance to each component, by formula."""
        found = []
        for i, own in enumerate(self._own()):
            m, steep = self.scene.margin(own), self._steep(i, own)
            found.append(closed_radius(m, steep, self.pairs.low[own]))
        return torch.stack(found).amax(0)

    def _upper(self) -> Tensor:
        """(N, C) upper bounds up to rounding: along -g, with the largest eigenvalue."""
        if not self.mixture.one_each:
            return torch.full_like(self.scene.scores, math.inf)
        own = self.best
        m = self.scene.scores.gather(1, own.unsqueeze(1)) - self.scene.scores
        return closed_radius(m, self._norm(0, own), self.pairs.high[own])

    # ------------------------------------------------------------------ exact
    def exact(self, prune: bool) -> tuple[Tensor, Tensor]:
        """The distance (N,) to the nearest rival's region, and how many rivals were solved (N,)."""
        pairs = self.pairs
        none = torch.zeros_like(self.prediction)
        if self.mixture.kind in ("shared", "spherical"):  # the formula is exact
            return self._least(self._lower()), none
        c = self.mixture.n_components
        few = c * (c - 1) // 2 <= MOST_EIGENSOLVES
        if few:
            pairs.learn_all(torch.arange(c))
        found = torch.where(self.rivals, self._lower(), math.inf)
        limit = torch.where(self.rivals, self._upper(), math.inf).amin(1)
        left = self.rivals.clone()
        width = 1 if prune else c
        while True:
            ask = left & (found < limit.unsqueeze(1)) if prune else left
            ask &= _smallest(found.masked_fill(~ask, math.inf), width)
            rows, rival = ask.nonzero().T
            if not len(rows):
                return found.amin(1), (self.rivals & ~left).sum(1)
            enough = limit[rows] if prune else None
            found[ask] = torch.maximum(found[ask], self._solved(rows, rival, enough))
            left &= ~ask
            done = torch.where(left, math.inf, found).amin(1)
            limit = torch.minimum(limit, done)
            # the first is mostly the nearest; where bounds are Weyl's, the next ones teach better
            width = c if few else 2 * width

    def _solved(self, rows: Tensor, rival: Tensor, enough: Tensor | None) -> Tensor:
        """(M,) exact distances, kept off by the best own component."""
        parts = [
            distances(self.pairs, self.scene, Triples(rows, own[rows], rival), enough)
            for own in self._own()
        ]
        return torch.stack(parts).amax(0)

    def accepted(self) -> Tensor:
        """(N,) distance to the edge of the reject region of the answer's component; inf without."""
        some = (self.mixture.reject[self.best] < math.inf).nonzero()[:, 0]
        found = torch.full_like(self.scene.scores[:, 0], math.inf)
        own = self.best[some]
        found[some] = distances(self.pairs, self.scene, Triples(some, own, own))
        return found


def _smallest(values: Tensor, n: int) -> Tensor:
    """(N, C) bool: the n smallest of each row; infinite ones too where there are not enough."""
    if n >= values.shape[1]:
        return torch.ones_like(values, dtype=torch.bool)
    places = values.topk(n, dim=1, largest=False).indices
    return torch.zeros_like(values, dtype=torch.bool).scatter_(1, places, True)
