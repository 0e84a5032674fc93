"""How does one line of a plan become runs of AutoAttack's components, and offers to the ledger?

Runs start from numbers of the samples (seed, id, run), so that what is found does not depend on
how batches are cut; rows that the target has lost are left out of the next run.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..._typing import LogitsFn
from ...models.meter import Budget, Meter
from ..judge.harvest import AllBroken, Blind, Tap
from ..judge.ledger import AttackSpec, Ledger
from ..judge.watch import Watch
from . import components as parts
from . import upstream as aa
from .starts import column, first_point

TARGET = "target"
"""The name of the target among the models that are attacked."""
Run = Callable[[Tensor, Any], None]
"""One run on rows (M,) of the tap's ledger, with their radius on the scale of [0, 1]: a float, or
(M, 1, ...)."""
NO_GRADIENT = ("noise", "square")
"""Kinds that ask for scores only."""


def passes_of_run(spec: AttackSpec, probe_every: int, draws: int = 1) -> float:
    """Forward row-passes of one run for one row, at most: its offers and close calls included.

    probe_every: as the engine's; 0 where no query on the way is offered, as on the target.

    >>> passes_of_run(AttackSpec("square", steps=500), 0)
    509.0
    """
    asked = 2 / probe_every if probe_every else 0
    each = {"noise": 2.0, "square": 1.0}.get(spec.kind, 1 + asked)
    each *= 1 + spec.kind.startswith("fab")
    return each * draws * (spec.steps + 1) + 8


@dataclass
class AutoAttackEngine:
    """Drives AutoAttack's components, one run at a time, over one ledger.

    models: name -> module, pixels to logits; the target under "target". ids (B,): of the rows.
    n_classes: K. probe_every: each so many-th query on a surrogate is offered to the target, 0 for
    none. meter: counts the row-passes of all models. budget: a run that does not fit is not begun.
    peeks: name of a surrogate -> images to the target's logits, at next to no cost after that
    surrogate was asked about the same images (:mod:`~torchattacks_ext.engines.judge.harvest`).
    watch: is told what is at work. draws: forward passes of one query, where models are means over
    draws. reserve: row-passes of
    the budget that runs must leave for what comes after them. whole: queries of Square are whole
    batches, rows that are wrong among them. blind: models that gave no gradient; what needs one
    leaves them alone from then on.
    """

    whole: ClassVar[bool] = False

    models: Mapping[str, nn.Module]
    ids: Tensor
    n_classes: int
    seed: int
    meter: Meter
    probe_every: int = 5
    name: str = "autoattack"
    skipped: set[str] = field(default_factory=set)
    budget: Budget | None = None
    peeks: Mapping[str, LogitsFn] = field(default_factory=dict)
    draws: int = 1
    reserve: int = 0
    copies: int = field(default=1, init=False)  # of each row in the run that comes next
    blind: set[str] = field(default_factory=set, init=False)
    watch: Watch | None = field(default=None, init=False)

    def run(self, surrogate: str, spec: AttackSpec, ledger: Ledger) -> None:
        """All runs of one line on one model. What was skipped, and why, stands in `skipped`."""
        source = f"{surrogate}/{spec.label}"
        with self._booked(source, ledger):
            if spec.kind == "noise":
                rows = self._rows(surrogate, spec, ledger)
                if self._affords(len(rows), surrogate, spec):
                    self._noise(surrogate, spec, ledger)
                else:
                    ledger.cut.update(rows.tolist())
                return
            tap = self._tap(surrogate, source, ledger)
            for run in self._runs(tap, surrogate, spec):
                if surrogate in self.blind and spec.kind not in NO_GRADIENT:
                    break
                rows = self._rows(surrogate, spec, ledger)
                tries = len(rows) * self.copies
                if not self._affords(tries, surrogate, spec):
                    ledger.cut.update(rows.tolist())
                    break
                if not tries:
                    break
                ledger.entry(source).tried += tries
                self._tell(surrogate, spec, ledger, len(rows))
                for part, eps in _by_radius(ledger, rows, spec.kind):
                    tap.watch(part)
                    with contextlib.suppress(AllBroken, Blind), tap.surrogate.excused():
                        run(part, eps)
                    tap.offer_nearest()
                    ledger.entry(source).fooled += tap.n_fooled
                    tap.rest()
                self._note_blind(surrogate, tap)

    def _tell(
        self,
        surrogate: str,
        spec: AttackSpec,
        ledger: Ledger,
        n_rows: int,
        share: float = 0,
    ) -> None:
        """Say what is at work, where somebody listens and has not heard of it just now."""
        if self.watch is not None and self.watch.due():
            self.watch.note(surrogate, spec, ledger, n_rows, share)

    def _note_blind(self, surrogate: str, tap: Tap) -> None:
        if tap.surrogate.blind:
            self.blind.add(surrogate)
            self.skipped.add(f"{surrogate} {tap.surrogate.reason}")

    def _rows(self, surrogate: str, spec: AttackSpec, ledger: Ledger) -> Tensor:
        """Rows that this run is for: alive, inside the gate, and, on="best", led by this model."""
        rows = ledger.rows(spec.gate)
        if spec.on != "best" or surrogate == TARGET:
            return rows
        led = torch.from_numpy(ledger.led_by(surrogate)).to(rows.device)
        return rows[led[rows]]

    def _affords(self, n_rows: int, surrogate: str, spec: AttackSpec) -> bool:
        """Whether the budget has room for one run, its offers and rows decided twice included.

        Where it has none, a cheaper run may still follow.
        """
        if self.budget is None or not n_rows:
            return True
        # APGD stays inside the ball: what a peek there calls wrong is broken, and once
        fab = spec.kind.startswith("fab")
        free = surrogate == TARGET or (surrogate in self.peeks and not fab)
        each = passes_of_run(spec, 0 if free else self.probe_every, self.draws)
        return self.budget.fits(int(n_rows * each) + self.reserve)

    @contextlib.contextmanager
    def _booked(self, source: str, ledger: Ledger) -> Iterator[None]:
        entry, before = ledger.entry(source), self.meter.snapshot()
        started = time.perf_counter()
        yield
        entry.pay(self.meter.since(before, time.perf_counter() - started))

    def _tap(self, surrogate: str, source: str, ledger: Ledger) -> Tap:
        return Tap(
            self.models[surrogate],
            ledger,
            source,
            self.probe_every,
            surrogate == TARGET,
            self.peeks.get(surrogate),
        )

    def _runs(self, tap: Tap, surrogate: str, spec: AttackSpec) -> Iterator[Run]:
        """One run for each restart and target."""
        ranks = range(2, aa.n_targets(spec.targets, self.n_classes) + 2)
        if spec.kind == "square":
            yield partial(self._square, tap, spec)
        elif spec.kind in ("apgd", "warm"):
            for number in range(spec.restarts):
                yield partial(self._apgd, tap, spec, [number])
        elif spec.kind == "apgd-t":
            for rank in ranks:
                yield partial(self._apgd, tap, spec, [rank])
        else:
            for rank in ranks if spec.kind == "fab-t" else [0]:
                yield partial(self._fab, tap, spec, [rank])

    # ------------------------------------------------------------------ the kinds
    def _noise(self, surrogate: str, spec: AttackSpec, ledger: Ledger) -> None:
        """`steps` corners of the ball (Linf), or points of its sphere."""
        source = f"{surrogate}/{spec.label}"
        for number in range(spec.steps):
            rows = self._rows(surrogate, spec, ledger)
            if not len(rows):
                return
            ledger.entry(source).tried += len(rows) * (number == 0)
            images = ledger.images[rows]
            start = self._start(images, rows, ledger, f"noise/{number}")
            start = ledger.unit.back(start)
            if ledger.norm == "Linf":
                radius = column(ledger.radius(rows), images)
                start = images + radius * torch.sign(start - images)
            ledger.offer(rows, start, source)

    def _apgd(
        self,
        tap: Tap,
        spec: AttackSpec,
        numbers: Sequence[int],
        rows: Tensor,
        eps: Any,
    ) -> None:
        """APGD runs of these numbers at once; of "apgd-t" they are ranks of what is aimed at.

        A sample's starts are its own, or (warm) its best.
        """
        ledger, starts = tap.ledger, []
        images = ledger.images[rows]
        for number in numbers:
            start = ledger.unit.of(ledger.best[rows])
            if spec.kind != "warm" or number:
                start = self._start(images, rows, ledger, f"{tap.source}/{number}")
            starts.append(start)
        ranks = numbers if spec.kind == "apgd-t" else ()
        parts.apgd(tap, spec, rows, eps, self.n_classes, starts, ranks)

    def _fab(
        self, tap: Tap, spec: AttackSpec, ranks: Sequence[int], rows: Tensor, eps: Any
    ) -> None:
        """FAB at each of the ranks, 0 for none."""
        parts.fab(tap, spec, rows, eps, ranks)

    def _square(self, tap: Tap, spec: AttackSpec, rows: Tensor, eps: Any) -> None:
        """Square; its own path is not watched where it drops rows as it goes."""
        if not self.whole:
            tap.rest()
        why = self._square_misfit(tap.ledger)
        if why:
            self.skipped.add(why)
        else:
            self._square_run(tap, spec, rows, eps)

    def _square_misfit(self, ledger: Ledger) -> str:
        return aa.square_misfit(ledger.images, ledger.norm)

    def _square_run(self, tap: Tap, spec: AttackSpec, rows: Tensor, eps: Any) -> None:
        parts.square(tap, spec, rows, eps, self.seed, self.ids[rows], self.whole)

    def _start(
        self, images: Tensor, rows: Tensor, ledger: Ledger, purpose: str
    ) -> Tensor:
        """A start (M, ...) on [0, 1] of each sample, on the surface of its ball."""
        unit = ledger.unit
        return first_point(
            unit.of(images),
            self.ids[rows],
            unit.radius(ledger.radius(rows)),
            ledger.norm,
            self.seed,
            f"msa/{purpose}",
        )


def _by_radius(ledger: Ledger, rows: Tensor, kind: str) -> Iterator[tuple[Tensor, Any]]:
    """The rows with their radius on [0, 1]: all with a column where the attack takes one, or apart.

    Square takes one number, and so does APGD's projection in L1.
    """
    if not isinstance(ledger.eps, Tensor):
        yield rows, ledger.unit.radius(float(ledger.eps))
        return
    radii = ledger.unit.radius(ledger.eps[rows])
    if kind in ("fab", "fab-t") or (kind != "square" and ledger.norm != "L1"):
        yield rows, column(radii, ledger.images)
        return
    for value in sorted(set(radii.tolist())):
        yield rows[radii == value], float(value)
