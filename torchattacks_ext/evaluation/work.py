"""How do all stages get through the data? Lot by lot: clean answers first, then every stage."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch

from ..data.stream import Stream
from ..engines.judge.active import Judge, Judged
from ..errors import ModelContractError
from ..models.broken import models_own
from ..models.logits import LogitsView
from ..models.memory import give_back, too_short
from ..models.meter import Budget
from ..results.accuracy import Accuracy
from ..results.base.facts import Cost
from .gallery import Gallery, Picture
from .plan import Plan
from .rows.kept import Images
from .rows.lots import Grouping, Lot, with_answers
from .rows.pieces import Piece
from .running import Running
from .stages.base import Shared, StageRows
from .stages.clean import judged_before, labels_of


class Line(Protocol):
    """What a reader of the terminal is told."""

    def told(self, run: Running, rows: int) -> None:
        """So many more rows of a stage are through."""


class Keeper(Protocol):
    """Where finished pieces go."""

    def save(self, run: Running, piece: Piece, pictures: Sequence[Picture]) -> Piece:
        """The piece as it is kept."""

    def pictures(self, run: Running, piece: Piece) -> Sequence[Picture]:
        """What an earlier run would have shown of a piece."""


@dataclass(eq=False)
class Work:
    """All stages over one stream, the clean one first. Runs inside a session of the model.

    budget: asked before each lot of each stage; after its end rows are not reached. finite: whether
    any clean answer was, asked: whether any clean image was asked.
    """

    running: list[Running]
    plan: Plan
    view: LogitsView
    stream: Stream
    gallery: Gallery
    keeper: Keeper
    line: Line
    budget: Budget
    whose: Mapping[str, Any]
    images: Images | None = None
    n_looked: int = 2
    finite: bool = False
    asked: bool = False
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = self.plan.batch_size
        self._groups = Grouping(self.plan.group_size)
        self._last: Lot | None = None

    def take(self, lot: Lot) -> None:
        """Every stage on one lot; the clean answers are computed once and booked on the first."""
        for part, done in self.running[0].known(lot):
            clean = self._before(part) if done else self._clean(part)
            if clean is None:
                continue
            self.finite |= bool(clean.finite.any())
            self.stream.answered(part.batch.labels, clean.prediction)
            part = self._last = with_answers(part, clean)
            for run in self.running:
                if run.stage.unit != "group":
                    self._stage(run, part)
            for group in self._groups.add(part):
                self._grouped(group)

    def close(self) -> None:
        """The last group, which no row makes complete; what needs all rows at once."""
        for group in self._groups.rest():
            self._grouped(group)
        if self._last is not None:
            shared = self._shared(self._last)
            for run in self.running:
                run.close(shared, not run.stage.closes or self.budget.allows(1))

    def _grouped(self, lot: Lot) -> None:
        for run in self.running:
            if run.stage.unit == "group":
                self._stage(run, lot)

    def _stage(self, run: Running, lot: Lot) -> None:
        for part, done in run.known(lot):
            if done:
                piece = run.earlier(part)
                if part.start == piece.start:
                    self.gallery.put(run.stage, self.keeper.pictures(run, piece))
            elif self.budget.allows(1):
                self._run(run, part)
            else:
                run.skip(part)
            self.line.told(run, len(part))

    def _run(self, run: Running, lot: Lot) -> None:
        def save(piece: Piece, pictures: Sequence[Picture], rows: StageRows) -> Piece:
            if self.images is not None:
                cost, at = piece.cost, lot.cut(piece.start, piece.stop)
                judge = judge_of(self.view, run.stage.plan.batch_size)
                piece = self.images.keep(piece, run.stage.label, at, rows.worst, judge)
                run.cost += Cost(
                    piece.cost.forward - cost.forward,
                    piece.cost.backward - cost.backward,
                    piece.cost.seconds - cost.seconds,
                )
            return self.keeper.save(run, piece, pictures)

        run.take(lot, self._shared(lot), self.gallery, save)

    def _shared(self, lot: Lot) -> Shared:
        """What stages may use."""
        traits, clean = self.stream.traits, lot.clean
        assert traits is not None and clean is not None  # asked by the stream, and here
        k, judge = traits.n_classes, judge_of(self.view, self.size)
        facts = self.view, judge, clean, k, traits, self.whose, self.n_looked
        return Shared(*facts)

    # ------------------------------------------------------------------ clean answers
    def _before(self, lot: Lot) -> Judged:
        """The clean answers of an earlier run."""
        self.asked = True
        piece = self.running[0].earlier(lot)
        assert isinstance(piece.result, Accuracy)
        rows = torch.arange(lot.start - piece.start, lot.stop - piece.start)
        return judged_before(piece.result, piece.tally).take(rows.numpy())

    def _clean(self, lot: Lot) -> Judged | None:
        """The clean answers; None where the model raised, or the run ended before them.

        The rows are then FAILED, or NOT_REACHED, in every stage.
        """
        if not self.budget.allows(len(lot)):
            for run in self.running:
                run.skip(lot)
            return None
        self.asked = True
        before, started = self.view.meter.snapshot(), time.perf_counter()
        try:
            found = self._judged(lot)
            self._owe(before, started)
            return found
        except ModelContractError as error:
            failure = models_own(error)
            self._owe(before, started)
            for run in self.running:
                run.fail(lot, failure)
            return None

    def _owe(self, before: Cost, started: float) -> None:
        spent = self.view.meter.since(before, time.perf_counter() - started)
        self.running[0].owe(spent)

    def _judged(self, lot: Lot) -> Judged:
        images, labels = lot.batch.images, labels_of(lot.batch)
        while True:
            judge = replace(judge_of(self.view, self.size), scored=True)
            try:
                with torch.no_grad():
                    found = judge.judge(
                        len(lot), lambda part: (images[part], labels[part]), None
                    )
                assert found is not None  # no budget was given
                return found
            except Exception as error:
                if not too_short(error) or self.size <= 1:
                    raise
                self.size = max(1, min(self.size, len(lot)) // 2)
                self.running[0].most = self.size
            give_back()


def judge_of(view: LogitsView, size: int) -> Judge:
    """Who decides about failures; at most `size` rows a pass."""
    return Judge(view, targeted=False, batch_size=size)
