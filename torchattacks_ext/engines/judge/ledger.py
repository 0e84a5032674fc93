"""Who decides whether a candidate counts? The judge of every attack, and its books.

An attack only *offers* images. The ledger clips and projects them, asks the target itself, and
keeps for each row whether it is broken, by whom first, and the candidate of smallest margin. No
attack grades its own work, and what one of them found is known to all that come later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..._typing import Norm
from ...errors import InputError
from ...numerics.norms import Bounds, norm_of, project
from ...numerics.unit import Unit
from ...results.base.facts import Cost
from .active import Array, Judge, Judged
from .spec import AttackSpec as AttackSpec

LedgerT = TypeVar("LedgerT", bound="Ledger")


class Engine(Protocol):
    """How inner attacks are driven. It must stop work on rows that the ledger calls dead."""

    name: str

    def run(self, surrogate: str, spec: AttackSpec, ledger: Ledger) -> None:
        """Offer candidates of one attack on one surrogate to the ledger."""
        ...


@dataclass
class Entry:
    """The account of one source: rows tried, fooled on the surrogate, broken first by it; cost."""

    tried: int = 0
    fooled: int = 0
    broken: int = 0
    offers: int = 0
    forward: int = 0
    backward: int = 0
    seconds: float = 0.0

    def pay(self, spent: Cost) -> None:
        """Add what was spent."""
        self.forward += spent.forward
        self.backward += spent.backward
        self.seconds += spent.seconds

    def __add__(self, other: Entry) -> Entry:
        pairs = zip(asdict(self).items(), asdict(other).values())
        return Entry(**{name: one + two for (name, one), two in pairs})


@dataclass
class Ledger:
    """The judge of B rows, all right on their clean image, and what is known of them.

    judge: decides on the target. images (B, ...), labels (B,). eps: a float or (B,). right (B,):
    correct on the clean image; alive (B,): and not broken yet. lead (B,): the number in `sources`
    of what gave the best candidate, -1 for the clean image. best (B, ...): the candidate of
    smallest margin inside ball and box, the clean image first; margin (B,) on the target,
    clean_margin (B,). breaker (B,) int64: the number in
    `sources` of what broke the row first, -1. n_odd: candidates with NaN or infinite pixels. cut:
    positions of rows on which something was left out because the budget ended. stopped: positions
    of rows that a gate stopped -> the source before which it did.

    >>> from torchattacks_ext.testing import HalfSpace
    >>> victim, image = HalfSpace(torch.tensor([1.0, 0.0]), -0.4), torch.tensor([[0.5, 0.5]])
    >>> judge = Judge(victim, targeted=False, batch_size=8)
    >>> ledger = Ledger.open(judge, image, torch.tensor([0]), 0.2, "Linf")
    >>> ledger.offer(torch.tensor([0]), image - 0.5, "far away").tolist()  # projected, then asked
    [False]
    >>> ledger.sources[int(ledger.breaker[0])], round(float(ledger.margin[0]), 3)
    ('far away', -0.1)
    """

    judge: Judge
    images: Tensor
    labels: Tensor
    eps: float | Tensor
    norm: Norm
    bounds: Bounds | None
    clean_margin: Array
    best: Tensor
    margin: Array
    prediction: Array
    right: Array
    lead: Array
    alive: Tensor
    breaker: Array
    sources: list[str] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    n_odd: int = 0
    cut: set[int] = field(default_factory=set)
    stopped: dict[int, str] = field(default_factory=dict)

    @classmethod
    def open(
        cls: type[LedgerT],
        judge: Judge,
        images: Tensor,
        labels: Tensor,
        eps: float | Tensor,
        norm: Norm,
        bounds: Bounds | None = (0.0, 1.0),
    ) -> LedgerT:
        """A ledger after one look at the clean images; rows that are wrong are dead from the start.

        B forward row-passes. Raises InputError for a radius that is neither a float nor (B,).
        """
        if isinstance(eps, Tensor) and eps.shape != labels.shape:
            raise InputError(
                f"eps has shape {tuple(eps.shape)}, expected a float or one radius for each of "
                f"{len(labels)} rows"
            )
        images = images.contiguous()
        with torch.no_grad():
            seen = judge.judge(len(images), lambda p: (images[p], labels[p]), None)
        assert seen is not None  # no budget was given
        return cls(
            judge=judge,
            images=images,
            labels=labels,
            eps=eps,
            norm=norm,
            bounds=bounds,
            clean_margin=seen.margin.copy(),
            best=images.clone(),
            margin=seen.margin.copy(),
            prediction=seen.prediction.copy(),
            right=~seen.failed,
            lead=np.full(len(images), -1, dtype=np.int64),
            alive=torch.from_numpy(~seen.failed).to(images.device),
            breaker=np.full(len(images), -1, dtype=np.int64),
        )

    def rows(self, gate: float = float("inf")) -> Tensor:
        """Positions of the rows that are still to be broken, those beyond the gate left out."""
        alive = self.alive.cpu().numpy()
        if gate != float("inf"):
            alive = alive & (self.margin < gate * self.clean_margin)
        return torch.from_numpy(np.flatnonzero(alive)).to(self.images.device)

    def part(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Images (M, ...), contiguous, and labels (M,) of these rows (M,)."""
        return self.images[rows].contiguous(), self.labels[rows]

    def led_by(self, model: str) -> Array:
        """(B,) bool: rows whose best candidate comes from an attack on this model."""
        own = [i for i, s in enumerate(self.sources) if s.partition("/")[0] == model]
        return np.isin(self.lead, own)

    @cached_property
    def unit(self) -> Unit:
        """The box as [0, 1], to which the components of an attack clip."""
        return Unit(self.bounds)

    def radius(self, rows: Tensor) -> float | Tensor:
        """eps of these rows: the float, or (M,)."""
        return self.eps[rows] if isinstance(self.eps, Tensor) else self.eps

    @property
    def unfinished(self) -> Array:
        """(B,) bool: rows that are not broken, and on which something was left out."""
        cut = np.isin(np.arange(len(self.right)), list(self.cut))
        return np.asarray(cut & self.right & (self.breaker < 0))

    def entry(self, source: str) -> Entry:
        """The account of a source, opened when it is first asked for."""
        if source not in self.entries:
            self.entries[source] = Entry()
            self.sources.append(source)
        return self.entries[source]

    def offer(self, rows: Tensor, candidates: Tensor, source: str) -> Tensor:
        """Judge candidates (M, ...) for the rows (M,); returns whether each is alive afterwards.

        rows: each at most once. Candidates with NaN or infinite pixels are counted, not asked. Rows
        that are dead are left alone. One forward row-pass of the target for each row that is alive
        and has a finite candidate.
        """
        entry = self.entry(source)
        entry.offers += 1
        alive = self.alive[rows]
        whole = torch.isfinite(candidates).flatten(1).all(1)
        self.n_odd += int((alive & ~whole).sum())
        going = alive & whole
        if not bool(going.any()):
            return alive
        place, found = rows[going], candidates[going].detach().to(self.images.dtype)
        radius = self.radius(place)
        inside = project(self.images[place], found, radius, self.norm, self.bounds)
        wanted = self.labels[place]
        with torch.no_grad():
            seen = self.judge.judge(
                len(place), lambda part: (inside[part], wanted[part]), None
            )
        assert seen is not None  # no budget was given
        self._record(place, inside, seen, source)
        return self.alive[rows]

    def _record(self, place: Tensor, inside: Tensor, seen: Judged, source: str) -> None:
        """Write down what was seen of candidates (M, ...) of the rows at `place` (M,)."""
        at, failed = place.cpu().numpy(), seen.failed
        better = (seen.margin < self.margin[at]) | failed
        chosen, there = at[better], torch.from_numpy(np.flatnonzero(better))
        self.best[torch.from_numpy(chosen).to(place.device)] = inside[
            there.to(place.device)
        ]
        self.margin[chosen] = seen.margin[better]
        self.lead[chosen] = self.sources.index(source)
        self.prediction[chosen] = seen.prediction[better]
        self.breaker[at[failed]] = self.sources.index(source)
        self.entry(source).broken += int(failed.sum())
        dead = torch.from_numpy(at[failed]).to(place.device)
        self.alive[dead] = False

    def lengths(self) -> Array:
        """(B,) norm of each row's best candidate minus its image, float64."""
        return np.asarray(
            norm_of(self.best - self.images, self.norm).double().cpu().numpy()
        )


def add_entries(one: Mapping[str, Entry], two: Mapping[str, Entry]) -> dict[str, Entry]:
    """The accounts of two ledgers as one, in the order of the first.

    >>> add_entries({"a": Entry(tried=1)}, {"a": Entry(tried=2), "b": Entry()})["a"].tried
    3
    """
    empty = Entry()
    names = list(dict.fromkeys([*one, *two]))
    return {name: one.get(name, empty) + two.get(name, empty) for name in names}
