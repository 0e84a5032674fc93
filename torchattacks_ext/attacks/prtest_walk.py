"""How does PRTest walk many images to their verdicts at once?

Rounds of looks over an active set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .._typing import Verdict
from ..data.stream import Batch, Stream
from ..engines.active import Array, Judge, Judged, Slots, advance, draw_rows, keyed
from ..errors import StateError
from ..numerics.evalues import log_e_high, log_e_low
from ..numerics.sequential import Boundaries
from ..results.columns import Rows
from ..results.prob_robustness import ProbRobustness
from ..samplers.base import Sampler
from . import prtest_rows as to


@dataclass(frozen=True)
class Walk:
    """The settings of one walk and its steps.

    boundaries: the integer table of the test. judge: decides failures. reference: (ids, images,
    labels) -> the class that counts, for at most `asks` forward row-passes an image.
    clean_known: whether passing the clean image means "correct". keeps: whether the worst draws
    travel with the rows.
    """

    boundaries: Boundaries
    judge: Judge
    sampler: Sampler
    seed: int
    reference: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    asks: int
    clean_known: bool
    keeps: bool

    def rows(self, stream: Stream) -> Iterator[Rows]:
        """Finished rows in completion order. Images are taken in while batches have room."""
        batches, slots = iter(stream), None
        open_ended = True
        while open_ended or (slots is not None and len(slots)):
            while open_ended and (slots is None or len(slots) < self.judge.batch_size):
                batch = next(batches, None)
                open_ended = batch is not None
                if batch is not None:
                    done, fresh = self._admit(batch, stream)
                    slots = fresh if slots is None else slots.join(fresh)
                    yield from done
            if slots is None or not len(slots):
                continue
            if not self._round(slots, stream):
                yield self._close(slots, np.zeros(len(slots), dtype=np.int8))
                slots = slots.take(np.zeros(0, dtype=np.int64))
                continue
            verdict = self._decide(slots)
            ended = (verdict != int(Verdict.UNDECIDED)) | (
                slots.n >= self.boundaries.n_max
            )
            if ended.any():
                yield self._close(slots.take(np.flatnonzero(ended)), verdict[ended])
                slots = slots.take(np.flatnonzero(~ended))

    def _admit(self, batch: Batch, stream: Stream) -> tuple[list[Rows], Slots]:
        """Rows of a batch that need no draw, and slots for those that do."""
        done: list[Rows] = []
        again: Slots | None
        new, again = np.arange(len(batch)), None
        if isinstance(stream.resume, ProbRobustness):
            rows, new, again = self._resume(batch, stream.resume)
            done += rows
        place = torch.from_numpy(new).to(batch.images.device)
        images, ids = batch.images[place], batch.ids[place]
        labels = None if batch.labels is None else batch.labels[place]
        empty = batch.images.new_zeros(0, dtype=torch.int64)
        reference, clean = empty, None
        least = len(new) * max(1, self.asks)
        allowed = stream.budget is None or stream.budget.allows(least)
        if len(new) and allowed:
            with torch.no_grad():
                reference = self.reference(ids, images, labels)
                clean = self.judge.judge(
                    len(new),
                    lambda part: (images[part], reference[part]),
                    stream.budget,
                )
        fresh = Batch(ids, images, labels, batch.index[torch.from_numpy(new)])
        if clean is None:
            known = labels if labels is not None else torch.zeros_like(ids) - 1
            rest = to.plain_rows(
                fresh,
                np.arange(len(new)),
                known,
                None,
                Verdict.UNDECIDED,
                -1,
                self.keeps,
            )
            done += [rest] if len(new) else []
            none = np.zeros(0, dtype=np.int64)
            blank = Judged(*(np.zeros(0) for _ in range(5)))
            slots = to.fresh_slots(fresh, ids.new_zeros(len(new)), blank, none)
        else:
            slots = self._start(fresh, reference, clean, done)
        return done, slots if again is None else again.join(slots)

    def _start(
        self, batch: Batch, reference: Tensor, clean: Judged, done: list[Rows]
    ) -> Slots:
        """Slots of rows whose clean image does not fail; the others are done."""
        out = np.flatnonzero(clean.failed)
        if len(out):
            verdict, right = Verdict.MISCLASSIFIED, 0
            if self.judge.targeted:
                verdict, right = Verdict.NOT_ROBUST, -1
            done.append(
                to.plain_rows(batch, out, reference, clean, verdict, right, self.keeps)
            )
        return to.fresh_slots(batch, reference, clean, np.flatnonzero(~clean.failed))

    def _resume(
        self, batch: Batch, earlier: ProbRobustness
    ) -> tuple[list[Rows], Array, Slots | None]:
        """(rows that stay, rows never reached before, slots that go on)."""
        old = earlier.find(batch.ids.cpu())
        if bool((old < 0).any()):
            raise StateError(
                f"{int((old < 0).sum())} images are not in the result to resume; give the same "
                "data (and the same ids=)"
            )
        if bool((earlier.n_samples[old] > self.boundaries.n_max).any()):
            raise StateError(
                f"n_max={self.boundaries.n_max} is below the {int(earlier.n_samples.max())} draws "
                "that the result to resume has; give a larger n_max"
            )
        undecided = earlier.verdict[old] == int(Verdict.UNDECIDED)
        started = (earlier.n_samples[old] > 0) & undecided
        stay = (
            (~undecided) | (earlier.n_samples[old] >= self.boundaries.n_max)
        ).numpy()
        going = (started.numpy()) & ~stay
        new = np.flatnonzero(~stay & ~going)
        rows = []
        if stay.any():
            place = np.flatnonzero(stay)
            rows.append(
                to.old_rows(batch, earlier, place, old[torch.from_numpy(place)])
            )
        if not going.any():
            return rows, new, None
        place = np.flatnonzero(going)
        return (
            rows,
            new,
            to.resumed_slots(batch, earlier, place, old[torch.from_numpy(place)]),
        )

    def _round(self, slots: Slots, stream: Stream) -> bool:
        """Take every slot to its next look; False (and nothing changed) when the budget ended."""
        looks = self.boundaries.looks[self.boundaries.next_look(slots.n)]
        want = looks - slots.n
        slot = np.repeat(np.arange(len(slots)), want)
        draw = np.arange(len(slot)) - np.repeat(np.cumsum(want) - looks, want)
        with torch.no_grad():
            rows = draw_rows(slots, slot, draw, self.sampler, self.seed)
            judged = self.judge.judge(len(slot), rows, stream.budget)
        if judged is None:
            return False
        advance(slots, looks, judged, slot, draw)
        return True

    def _decide(self, slots: Slots) -> Array:
        """Verdicts (A,) at the look just completed; the running maxima of the e-values advance."""
        low = log_e_low(slots.n, slots.s, self.boundaries.tolerance)
        high = log_e_high(slots.n, slots.s, self.boundaries.tolerance)
        slots.log_robust = np.maximum(slots.log_robust, low)
        slots.log_not_robust = np.maximum(slots.log_not_robust, high)
        place = np.searchsorted(self.boundaries.looks, slots.n)
        return self.boundaries.decide(place, slots.s)

    def _close(self, slots: Slots, verdict: Array) -> Rows:
        """Rows of slots at their last completed look."""
        images = None
        if self.keeps:
            images = self._worst(slots)
        clean = np.full(len(slots), 1 if self.clean_known else -1)
        levels = self.boundaries.tolerance, self.boundaries.significance
        return to.slot_rows(slots, verdict, clean, *levels, images)

    def _worst(self, slots: Slots) -> Tensor:
        """The worst draw of each slot; the clean image where no look was completed."""
        draws = torch.from_numpy(slots.worst_draw).to(slots.images.device)
        noise = keyed(self.seed, slots.ids, draws.clamp_min(0), self.sampler.name)
        with torch.no_grad():
            shown = self.sampler.sample(slots.images, noise)
        none = (draws < 0).reshape(-1, *[1] * (shown.dim() - 1))
        return torch.where(none, slots.images, shown)
