"""How does a line of a plan become runs of our own stages? Rows at a gate, starts, targets, books.

Kinds that are not written here (noise, FAB; Square in L2) are the components of AutoAttack, driven
as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ..autoattack.runs import TARGET
from ..autoattack.stacked import StackedEngine
from ..autoattack.starts import first_point
from ..judge.active import Array
from ..judge.harvest import Graded
from ..judge.ledger import Ledger
from ..judge.spec import AttackSpec
from .apgd import APGD
from .malt import MOST, by_logits, nearest
from .objectives import objective_of
from .opening import Opening
from .pursuit import Pursuit, State
from .slope import Slope
from .smooth import Smooth
from .square import Square, misfit

WRITTEN = ("apgd", "apgd-t", "warm", "malt", "smooth", "square")
"""Kinds that are run by stages of our own."""


def passes_of_own(spec: AttackSpec, n_classes: int, elsewhere: bool) -> float:
    """Forward row-passes of one line for one row that withstands, at most; close calls included.

    elsewhere: whether the attacked model is a surrogate, beside which the target is asked.

    >>> passes_of_own(AttackSpec("smooth", steps=100), 10, False)
    508.0
    """
    targets = min(spec.targets, max(n_classes - 1, 1))
    ask = 1 + elsewhere
    step = {"smooth": spec.copies + 1, "square": 1}.get(spec.kind, ask)
    restarts = {"apgd": spec.restarts, "warm": spec.restarts}
    runs = {"malt": targets, "apgd-t": targets, **restarts}.get(spec.kind, 1)
    return float(runs * step * spec.steps + 8)


@dataclass
class OwnEngine(StackedEngine):
    """Drives our own stages over one ledger, each line on one model, slot by slot.

    Arguments as of :class:`~torchattacks_ext.engines.autoattack.runs.AutoAttackEngine`; every point
    on the way is the target's to judge, so that `probe_every` matters to borrowed kinds only.
    varying: models that answer at random, of which loss and gradient are means over `draws`.
    open (B,) bool: rows whose gradient on the target says nothing; gates let them through.
    opening: what the judge's look at the images has shown of their gradients.

    A gate compares the smallest margin of a row so far with its own clean margin. Rows that it
    stops stand in `ledger.stopped`, with the source that they would have gone to.
    """

    name: str = "own"
    varying: frozenset[str] = frozenset()
    opening: Opening | None = None
    open: Array | None = field(default=None, init=False)
    ranked: dict[str, Tensor] = field(default_factory=dict, init=False)

    def run(self, surrogate: str, spec: AttackSpec, ledger: Ledger) -> None:
        """One line on one model."""
        if surrogate == TARGET:
            self._stop(spec, ledger)
        if not self._is_written(spec, ledger):
            super().run(surrogate, spec, ledger)
            return
        if surrogate in self.blind and spec.kind != "square":
            return
        rows = self._rows(surrogate, spec, ledger)
        if not len(rows) or (spec.kind == "malt" and self.n_classes < 3):
            return
        source = f"{surrogate}/{spec.label}"
        with self._booked(source, ledger):
            if not self._has_room(len(rows), surrogate, spec):
                ledger.cut.update(rows.tolist())
                return
            self._pursue(surrogate, spec, ledger, rows, source)

    def _is_written(self, spec: AttackSpec, ledger: Ledger) -> bool:
        borrowed = spec.kind == "square" and ledger.norm != "Linf"
        return spec.kind in WRITTEN and not borrowed

    # ------------------------------------------------------------------ gates
    def _rows(self, surrogate: str, spec: AttackSpec, ledger: Ledger) -> Tensor:
        rows = super()._rows(surrogate, replace(spec, gate=float("inf")), ledger)
        through = torch.from_numpy(self._through(spec, ledger)).to(rows.device)
        return rows[through[rows]]

    def _through(self, spec: AttackSpec, ledger: Ledger) -> Array:
        """(B,) bool: rows that the gate of a line lets through."""
        clean = ledger.clean_margin
        if spec.gate == float("inf"):
            return np.ones(len(clean), dtype=bool)
        # a clean margin of 0 (a tie) or infinity is nothing to compare with
        inside = (ledger.margin < spec.gate * clean) | ~(
            (clean > 0) & np.isfinite(clean)
        )
        found: Array = inside if self.open is None else inside | self.open
        return found

    def _stop(self, spec: AttackSpec, ledger: Ledger) -> None:
        """Note the rows that go no further, and forget it of those that go on after all."""
        if not spec.gate:  # nobody else was ever to go on
            return
        alive, through = ledger.alive.cpu().numpy(), self._through(spec, ledger)
        for row in np.flatnonzero(alive & ~through).tolist():
            ledger.stopped.setdefault(row, f"{TARGET}/{spec.label}")
        for row in [r for r in ledger.stopped if through[r] or not alive[r]]:
            del ledger.stopped[row]

    def _has_room(self, n_rows: int, surrogate: str, spec: AttackSpec) -> bool:
        if self.budget is None:
            return True
        each = passes_of_own(spec, self.n_classes, surrogate != TARGET)
        each *= self.draws if surrogate in self.varying else 1
        return self.budget.fits(int(n_rows * each) + self.reserve)

    # ------------------------------------------------------------------ runs
    def _pursue(
        self,
        surrogate: str,
        spec: AttackSpec,
        ledger: Ledger,
        rows: Tensor,
        source: str,
    ) -> None:
        model, opening = Graded(self.models[surrogate]), self.opening
        slope = Slope(
            model,
            ledger.unit,
            None if surrogate == TARGET else self.models[TARGET],
            self.peeks.get(surrogate),
            self.draws if surrogate in self.varying else 1,
            [] if opening is None else opening.known(surrogate, spec, rows),
        )
        size = ledger.judge.batch_size
        pulse = partial(self._pulse, surrogate, spec, ledger, len(rows))
        chase = Pursuit(ledger, self.ids, source, size, pulse)
        with model.excused():
            self._run_stage(surrogate, spec, chase, slope, rows)
        if chase.ended:
            ledger.cut.update(rows[ledger.alive[rows]].tolist())
        entry = ledger.entry(source)
        entry.fooled += chase.fooled
        if surrogate == TARGET:
            self._note_odd(spec, chase, model)
        if model.blind and spec.kind != "square":
            self.blind.add(surrogate)
            self.skipped.add(f"{surrogate} {model.reason}")

    def _pulse(
        self,
        surrogate: str,
        spec: AttackSpec,
        ledger: Ledger,
        n_rows: int,
        share: float,
    ) -> bool:
        """Say how far a line is; whether the budget's time is over, which ends it."""
        self._tell(surrogate, spec, ledger, n_rows, share)
        return self.budget is not None and self.budget.over

    def _run_stage(
        self,
        surrogate: str,
        spec: AttackSpec,
        chase: Pursuit,
        slope: Slope,
        rows: Tensor,
    ) -> None:
        ledger, entry = chase.ledger, chase.ledger.entry(chase.source)
        if spec.kind == "square":
            why = misfit(ledger.images)
            if why:
                self.skipped.add(why)
                return
            entry.tried += len(rows)
            chase.run(Square(slope, spec.steps, self.seed, f"own/{chase.source}"), rows)
        elif spec.kind == "smooth":
            entry.tried += len(rows)
            chase.size = max(1, chase.size // spec.copies)
            drawn = spec.sigma, spec.copies, self.seed, f"own/{chase.source}"
            chase.run(Smooth(slope, spec.steps, ledger.norm, *drawn), rows)
        elif spec.kind in ("apgd", "warm"):
            for number in range(spec.restarts):
                rows = self._rows(surrogate, spec, ledger)
                entry.tried += len(rows)
                chase.run(self._climb(spec, ledger, slope, chase.source, number), rows)
        else:
            targets = self._targets(surrogate, spec, ledger, slope, rows)
            entry.tried += targets.numel()
            chase.run(self._climb(spec, ledger, slope, chase.source, 0), rows, targets)

    def _climb(
        self, spec: AttackSpec, ledger: Ledger, slope: Slope, source: str, number: int
    ) -> APGD:
        """APGD as the line says: losses of probabilities begin at the image, others where drawn."""
        targeted = spec.kind in ("apgd-t", "malt")
        loss = "dlr" if spec.kind == "apgd-t" else spec.loss
        objective = objective_of(loss, self.n_classes, targeted)
        clean = spec.kind == "malt" or spec.loss in ("pm", "pm-t")
        start: Callable[[State], Tensor] | None = None
        if spec.kind == "warm" and not number:
            start = partial(_best, ledger)
        elif number or not clean or spec.kind == "apgd-t":
            start = partial(self._drawn, ledger, f"own/{source}/{number}")
        # a step in L1 moves a few pixels only: its slope says little of where it leads
        ahead = start is None and not targeted and slope.target is None
        ahead = ahead and ledger.norm != "L1"
        args = slope, objective, spec.steps, ledger.norm, start, targeted
        return APGD(*args, reach=spec.reach, ahead=ahead)

    def _drawn(self, ledger: Ledger, purpose: str, state: State) -> Tensor:
        """A start of each slot on the surface of its ball; of a row's targets one each."""
        ids, aims, radius = state["id"], state["target"], state["radius"]
        if ledger.norm == "L1":  # far outside: the nearest point of the ball is sparse
            radius = torch.full_like(radius, float(ledger.images[0].numel()))
        return first_point(
            state["image"],
            ids + (aims + 1) * _APART,
            radius,
            ledger.norm,
            self.seed,
            purpose,
        )

    def _targets(
        self,
        surrogate: str,
        spec: AttackSpec,
        ledger: Ledger,
        slope: Slope,
        rows: Tensor,
    ) -> Tensor:
        """(m, g) classes that these rows (m,) are pushed to."""
        wanted = max(1, min(spec.targets, self.n_classes - 1, MOST))
        if spec.kind == "apgd-t":
            order = self._asked(slope, ledger, rows, by_scores=True)
            return order[:, :wanted]
        known = self.ranked.get(surrogate)
        if known is None:
            width = min(self.n_classes - 1, MOST)
            known = rows.new_full((len(self.ids), width), -1)
            self.ranked[surrogate] = known
        new = rows[known[rows, 0] < 0]
        if len(new):
            known[new] = self._asked(slope, ledger, new, by_scores=False)
        return known[rows, :wanted]

    def _asked(
        self, slope: Slope, ledger: Ledger, rows: Tensor, by_scores: bool
    ) -> Tensor:
        # a graph that is kept for all classes takes more memory than one that a gradient frees
        size = ledger.judge.batch_size if by_scores else ledger.judge.batch_size // 2
        found = []
        for part in torch.split(rows, max(1, size)):
            images, labels = ledger.part(part)
            points = ledger.unit.of(images)
            if by_scores:
                with torch.no_grad():
                    scores = slope.model(ledger.unit.back(points))
                found.append(by_logits(scores, labels))
            else:
                found.append(nearest(slope, points, labels, ledger.norm))
        return torch.cat(found)

    # ------------------------------------------------------------------ odd rows
    def _note_odd(self, spec: AttackSpec, chase: Pursuit, model: Graded) -> None:
        """After APGD on the target: whose gradient is zero, no number, or leads nowhere."""
        if spec.kind in ("apgd", "warm"):
            odd = chase.odd.cpu().numpy() > 0
            self.open = odd if self.open is None else self.open | odd
        if model.blind:
            self.open = np.ones(len(self.ids), dtype=bool)


def _best(ledger: Ledger, state: State) -> Tensor:
    """The candidate of each slot's row that came nearest."""
    return ledger.unit.of(ledger.best[state["row"]])


_APART = 0x9E3779B97F4A7C1
"""Far apart, so that a row at one target draws what no other row does."""
