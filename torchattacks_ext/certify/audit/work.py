"""What is done with each candidate? Moved into the ball, asked about, pulled near, noted."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..._typing import Norm
from .attacks import Attacker, along, candidates, sampled
from .victims import Victim

FACTORS = (1.0, 2.0, 4.0)
"""Radii at which an attack that takes one is run, as multiples of the least of a group."""
GROUPS, LEAST = 4, 10
"""Images are attacked in so many groups of like radii, at most, each of so many at least."""
HALVINGS, HALVINGS_OF_DRAWS = 15, 4
"""By which a change is pulled to its image, where asking is cheap, and where it takes draws."""
ASKS = 3
"""Places in the direction of a candidate that are asked, each with its halvings."""
RANDOM, CLEAN = "random points", "the images themselves"


@dataclass(frozen=True)
class Flip:
    """One answer that changed within its certified radius.

    image: its sample id. attack: who found it. length, radius: of the change, and of the claim.
    rounding: whether it is so near the edge that the rounding of the encoder, which the radius does
    not cover, may have changed it.
    """

    image: int
    attack: str
    length: float
    radius: float
    rounding: bool = False


@dataclass(frozen=True)
class Tightness:
    """One attack: rows tried, changed anywhere, changed inside, and length / radius of those found.

    least, median, quartiles: of the rows that changed; nan where none did.
    """

    attack: str
    tried: int
    changed: int
    inside: int
    least: float
    median: float
    quartiles: tuple[float, float] = (math.nan, math.nan)


class Work:
    """The rows at work: their claims, the least length at which each attack changed them.

    closed: whether the edge of a ball belongs to its claim. edge (N,): how far below its radius a
    change may be by rounding alone.
    """

    def __init__(
        self,
        victim: Victim,
        images: Tensor,
        labels: Tensor,
        ids: Tensor,
        radius: Tensor,
        norm: Norm,
        seed: int,
        closed: bool = False,
        edge: Tensor | None = None,
    ) -> None:
        self.closed = closed
        self.edge = torch.zeros_like(radius) if edge is None else edge
        self.victim, self.images, self.labels, self.ids = victim, images, labels, ids
        self.radius, self.norm, self.seed = radius, norm, seed
        self.least: dict[str, Tensor] = {}
        self.flips: list[Flip] = []

    def clean(self) -> None:
        """The images themselves, where asking is cheap: another answer there breaks a claim."""
        if self.victim.cheap:
            rows = torch.arange(len(self.ids))
            wrong = rows[self._flipped(self.images, rows)]
            if len(wrong):
                self._note(CLEAN, wrong, torch.zeros(len(wrong), dtype=torch.float64))

    def random(self, draw: int) -> None:
        """One random point of each ball."""
        finite = self.radius.clamp(max=_widest(self.images, self.norm))
        found = sampled(self.images, self.ids, finite, self.norm, self.seed, draw)
        inside = torch.ones(len(found))
        there, length = along(self.images, found, inside, self.norm)
        # a point on the edge may round beyond it
        rows = torch.arange(len(self.ids))[length < self.radius]
        self._ask(RANDOM, rows, there[rows], length[rows])

    def attack(self, attacker: Attacker) -> None:
        """One attack on all rows, in groups of like radii where it takes one."""
        order = self.radius.argsort()
        if not attacker.ranged:
            self._try(attacker, order, 0.0)
            return
        for group in order.chunk(max(1, min(GROUPS, len(order) // LEAST))):
            least = float(self.radius[group].min())
            widest = _widest(self.images, self.norm)
            for eps in dict.fromkeys(min(least * f, widest) for f in FACTORS):
                self._try(attacker, group, eps)

    def _try(self, attacker: Attacker, rows: Tensor, eps: float) -> None:
        images, labels = self.images[rows], self.labels[rows]
        target = self.victim.target
        found = candidates(attacker, target, images, labels, eps, self.seed)
        self._judge(attacker.name, rows, found)

    def _judge(self, name: str, rows: Tensor, found: Tensor) -> None:
        """Ask about candidates, about the edge of the ball in their direction, and further out.

        Further out only where this attack found nothing yet and asking is dear: it stops as soon
        as a few draws change. A direction in which one place changed is asked no further.
        """
        images, radius = self.images[rows], self.radius[rows]
        _, length = along(images, found, torch.ones(len(rows)), self.norm)
        edge = torch.where(radius.isfinite(), radius * (1 - 1e-6) / length, 1.0)
        open_ = length > 0
        shares = [edge, torch.ones_like(edge)]
        if not self.victim.cheap:
            shares.append(2 * edge.clamp(min=1))
        for place, share in enumerate(shares):
            if place == 2:
                open_ &= self._least_of(name)[rows].isinf()
            where = open_.nonzero().flatten()
            there, size = along(images[where], found[where], share[where], self.norm)
            open_[where] = ~self._ask(name, rows[where], there, size)

    def _ask(self, name: str, rows: Tensor, found: Tensor, length: Tensor) -> Tensor:
        """(N,) bool, which changed; noted, pulled near."""
        hit = self._flipped(found, rows) if len(rows) else torch.zeros(0).bool()
        near = length[hit]
        if bool(hit.any()):
            near = self._pulled(found[hit], rows[hit], near)
        self._note(name, rows[hit], near)
        return hit

    def _flipped(self, found: Tensor, rows: Tensor) -> Tensor:
        return self.victim.flipped(found, self.labels[rows], self.ids[rows])

    def _pulled(self, found: Tensor, rows: Tensor, length: Tensor) -> Tensor:
        """Lengths as near to their images as candidates are still answered otherwise."""
        images, best = self.images[rows], length
        low = torch.zeros(len(rows), dtype=torch.float64)
        high = torch.ones_like(low)
        for _ in range(HALVINGS if self.victim.cheap else HALVINGS_OF_DRAWS):
            middle = (low + high) / 2
            there, size = along(images, found, middle, self.norm)
            hit = self._flipped(there, rows)
            best = torch.where(hit, size, best)
            high, low = torch.where(hit, middle, high), torch.where(hit, low, middle)
        return best

    def _least_of(self, name: str) -> Tensor:
        """(N,) float64: the least length of the changes of an attack so far; inf without."""
        none = torch.full((len(self.ids),), math.inf, dtype=torch.float64)
        return self.least.setdefault(name, none)

    def _note(self, name: str, rows: Tensor, length: Tensor) -> None:
        """Changes of the images `rows`, of these lengths."""
        held = self._least_of(name)
        held[rows] = torch.minimum(held[rows], length)
        radius = self.radius[rows]
        inside = length <= radius if self.closed else length < radius
        for row, size in zip(rows[inside].tolist(), length[inside].tolist()):
            said, edge = float(self.radius[row]), float(self.edge[row])
            rounded = edge > 0 and size >= said - edge
            self.flips.append(Flip(int(self.ids[row]), name, size, said, rounded))

    def told(self) -> Iterable[Tightness]:
        """A line an attack, and one over all."""
        for name, length in self.least.items():
            yield _tightness(name, length, self.radius)
        if self.least:
            whole = torch.stack(list(self.least.values())).amin(0)
            yield _tightness("all", whole, self.radius)


def _widest(images: Tensor, norm: str) -> float:
    """The largest change that [0, 1] has room for."""
    return 1.0 if norm == "Linf" else math.sqrt(images[0].numel())


def _tightness(name: str, length: Tensor, radius: Tensor) -> Tightness:
    found = length.isfinite() & radius.isfinite()
    ratio = (length / radius)[found]
    n, inside = int(length.isfinite().sum()), int((length < radius).sum())
    if not len(ratio):
        return Tightness(name, len(length), n, inside, math.nan, math.nan)
    quarters = torch.tensor([0.25, 0.5, 0.75], dtype=ratio.dtype)
    low, middle, high = ratio.quantile(quarters).tolist()
    least = float(ratio.min())
    return Tightness(name, len(length), n, inside, least, middle, (low, high))
