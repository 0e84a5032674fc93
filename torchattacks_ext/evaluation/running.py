"""How does one stage get through all rows? Pieces that stay, gaps, short memory, an early end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..attacks.base.finished import failed_flag
from ..errors import BackendError, ModelContractError, TorchattacksExtError
from ..models.broken import is_models_own
from ..models.memory import give_back, too_short
from ..results.base.facts import Cost, Flag
from ..results.base.origin import groups_hash
from ..results.base.result import Result
from ..results.evaluation import StageReport
from .gallery import Gallery, Picture
from .rows.before import Before
from .rows.lots import Lot
from .rows.pieces import (
    Gap,
    Piece,
    left_by,
    non_finite_flags,
    piece_flags,
)
from .rows.whole import joined, shrunk

if TYPE_CHECKING:
    from .stages.base import RowStage, Shared, StageRows

logger = logging.getLogger("torchattacks_ext")

Save = Callable[[Piece, Sequence[Picture], "StageRows"], Piece]
"""Keeps a finished piece where the run's end cannot take it; returns the piece as kept."""


@dataclass
class Running:
    """A stage at work: its finished rows, what it cost, and why it ended early, if it did.

    before: pieces of an earlier run, in the order of the data, until their rows come by. most: rows
    at once, where memory was too short for more. late: codes of flags that only the end knew.
    """

    stage: RowStage
    parts: list[Piece | Gap] = field(default_factory=list)
    before: Before = field(default_factory=Before)
    cost: Cost = Cost()
    error: str | None = None
    failure: ModelContractError | None = None
    most: int | None = None
    late: tuple[str, ...] = ()
    owed: Cost = Cost()
    gone: Cost = Cost()
    not_applicable: str | None = None
    closed: Result | None = None
    _retry: bool = False

    @property
    def ended(self) -> bool:
        """Whether the stage takes no more rows: it raised, or cannot be used here."""
        return self.error is not None or self.not_applicable is not None

    # ------------------------------------------------------------------ before the work
    def recall(self, pieces: Sequence[Piece]) -> None:
        """Pieces of an earlier run of the same stage; the last one of equal places counts.

        A stage that closes holds its images, which no state keeps: it starts anew.
        """
        pieces = [] if self.stage.closes else pieces
        self.before = Before(pieces)
        self.stage.recall([piece.tally for piece in self.before.pieces])

    def known(self, lot: Lot) -> list[tuple[Lot, bool]]:
        """The parts of a lot that an earlier run finished, and those that it did not."""
        return self.before.known(lot, by_row=self.stage.unit == "row")

    def earlier(self, lot: Lot) -> Piece:
        """The piece of an earlier run that a lot lies in. Raises StateError for other data."""
        piece = self.before.of(lot)
        if piece not in self.parts:
            self.parts.append(piece)
            self.cost += piece.cost
            self.gone += piece.cost
        return piece

    def owe(self, cost: Cost) -> None:
        """What was spent on rows before the stage had them; booked on its next piece."""
        self.cost += cost
        self.owed += cost

    # ------------------------------------------------------------------ the work
    def take(self, lot: Lot, shared: Shared, gallery: Gallery, save: Save) -> None:
        """The rows of one lot. Where the model raises they are FAILED; else the stage ends."""
        if not self.ended:  # a reason stays, whatever the next images are
            here = shared.n_classes, tuple(lot.batch.images.shape[1:])
            self.not_applicable = self.stage.cannot(shared.view.model, *here)
        waiting = list(lot.split(self.most))
        while waiting and not self.ended:
            part = waiting.pop(0)
            meter, started = shared.view.meter, time.perf_counter()
            before = meter.snapshot()
            rows = self._rows(part, shared)
            spent = meter.since(before, time.perf_counter() - started)
            self.cost += spent
            if rows is not None:
                self._finished(part, rows, spent, shared, gallery, save)
            elif self._retry:
                give_back()
                waiting = [*part.split(self.most), *waiting]

    def _rows(self, lot: Lot, shared: Shared) -> StageRows | None:
        """What the stage makes of the rows; None where it raised, which is then taken note of."""
        self._retry = False
        size = self.stage.plan.batch_size
        judge = replace(shared.judge, batch_size=min(size, shared.judge.batch_size))
        assert lot.clean is not None  # asked by the runner
        cut = len(lot) < len(shared.clean.margin)  # what is shared is of the whole lot
        own = replace(shared.on(lot.clean) if cut else shared, judge=judge)
        try:
            rows = self.stage.rows(lot.batch, own)
            failure = rows.failure  # what a probe has taken note of, and not raised
            return None if too_short(failure) and self._shrunk(lot) else rows
        except Exception as error:
            if too_short(error) and self._shrunk(lot):
                return None
            if isinstance(error, ModelContractError) and is_models_own(error):
                self.fail(lot, error)
            elif isinstance(error, BackendError):
                self._raised(lot, error)
            else:
                self._end(error)
        return None

    def _shrunk(self, lot: Lot) -> bool:
        """Whether fewer rows at once can be tried; then that is how it goes on."""
        try:
            half = shrunk(self.stage, len(lot))
        except TorchattacksExtError as error:
            self._end(error)
            return True
        if half is not None:
            self.most, self._retry = min(self.most or 2 * half, half), True
        return half is not None

    def _finished(
        self,
        lot: Lot,
        rows: StageRows,
        spent: Cost,
        shared: Shared,
        gallery: Gallery,
        save: Save,
    ) -> None:
        assert shared.traits is not None  # asked by the stream
        failed = [*failed_flag(rows.result, rows.failure)]
        self.failure = self.failure or rows.failure
        flags = (*failed, *shared.traits.flags(), *non_finite_flags(rows.result))
        whole = rows.result.with_flags(flags)
        tally, start, stop = rows.tally, lot.start, lot.stop
        spent, self.owed = spent + self.owed, Cost()
        piece = Piece(start, stop, whole, tally, spent, self.most, lot.content)
        pictures = self._show(lot, gallery, rows)
        # rows on which the model raised are measured again by a run that goes on
        anew = failed or self.stage.closes
        self.parts.append(piece if anew else save(piece, pictures, rows))

    def fail(self, lot: Lot, failure: ModelContractError) -> None:
        """The model raised on this lot: its rows are FAILED."""
        self.owed = Cost()
        if self.ended:
            return
        self.failure = self.failure or failure
        self._gap(lot, failure)

    def _raised(self, lot: Lot, error: BackendError) -> None:
        """The method raised: the rows that it was to measure are FAILED."""
        rows = self.stage.failed(lot.batch)
        if rows is None:
            self._end(error)
        else:
            left = left_by(rows, lot.clean)
            self.parts.append(Gap(lot.start, left, lot.batch.groups, error))

    def skip(self, lot: Lot) -> None:
        """The run ended before this lot: its rows are NOT_REACHED."""
        if not self.ended:
            self._gap(lot, None)

    def _gap(self, lot: Lot, failure: ModelContractError | None) -> None:
        rows = self.stage.failed(lot.batch)
        if rows is None:
            self._end(failure or BackendError("the run ended before its last row"))
            return
        left = rows.unreached() if failure is None else rows.failed(failure)
        self.parts.append(Gap(lot.start, left, lot.batch.groups, failure))

    def _end(self, error: Exception) -> None:
        foreign = not isinstance(error, TorchattacksExtError)
        self.error = f"{type(error).__name__}: {error}" if foreign else str(error)
        trace = error if foreign or error.__cause__ is not None else None
        logger.warning(
            "stage %s failed: %s", self.stage.label, self.error, exc_info=trace
        )

    def _show(self, lot: Lot, gallery: Gallery, rows: StageRows) -> Sequence[Picture]:
        """Offer the rows to the gallery, which must cost none of them."""
        assert lot.clean is not None
        try:
            return gallery.offer(self.stage, lot.batch, lot.clean, rows)
        except Exception as error:
            label = self.stage.label
            logger.warning("no pictures of stage %s: %s", label, error, exc_info=error)
            return ()

    # ------------------------------------------------------------------ after the work
    @property
    def broken(self) -> int:
        """Rows so far that are known to be answered wrongly under this stage."""
        return sum(p.broken for p in self.parts if isinstance(p, Piece))

    @property
    def tallies(self) -> list[Mapping[str, Any]]:
        """What the stage kept of its rows, in the order of the data."""
        pieces = [part for part in self._ordered() if isinstance(part, Piece)]
        return [piece.tally for piece in pieces]

    def _ordered(self) -> list[Piece | Gap]:
        return sorted(self.parts, key=lambda part: part.start)

    def close(self, shared: Shared, reached: bool = True) -> None:
        """The last step of a stage that needs all rows, unless the run ended before it."""
        if self.ended or not self.stage.closes or not self.parts:
            return
        if not reached:
            self._end(BackendError("the limit ended the run before its last step"))
            return
        meter, started = shared.view.meter, time.perf_counter()
        before = meter.snapshot()
        try:
            whole = self._joined()
            self.closed = None if whole is None else self.stage.close(whole, shared)
        except Exception as error:
            self._end(error)
        self.cost += meter.since(before, time.perf_counter() - started)

    def report(self, doubts: Sequence[Flag] = ()) -> StageReport:
        """What goes into the report; a stage that raised has no result at all.

        doubts: about the data or the model, which every result says as well, wherever it goes.
        """
        whole = None
        if not self.ended and self.parts:
            try:
                whole = self._whole()
                whole = None if whole is None else whole.with_flags(doubts)
            except TorchattacksExtError as error:
                self._end(error)
        stage, anything = self.stage, self.parts or self.ended
        none = None if anything else "this shard has no row"
        return StageReport(
            name=stage.label,
            kind=stage.kind,
            result=whole,
            error=self.error,
            settings=stage.settings
            | {"guarantee": stage.guarantee, "unit": stage.unit},
            notes=stage.notes,
            cost=self.cost,
            not_applicable=self.not_applicable or none,
        )

    def _joined(self) -> Result | None:
        """All parts as one; None, and the stage ends, where nothing was measured."""
        found = joined(self._ordered(), self.failure)
        if isinstance(found, Exception):
            self._end(found)
            return None
        return found

    def _whole(self) -> Result | None:
        whole = self._joined() if self.closed is None else self.closed
        if whole is None:
            return None
        named = {"groups": groups_hash(whole.ids, whole.groups)}
        facts = {**whole.provenance, **named}
        pieces = [part for part in self.parts if isinstance(part, Piece)]
        told = piece_flags(pieces, self.stage.label, self.stage.unit)
        whole = replace(whole, cost=self.cost, provenance=facts).with_flags(told)
        before = {flag.code for flag in whole.flags}
        try:
            whole = self.stage.finish(whole, self.tallies)
        except Exception as error:
            text = f"a doubt of stage {self.stage.label} is not known: {error}"
            whole = whole.with_flags([Flag("late_step", text)])
        self.late = tuple(f.code for f in whole.flags if f.code not in before)
        return whole
