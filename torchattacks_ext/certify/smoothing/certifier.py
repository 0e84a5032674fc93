"""How do noisy copies become a table of certificates? What all smoothed certifiers share."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..._typing import Status
from ...attacks.base import measuring
from ...attacks.base.finished import Finished, failed_flag
from ...attacks.base.resuming import rows_at, same_settings, unfinished
from ...data.door import as_tensor, check_images
from ...data.stream import Batch, Stream
from ...errors import ConfigError, InputError, ModelContractError, StatusError
from ...models.fingerprint import describe_model
from ...models.loans import lost_flags
from ...models.logits import working_dtype
from ...models.meter import Budget, Meter
from ...models.session import first_tensor, session
from ...numerics.smoothing.cohen import check_draws
from ...results.base.columns import Rows
from ...results.base.facts import Flag, versions
from ...results.base.origin import refuse_other_model
from ...results.certificates import Certificates
from ..ellips.entrance import BOUNDS, refuse_training, same_shape
from ..ellips.rows import nothing_known, raised_on
from .settings import SmoothingSettings

TIER = "certified with confidence"
TOGETHER = 64
"""Images whose draws share batches; a run that is ended loses the work on so many at most."""


@dataclass(frozen=True, eq=False)
class SmoothedAnswers:
    """What a smoothed classifier answers: one row an image.

    ids (N,) int64. label (N,) int64: -1 where it abstains. guess (N,) int64: the class that most
    draws got, or was chosen. p_value (N,): of the test that let it answer or not. n: draws.

    >>> one = torch.tensor([1])
    >>> SmoothedAnswers(one, one, one, torch.tensor([0.0]), 100).abstained.tolist()
    [False]
    """

    ids: Tensor
    label: Tensor
    guess: Tensor
    p_value: Tensor
    n: int

    @property
    def abstained(self) -> Tensor:
        """(N,) bool."""
        return self.label < 0


class SmoothedCertifier(ABC):
    """Certificates of a classifier that answers by the majority, or the mean, of noisy copies.

    A subclass certifies checked rows (:meth:`_certified`), answers them (:meth:`_answered`) and
    says what decides (:meth:`settings`). The victim is the smoothed classifier, not `model`.
    """

    name: ClassVar[str]
    citation: ClassVar[str] = ""

    def __init__(self, model: Any, config: SmoothingSettings) -> None:
        if not callable(model):
            raise ConfigError(
                f"model is {type(model).__name__}, expected a Module or a callable"
            )
        self.model, self.config, self.meter = model, config, Meter()

    # ------------------------------------------------------------------ what a subclass writes
    @abstractmethod
    def _certified(self, batch: Batch) -> Rows:
        """Finished rows of checked pixels, inside a session of the model."""

    @abstractmethod
    def _answered(
        self, batch: Batch, n: int, significance: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """label (N,), -1 to abstain, guess (N,) and p-value (N,) from n draws."""

    def settings(self, input_shape: tuple[int, ...]) -> dict[str, Any]:
        """What the radii are and rest on, in JSON types; part of the digest."""
        return {
            "certifier": self.name,
            "method": "fixed draws" if self.config.eps is None else "early stopping",
            "tier": TIER,
            "norm": "L2",
            "n_inputs": int(torch.Size(input_shape).numel()),
            "bounds": list(BOUNDS),
            **self.config.facts(),
        }

    # ------------------------------------------------------------------ verbs
    def certify(
        self,
        data: Any,
        labels: Any = None,
        *,
        ids: Any = None,
        resume: Certificates | None = None,
        max_queries: int | None = None,
        max_seconds: float | None = None,
        progress: bool = False,
    ) -> Certificates:
        """Labels and radii for every image of `data`, in input order.

        data, labels, ids: as for `measure` of a probe, images in [0, 1] and of one shape. Each
        radius is too large with probability at most `significance`, for each image by itself. With
        `eps` a radius is that number or 0. resume: an earlier result of the same settings, whose
        finished rows are kept. max_queries: forward row-passes of this call; max_seconds: wall
        time; rows that they end before are NOT_REACHED and abstain. Cost: n0 + n forward row-passes
        an image, with `eps` mostly far fewer, and one more for each answer that is nearly a tie.

        Raises InputError at the door, StateError in training mode or for a resume that does not
        fit, ModelContractError where the model raises on all images.
        """
        self._refuse_modes()
        stream = self._stream(data, labels, ids, resume, max_queries, max_seconds)
        model, finished = describe_model(self.model), Finished("none")
        before, started = self.meter.snapshot(), time.perf_counter()
        shape: tuple[int, ...] | None = None
        with measuring.bar(stream.total, self.name, progress) as shown:
            for part in unfinished(stream):
                if isinstance(part, Batch):
                    shape = same_shape(part.images, shape)
                    if resume is not None:
                        same_settings(self.settings(shape), resume.settings, ())
                rows = [part] if isinstance(part, Rows) else self._parts(part, stream)
                for some in rows:
                    finished.add(some)
                    shown.update(len(some))
        finished.refuse_nothing()
        cost = self.meter.since(before, time.perf_counter() - started)
        settings = (
            dict(resume.settings)
            if shape is None and resume is not None
            else self.settings(shape or ())
        )
        result = measuring.result_of(
            Certificates,
            finished.table,
            stream,
            settings=settings,
            provenance=self._origin(model) | measuring.history(stream),
            cost=cost,
            sidecars=(),
        )
        assert isinstance(result, Certificates)
        flags = *failed_flag(result, finished.failure), *lost_flags(self.model)
        whole = measuring.flagged(result, (*flags, *_flags(result, stream)))
        assert isinstance(whole, Certificates)
        return whole

    def certify_batch(self, batch: Batch) -> Rows:
        """Finished rows of checked pixels, inside a runner's own session of the model."""
        try:
            return self._certified(batch)
        except ModelContractError as error:
            return raised_on(batch, error)

    def predict(
        self,
        data: Any,
        *,
        ids: Any = None,
        n: int = 10_000,
        significance: float | None = None,
        progress: bool = False,
    ) -> SmoothedAnswers:
        """What the smoothed classifier answers, from n draws of their own; -1 where it abstains.

        data, ids: as for :meth:`certify`. Each answer differs from that of the smoothed classifier
        with probability at most `significance` (None: the certifier's own). About n forward
        row-passes an image. Raises as :meth:`certify`, ConfigError for n < 1.
        """
        n = check_draws("n", n)
        level = self.config.significance if significance is None else significance
        if not 0 < level < 1:
            raise ConfigError(f"significance={level!r} is not in (0, 1)")
        self._refuse_modes()
        found: list[tuple[Tensor, ...]] = []
        stream = self._stream(data, None, ids, None, None, None)
        with measuring.bar(stream.total, f"{self.name} answers", progress) as shown:
            for batch in stream:
                with session(self.model):
                    said = self._answered(batch, n, level)
                found.append((batch.ids.cpu(), *said))
                shown.update(len(batch))
        if not found:
            raise InputError("the data are empty; give at least one image")
        ids_, label, guess, p_value = (torch.cat(parts) for parts in zip(*found))
        return SmoothedAnswers(ids_, label, guess, p_value, n)

    # ------------------------------------------------------------------ within a run
    def _parts(self, batch: Batch, stream: Stream) -> Iterator[Rows]:
        """Finished rows of a batch, a few images at a time; NOT_REACHED where the budget ended."""
        size = TOGETHER
        if self.config.eps is None:
            size = max(1, min(size, size * self.config.batch_size // self.config.n))
        start = 0
        while start < len(batch):
            most = min(size, len(batch) - start)
            left = stream.budget.left if stream.budget is not None else math.inf
            fits = int(min(most, left / self._least(1)))  # what there is room for
            part = rows_at(batch, torch.arange(start, start + (fits or most)))
            start += len(part)
            if not stream.allows(self._least(len(part))):
                yield _unreached(part)
                continue
            with session(self.model):
                rows = self.certify_batch(part)
            yield rows

    def _least(self, rows: int) -> int:
        """Row-passes that so many images cost at the least."""
        later = self.config.n if self.config.eps is None else 0
        return rows * (self.config.n0 + later)

    def _refuse_modes(self) -> None:
        if isinstance(self.model, nn.Module):
            refuse_training(self.model)

    def _stream(
        self,
        data: Any,
        labels: Any,
        ids: Any,
        resume: Certificates | None,
        max_queries: int | None,
        max_seconds: float | None,
    ) -> Stream:
        if resume is not None:
            if not isinstance(resume, Certificates):
                raise StatusError(
                    f"resume={type(resume).__name__} cannot be gone on with; expected Certificates"
                )
            now = self._origin(describe_model(self.model))
            refuse_other_model(resume.provenance, now, "this run")
        return Stream(
            data,
            labels,
            ids=ids,
            batch_size=max(self.config.batch_size, TOGETHER),
            bounds=BOUNDS,
            prepare=self._prepared,
            need_labels=False,
            budget=Budget(self.meter, max_queries, max_seconds),
            resume=resume,
        )

    def _prepared(self, images: Any) -> Tensor:
        found = as_tensor(images, "images").detach()
        place = first_tensor(self.model)
        if place is not None:
            found = found.to(place.device)
        return check_images(found, BOUNDS, working_dtype(self.model))

    def _origin(self, model: dict[str, Any]) -> dict[str, Any]:
        place = first_tensor(self.model)
        return {
            "model": model,
            "batch_size": self.config.batch_size,
            "device": "cpu" if place is None else str(place.device),
            "normalised_input": False,
            "versions": versions(),
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }


def _unreached(batch: Batch) -> Rows:
    rows = nothing_known(batch)
    status = torch.full_like(rows.columns["status"], int(Status.NOT_REACHED))
    return Rows(rows.index, {**rows.columns, "status": status})


def _flags(result: Certificates, stream: Stream) -> Iterator[Flag]:
    late = int((result.status == int(Status.NOT_REACHED)).sum())
    if late:
        yield Flag(
            "budget_spent",
            "max_queries or max_seconds ended the run early; rows that were not reached abstain, "
            "and resume= goes on with them",
            late,
        )
    yield from stream.copies.flags()
