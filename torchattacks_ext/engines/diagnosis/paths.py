"""What do the queries of an attack show, though it found nothing? A trace, kept as they pass.

The model that an attack sees is wrapped; each query's loss and margin are written down, which costs
no pass. Of AutoAttack's components nothing is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ..._typing import LogitsFn
from ...models.meter import Meter
from ...numerics.losses import margins, unmasked
from ..autoattack.runs import TARGET, AutoAttackEngine
from ..judge.active import Judge
from ..judge.ledger import AttackSpec, Ledger
from .settings import DiagnosisSettings

LAST = 10
"""Queries at the end of a path in which it should not move any more (Pintor et al. 2022)."""


class Traced(nn.Module):
    """A model (images to logits) whose answers about M rows are written down, query by query.

    peer: another model's logits for the same images, asked about each `every`-th query.

    >>> traced = Traced(nn.Flatten())
    >>> traced.begin(torch.tensor([0]))
    >>> _ = traced(torch.tensor([[0.6, 0.5]])), traced(torch.tensor([[0.4, 0.5]]))
    >>> [round(float(m), 1) for m in traced.path().margin[:, 0]]
    [0.1, -0.1]
    """

    def __init__(
        self, model: nn.Module, peer: LogitsFn | None = None, every: int = 4
    ) -> None:
        super().__init__()
        self.model, self.peer, self.every = model, peer, every
        self.labels: Tensor | None = None
        self._ce: list[Tensor] = []
        self._margin: list[Tensor] = []
        self._peer: list[Tensor] = []

    def begin(self, labels: Tensor) -> None:
        """From now on queries of M rows with these labels (M,) are one path."""
        self.labels = labels
        self._ce, self._margin, self._peer = [], [], []

    def forward(self, images: Tensor) -> Tensor:
        """The model's logits (N, K)."""
        logits: Tensor = self.model(images)
        if self.labels is None or len(self.labels) != len(images):
            return logits
        with torch.no_grad():
            seen = unmasked(logits.detach())
            if self.peer is not None and len(self._ce) % self.every == 0:
                asked = self.peer(images.detach())
                self._peer.append(margins(unmasked(asked), self.labels).double())
            self._ce.append(cross_entropy(seen, self.labels, reduction="none"))
            self._margin.append(margins(seen, self.labels))
        return logits

    def path(self) -> Path:
        """What was written down since `begin`."""
        none = torch.zeros(0, 0 if self.labels is None else len(self.labels))
        kept = (self._ce, self._margin, self._peer)
        found = [(torch.stack(one) if one else none).cpu().double() for one in kept]
        return Path(found[0], found[1], found[2], self.every)


@dataclass(frozen=True, eq=False)
class Path:
    """Queries of one run on M rows, in order.

    ce, margin (T, M): cross-entropy and margin of each query. peer: margins (T / every, M) of
    another model at each `every`-th.
    """

    ce: Tensor
    margin: Tensor
    peer: Tensor
    every: int = 4

    def loss(self, name: str) -> Tensor:
        """(T, M) the loss that was climbed, "ce" or "margin"."""
        return self.ce if name == "ce" else -self.margin

    def late_move(self, name: str) -> Tensor:
        """(M,) part of the whole rise of the best loss so far that fell in the last 10 queries.

        nan where there are no more than 10, 0 where nothing rose.
        """
        loss = self.loss(name)
        if len(loss) <= LAST:
            return torch.full((loss.shape[1],), torch.nan, dtype=torch.float64)
        best = torch.nan_to_num(loss, nan=-torch.inf).cummax(0).values
        span = best[-1] - loss.nan_to_num(nan=torch.inf).amin(0)
        late = best[-1] - best[-LAST]
        return torch.where(span > 0, late / span, 0.0).nan_to_num(0.0)

    def silent(self, name: str) -> Tensor:
        """(M,) bool: some query was wrong, and that of largest loss is not."""
        if not len(self.margin):
            return torch.zeros(self.margin.shape[1], dtype=torch.bool)
        last = self.loss(name).argmax(0, keepdim=True)
        ends = self.margin.gather(0, last)[0]
        return (self.margin < 0).any(0) & (ends >= 0)

    def consistency(self, name: str) -> Tensor:
        """(M,) Spearman's correlation of the loss and minus the other model's margin; nan: none."""
        own = self.loss(name)[:: self.every][: len(self.peer)]
        if len(own) < 3:
            return torch.full((own.shape[1],), torch.nan, dtype=torch.float64)
        one, two = _ranks(own), _ranks(-self.peer)
        one, two = one - one.mean(0), two - two.mean(0)
        size = one.square().sum(0).sqrt() * two.square().sum(0).sqrt()
        return torch.where(size > 0, (one * two).sum(0) / size, torch.nan)


def _ranks(values: Tensor) -> Tensor:
    """Midranks of each column (T, M)."""
    below = (values[:, None] > values[None]).double().sum(1)
    equal = (values[:, None] == values[None]).double().sum(1)
    return below + (equal - 1) / 2


@dataclass(frozen=True, eq=False)
class Runner:
    """Runs single attacks on right rows (M, ...), each with a ledger of its own.

    view: pixels to logits, on the victim's random stream. ids, labels (M,). n_classes: K.
    """

    settings: DiagnosisSettings
    view: nn.Module
    images: Tensor
    labels: Tensor
    ids: Tensor
    n_classes: int
    meter: Meter

    def ledger(self, rows: Tensor, eps: float) -> Ledger:
        """A fresh judge of these rows (M',), in a ball of radius eps."""
        judge = Judge(self.view, targeted=False, batch_size=self.settings.batch_size)
        images, labels = self.images[rows].contiguous(), self.labels[rows]
        ball = eps, self.settings.norm, self.settings.bounds
        return Ledger.open(judge, images, labels, *ball)

    def run(
        self,
        specs: tuple[AttackSpec, ...],
        rows: Tensor,
        eps: float | None = None,
        other: tuple[str, Traced] | None = None,
    ) -> tuple[Tensor, Path, Tensor]:
        """(broken (M',) bool, path of the last spec, the rows (P,) of that path among M').

        other: the name and model that is attacked in the target's stead.
        """
        ledger = self.ledger(rows, self.settings.eps if eps is None else eps)
        name, traced = (TARGET, Traced(self.view)) if other is None else other
        models: Mapping[str, nn.Module] = {TARGET: self.view, name: traced}
        engine = AutoAttackEngine(
            models, self.ids[rows], self.n_classes, self.settings.seed, self.meter
        )
        going = ledger.rows()
        for spec in specs:
            going = ledger.rows()
            traced.begin(ledger.labels[going])
            engine.run(name, spec, ledger)
        return ~ledger.alive, traced.path(), going

    @property
    def every(self) -> Tensor:
        """Positions of all rows."""
        return torch.arange(len(self.labels), device=self.labels.device)


def broken_by(runner: Runner, candidates: list[Tensor]) -> Tensor:
    """(M,) bool: rows that one of the candidates (M, ...) breaks."""
    ledger = runner.ledger(runner.every, runner.settings.eps)
    for found in candidates:
        rows = ledger.rows()
        if len(rows):
            ledger.offer(rows, found[rows], "step")
    return ~ledger.alive
