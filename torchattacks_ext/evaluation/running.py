"""How does one stage get through all batches? Rows that stay, batches that failed, an early end."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .._typing import Status
from ..attacks.base.finished import failed_flag
from ..data.stream import Batch
from ..errors import ModelContractError, TorchattacksExtError
from ..models.broken import is_models_own
from ..models.checks import ModelTraits
from ..results.base.columns import Rows, Table
from ..results.base.facts import Cost, Flag
from ..results.base.groups import Groups
from ..results.base.origin import groups_hash
from ..results.base.result import Result
from ..results.evaluation import StageReport
from .gallery import Gallery

if TYPE_CHECKING:
    from .stages.base import RowStage, Shared, StageRows

logger = logging.getLogger("torchattacks_ext")


@dataclass(frozen=True, eq=False)
class _Unmeasured:
    """Rows of a batch on which the model raised; they wait for a result to be rows of."""

    rows: Rows
    groups: Groups | None

    def like(self, whole: Result) -> Result:
        """The same as a result of the family, settings and origin of another."""
        found = type(whole).from_table(
            Table([Rows(self.rows.index, self.rows.columns)]),
            settings=whole.settings,
            provenance=whole.provenance,
            groups=self.groups,
        )
        return found.with_flags(failed_flag(found, self.rows.failure))


@dataclass
class Running:
    """A stage at work: its finished rows, what it cost, and why it ended early, if it did."""

    stage: RowStage
    parts: list[Result | _Unmeasured] = field(default_factory=list)
    cost: Cost = Cost()
    error: str | None = None
    failure: ModelContractError | None = None
    shared: Shared | None = None
    not_applicable: str | None = None

    @property
    def ended(self) -> bool:
        """Whether the stage takes no more batches: it raised, or cannot be used here."""
        return self.error is not None or self.not_applicable is not None

    def take(
        self, batch: Batch, shared: Shared, gallery: Gallery, traits: ModelTraits
    ) -> None:
        """One batch. Where the model raises its rows are FAILED; else the stage ends."""
        if self.ended:
            return
        shape = tuple(batch.images.shape[1:])
        self.not_applicable = self.stage.unfit(shared.n_classes, shape)
        if self.ended:
            return
        self.shared = shared
        meter, started = shared.view.meter, time.perf_counter()
        before = meter.snapshot()
        try:
            rows = self.stage.rows(batch, shared)
        except Exception as error:
            if isinstance(error, ModelContractError) and is_models_own(error):
                self.fail(batch, error)
            else:
                self._end(error)
        else:
            flags = _doubts(rows.result, traits)
            failed = failed_flag(rows.result, rows.failure)
            self.failure = self.failure or rows.failure
            self.parts.append(rows.result.with_flags((*failed, *flags)))
            self._show(batch, shared, gallery, rows)
        self.cost += meter.since(before, time.perf_counter() - started)

    def fail(self, batch: Batch, failure: ModelContractError) -> None:
        """The model raised on this batch: its rows are FAILED."""
        if self.ended:
            return
        self.failure = self.failure or failure
        rows = self.stage.failed(batch)
        if rows is None:
            self._end(failure)
        else:
            groups = batch.groups
            self.parts.append(_Unmeasured(rows.failed(failure), groups))

    def _end(self, error: Exception) -> None:
        foreign = not isinstance(error, TorchattacksExtError)
        self.error = f"{type(error).__name__}: {error}" if foreign else str(error)
        trace = error if foreign or error.__cause__ is not None else None
        logger.warning(
            "stage %s failed: %s", self.stage.label, self.error, exc_info=trace
        )

    def _show(
        self, batch: Batch, shared: Shared, gallery: Gallery, rows: StageRows
    ) -> None:
        """Offer the rows to the gallery, which must cost none of them."""
        try:
            gallery.offer(self.stage, batch, shared.clean, rows)
        except Exception as error:
            label = self.stage.label
            logger.warning("no pictures of stage %s: %s", label, error, exc_info=error)

    def close(self) -> None:
        """The last step of a stage that needs all rows at once; inside a session."""
        shared = self.shared
        if self.ended or shared is None or not self.stage.closes:
            return
        meter, started = shared.view.meter, time.perf_counter()
        before = meter.snapshot()
        try:
            whole = self._joined()
            if whole is not None:
                self.parts = [self.stage.close(whole, shared)]
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
        stage = self.stage
        return StageReport(
            name=stage.label,
            kind=stage.kind,
            result=whole,
            error=self.error,
            settings=stage.settings | {"guarantee": stage.guarantee},
            notes=stage.notes,
            cost=self.cost,
            not_applicable=self.not_applicable,
        )

    def _joined(self) -> Result | None:
        """All parts as one; None, and the stage ends, where nothing was measured."""
        known = [part for part in self.parts if isinstance(part, Result)]
        if not known or (self.failure is not None and all(map(_is_failed, known))):
            assert self.failure is not None  # else there would be rows
            self._end(self.failure)
            return None
        parts = [
            part if isinstance(part, Result) else part.like(known[0])
            for part in self.parts
        ]
        return type(parts[0]).concat(parts)

    def _whole(self) -> Result | None:
        whole = self._joined()
        if whole is None:
            return None
        named = {"groups": groups_hash(whole.ids, whole.groups)}
        facts = {**whole.provenance, **named}
        whole = replace(whole, cost=self.cost, provenance=facts)
        try:
            return self.stage.finish(whole)
        except Exception as error:
            text = f"a doubt of stage {self.stage.label} is not known: {error}"
            return whole.with_flags([Flag("late_step", text)])


def _is_failed(result: Result) -> bool:
    status = getattr(result, "status", None)
    return status is not None and bool((status == int(Status.FAILED)).all())


def _doubts(result: Result, traits: ModelTraits) -> Iterator[Flag]:
    """What every result must say: traits of the model, rows without finite logits."""
    yield from traits.flags()
    status = getattr(result, "status", None)
    bad = 0 if status is None else int((status == int(Status.NON_FINITE)).sum())
    if bad:
        yield Flag("non_finite", f"{result.no_number}; counted as failures", bad)
