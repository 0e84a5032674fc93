"""How does PRTest walk many images to their verdicts at once?

Rounds of looks over an active set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...data.stream import Batch, Stream
from ...engines.judge.active import Array, Slots, advance, draw_rows, keyed
from ...errors import ModelContractError
from ...models.broken import models_own
from ...numerics.rates.rules import Rule
from ...results.base.columns import Rows
from ...results.prob_robustness import ProbRobustness
from . import rows as to
from .admission import Admission
from .footing import layers


@dataclass(frozen=True, kw_only=True)
class Walk(Admission):
    """The settings of one walk and its steps; those of :class:`Admission`, and the test itself.

    rule: the test with its table of integers. shared_noise: draw number i is the same noise for
    every image. spread: no call of the model, and none of the law, holds two draws of an image.
    """

    rule: Rule
    shared_noise: bool
    spread: bool = False

    def rows(
        self, stream: Stream, opened: Iterable[Batch] | None = None
    ) -> Iterator[Rows]:
        """Finished rows in completion order. Images are taken in while batches have room.

        opened: the batches of the stream, where somebody has begun to take them. Images of another
        size wait until those before them are done. Where the model raises in a round, all its
        images are FAILED and the next ones are taken in.
        """
        batches, slots = iter(stream if opened is None else opened), None
        waiting: Batch | None = None
        open_ended = True
        while open_ended or (slots is not None and len(slots)):
            while open_ended and (slots is None or len(slots) < self.judge.batch_size):
                waiting = next(batches, None) if waiting is None else waiting
                open_ended = waiting is not None
                if waiting is None or not _alike(slots, waiting):
                    break
                done, fresh = self.admit(waiting, stream)
                slots = slots.join(fresh) if slots is not None and len(slots) else fresh
                waiting = None
                yield from done
            if slots is not None and len(slots):
                done, slots = self._advance(slots, stream)
                yield from done

    def _advance(self, slots: Slots, stream: Stream) -> tuple[list[Rows], Slots]:
        """Rows whose test is over after one more round, and the slots that go on."""
        everybody = np.zeros(len(slots), dtype=np.int8)
        nobody = slots.take(np.zeros(0, dtype=np.int64))
        try:
            if not self._round(slots, stream):
                return [self._close(slots, everybody)], nobody
        except ModelContractError as error:
            return [self._close(slots, everybody).failed(models_own(error))], nobody
        verdict, over = self._decide(slots)
        if not over.any():
            return [], slots
        closed = self._close(slots.take(np.flatnonzero(over)), verdict[over])
        return [closed], slots.take(np.flatnonzero(~over))

    def ended(self, earlier: ProbRobustness, old: Tensor) -> Array:
        """Whether the test of the rows `old` is over: decided, given up, or at the last look."""
        n, s = (getattr(earlier, name)[old].numpy() for name in _COUNTS)
        table = self.rule.boundaries
        place = np.searchsorted(table.looks, n).clip(max=len(table.looks) - 1)
        return np.asarray((n > 0) & ((n >= table.n_max) | table.over(place, s)))

    @property
    def most_draws(self) -> int:
        """The last look."""
        return self.rule.boundaries.n_max

    def _round(self, slots: Slots, stream: Stream) -> bool:
        """Take every slot to its next look; False (and nothing changed) when the budget ended."""
        table = self.rule.boundaries
        looks = table.looks[table.next_look(slots.n)]
        want = looks - slots.n
        slot = np.repeat(np.arange(len(slots)), want)
        draw = np.arange(len(slot)) - np.repeat(np.cumsum(want) - looks, want)
        order, calls = np.arange(len(slot)), None
        if self.spread:
            # a law of its own numbers may draw once for all rows that it is given
            size = self.judge.batch_size
            order, calls = layers(slot, size, size * self.sampler.replayable)
        with torch.no_grad():
            law, seed, shared = self.sampler, self.seed, self.shared_noise
            rows = draw_rows(slots, slot[order], draw[order], law, seed, shared)
            judged = self.judge.judge(len(slot), rows, stream.budget, calls)
        if judged is None:
            return False
        judged = judged.take(np.argsort(order))
        advance(slots, looks, judged, slot, draw)
        return True

    def _decide(self, slots: Slots) -> tuple[Array, Array]:
        """(verdicts (A,), whether the test is over) at the look just completed.

        For a test that may be extended -ln p advances, the running maximum of ln E.
        """
        table = self.rule.boundaries
        place = np.searchsorted(table.looks, slots.n)
        if self.rule.anytime:
            low, high = self.rule.evidence_at(place, slots.s)
            slots.log_robust = np.maximum(slots.log_robust, low)
            slots.log_not_robust = np.maximum(slots.log_not_robust, high)
        return table.decide(place, slots.s), table.over(place, slots.s)

    def _close(self, slots: Slots, verdict: Array) -> Rows:
        """Rows of slots at their last completed look."""
        images = self._worst(slots) if self.keeps else None
        if not self.rule.anytime:
            slots.log_robust, slots.log_not_robust = self.rule.evidence(
                slots.n, slots.s
            )
        return to.slot_rows(slots, verdict, self.rule, images)

    def _worst(self, slots: Slots) -> Tensor:
        """The worst draw of each slot; the clean image where no look was completed."""
        draws = torch.from_numpy(slots.worst_draw).to(slots.images.device)
        ids = torch.zeros_like(slots.ids) if self.shared_noise else slots.ids
        noise = keyed(self.seed, ids, draws.clamp_min(0), self.sampler.name)
        with torch.no_grad():
            shown = self.sampler.sample(slots.images, noise)
        none = (draws < 0).reshape(-1, *[1] * (shown.dim() - 1))
        return torch.where(none, slots.images, shown)


_COUNTS = ("n_samples", "n_failures")


def _alike(slots: Slots | None, batch: Batch) -> bool:
    """Whether a batch can join: its images have the size of those at work, if there are any."""
    if slots is None or not len(slots):
        return True
    return slots.images.shape[1:] == batch.images.shape[1:]
