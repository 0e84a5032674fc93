"""Which images of a batch does PRTest test, and what does it know of them beforehand?

Clean answers, the draws for the mean failure rate of the data set, and rows of an earlier result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..._typing import Verdict
from ...data.stream import Batch, Stream
from ...engines.judge.active import Array, Judge, Judged, Slots, keyed
from ...errors import ModelContractError, StateError
from ...models.broken import models_own
from ...results.base.columns import Rows
from ...results.prob_robustness import ProbRobustness
from ...samplers.base import Sampler
from ..base.resuming import places_of, same_reference
from . import rows as to


@dataclass(frozen=True, kw_only=True)
class Admission(ABC):
    """How images come to be tested.

    judge: decides failures. reference: (ids, images, labels) -> the class that counts, for at
    most `asks` forward row-passes an image. clean_known: whether the clean answer can be right or
    wrong (the reference is the label). tests_wrong: whether images whose clean answer fails are
    tested too. n_mean: draws an image for the mean failure rate. keeps: whether the worst draws
    travel with the rows. clean: for a stream of one batch whose clean images were judged before,
    at their labels; None asks. told: as `reference`, where that does not ask the model: rows of an
    earlier result must have the same.
    """

    judge: Judge
    sampler: Sampler
    seed: int
    reference: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    asks: int
    clean_known: bool
    tests_wrong: bool
    n_mean: int
    keeps: bool
    clean: Judged | None = None
    told: Callable[[Tensor, Tensor, Tensor | None], Tensor] | None = None

    @abstractmethod
    def ended(self, earlier: ProbRobustness, old: Tensor) -> Array:
        """Whether an undecided test of the rows `old` cannot go on; (len(old),) bool."""

    @property
    @abstractmethod
    def most_draws(self) -> int:
        """The most draws that one image may have."""

    def admit(self, batch: Batch, stream: Stream) -> tuple[list[Rows], Slots]:
        """Rows of a batch that need no draw, and slots for those that do."""
        done: list[Rows] = []
        if self.clean is not None and batch.labels is not None:
            return done, self.start(batch, batch.labels, self.clean, stream, done)
        again: Slots | None
        new, again = np.arange(len(batch)), None
        if isinstance(stream.resume, ProbRobustness):
            done, new, again = self._resume(batch, stream.resume)
        place = torch.from_numpy(new).to(batch.images.device)
        labels = None if batch.labels is None else batch.labels[place]
        fresh = Batch(
            batch.ids[place],
            batch.images[place],
            labels,
            batch.index[torch.from_numpy(new)],
        )
        slots = self._ask(fresh, stream, done)
        return done, slots if again is None else again.join(slots)

    def _ask(self, batch: Batch, stream: Stream, done: list[Rows]) -> Slots:
        """Slots of rows that start anew, after a look at their clean images."""
        if not len(batch):
            return self._none(batch)
        least = len(batch) * (1 + self.asks)
        try:
            if stream.budget is None or stream.budget.allows(least):
                reference, clean = self._look(batch, stream)
                if clean is not None:
                    if self.clean_known:
                        stream.answered(batch.labels, clean.prediction)
                    return self.start(batch, reference, clean, stream, done)
        except ModelContractError as error:
            done.append(self.untested(batch).failed(models_own(error)))
        else:
            done.append(self.untested(batch))
        return self._none(batch)

    def _look(self, batch: Batch, stream: Stream) -> tuple[Tensor, Judged | None]:
        """The classes that count, and the judged clean images; None where the budget ended."""
        images = batch.images
        with torch.no_grad():
            reference = self.reference(batch.ids, images, batch.labels)
            clean = self.judge.judge(
                len(batch), lambda part: (images[part], reference[part]), stream.budget
            )
        return reference, clean

    def untested(self, batch: Batch) -> Rows:
        """Rows of a batch of which nothing is known."""
        every = np.arange(len(batch))
        return to.plain_rows(_unseen(batch), every, Verdict.UNDECIDED, self.keeps)

    def _none(self, batch: Batch) -> Slots:
        return to.fresh_slots(_unseen(batch), np.zeros(0, dtype=np.int64))

    def start(
        self,
        batch: Batch,
        reference: Tensor,
        clean: Judged,
        stream: Stream,
        done: list[Rows],
    ) -> Slots:
        """Slots of the rows that are tested; the others are done."""
        n_mean, failures = self._mean(batch, reference, stream)
        right = np.full(len(batch), -1)
        if self.clean_known:
            right = (~clean.failed).astype(np.int64)
        new = to.Admitted(batch, reference, clean, right, n_mean, failures)
        out = clean.failed & (not self.tests_wrong)
        if out.any():
            wrong = Verdict.NOT_ROBUST if self.judge.targeted else Verdict.MISCLASSIFIED
            done.append(to.plain_rows(new, np.flatnonzero(out), wrong, self.keeps))
        return to.fresh_slots(new, np.flatnonzero(~out))

    def _mean(
        self, batch: Batch, reference: Tensor, stream: Stream
    ) -> tuple[Array, Array]:
        """Draws of every row, right or wrong, and their failures; none when the budget ended.

        They have numbers of their own: each image has as many, whatever its test will cost, and
        no noise is shared between images.
        """
        n = np.full(len(batch), self.n_mean, dtype=np.int64)
        if not self.n_mean:
            return n, n.copy()

        def rows(part: slice) -> tuple[Tensor, Tensor]:
            item = torch.arange(part.start, part.stop, device=batch.images.device)
            place, draw = item // self.n_mean, item % self.n_mean
            noise = keyed(
                self.seed, batch.ids[place], draw, f"mean:{self.sampler.name}"
            )
            return self.sampler.sample(batch.images[place], noise), reference[place]

        with torch.no_grad():
            judged = self.judge.judge(len(batch) * self.n_mean, rows, stream.budget)
        if judged is None:
            return n * 0, n * 0
        return n, judged.failed.reshape(len(batch), self.n_mean).sum(1).astype(np.int64)

    def _resume(
        self, batch: Batch, earlier: ProbRobustness
    ) -> tuple[list[Rows], Array, Slots | None]:
        """(rows that stay, rows never reached before, slots that go on)."""
        old = places_of(batch, earlier)
        drawn = earlier.n_samples[old]
        if bool((drawn > self.most_draws).any()):
            raise StateError(
                f"n_max={self.most_draws} is below the {int(earlier.n_samples.max())} draws "
                "that the result to resume has; give a larger n_max"
            )
        undecided = (earlier.verdict[old] == int(Verdict.UNDECIDED)).numpy()
        stay = ~undecided | self.ended(earlier, old)
        going = (drawn > 0).numpy() & ~stay
        begun = torch.from_numpy(stay | going)
        if self.told is not None and bool(begun.any()):
            wanted = self.told(batch.ids, batch.images, batch.labels)
            same_reference(wanted.cpu()[begun], earlier.reference[old][begun])
        rows = []
        if stay.any():
            place = np.flatnonzero(stay)
            rows.append(
                to.old_rows(batch, earlier, place, old[torch.from_numpy(place)])
            )
        place = np.flatnonzero(going)
        again = to.resumed_slots(batch, earlier, place, old[torch.from_numpy(place)])
        return rows, np.flatnonzero(~stay & ~going), again if len(place) else None


def _unseen(batch: Batch) -> to.Admitted:
    known = batch.labels
    if known is None:
        known = torch.zeros_like(batch.ids) - 1
    none = np.zeros(len(batch), dtype=np.int64)
    return to.Admitted(batch, known, None, none - 1, none, none)
