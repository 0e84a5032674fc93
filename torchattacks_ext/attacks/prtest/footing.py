"""May draws of one image go through the model in one call, and what is then guaranteed?

A test counts draws as independent. Those of a fixed model under a replayable law are, however they
are packed. A model (or a law) that draws numbers of its own may draw once a call, for all rows: no
look is long enough to exclude that for a jitter that is rare. So nothing hangs on a look: as soon
as a model is seen to draw, every draw of an image gets a call of its own, which it may share with
draws of other images. Where rows change each other's answers, every row gets a call of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...engines.judge.active import Array, keyed
from ...errors import StateError
from ...models.checks import ModelTraits
from ...results.grounds import Guarantee, guarantee_of
from ...results.prob_robustness import ProbRobustness
from ...samplers.base import Sampler


@dataclass(frozen=True)
class Footing:
    """What draws may do to each other.

    random: model or law draw numbers of their own, which rows of one call may share. alone: an
    answer or a draw depends on the other rows of its call. shared: earlier draws of different
    images went through one call.
    """

    random: bool = False
    alone: bool = False
    shared: bool = False

    @property
    def plain(self) -> bool:
        """Whether draws are independent however they are packed."""
        return not (self.random or self.alone)

    @property
    def spread(self) -> bool:
        """Whether a call holds at most one draw of an image."""
        return self.random and not self.alone

    def guarantee(self, batch_size: int) -> Guarantee:
        """What verdicts are worth with calls of so many rows.

        >>> Footing().guarantee(256), Footing(random=True).guarantee(256)
        ('exact', 'independent-calls')
        >>> Footing(random=True).guarantee(1), Footing(alone=True).guarantee(256)
        ('one-row-calls', 'one-row-calls')
        """
        if self.plain:
            return "exact"
        if self.alone or batch_size == 1 and not self.shared:
            return "one-row-calls"
        return "independent-calls"


def footing_of(
    traits: ModelTraits | None, law: Sampler, earlier: object = None
) -> Footing:
    """What a look at the model (None: not yet) and at the law showed, and an earlier result said.

    earlier: a result that is gone on with. Raises StateError where its draws were packed in a way
    that the look of today forbids.
    """
    random, alone = not law.replayable, not law.rowwise
    if traits is not None:
        random |= traits.randomised or traits.draws
        alone |= traits.batch_dependent
    now = Footing(random, alone)
    if not isinstance(earlier, ProbRobustness) or not _drew(earlier):
        return now
    codes = (flag.code for flag in earlier.flags)
    word = guarantee_of(earlier.settings, codes)
    together = word == "independent-calls"
    if word not in ("one-row-calls", "ideal-kernel", "none") and (
        now.alone or now.random and not together
    ):
        raise StateError(
            "resume= holds draws that went through the model together, and the model (or the law) "
            "now shows that rows of one call may share a random draw or change each other's "
            "answers: they cannot be counted; measure anew"
        )
    return Footing(
        now.random or together, now.alone or word == "one-row-calls", together
    )


def look_at_law(law: Sampler, images: Tensor, seed: int) -> Tensor:
    """Ask the law whether its draws repeat, and whether rows change each other's; sets its marks.

    images: (N, ...), N >= 1. Returns at least two images for a look at the model, which shows
    nothing of what rows do to each other by one alone: the images, or the only one and a draw of
    it. Raises InputError for a law that writes into its input. Cost: six draws, no row-pass.
    """
    few = images[:2] if len(images) > 1 else images.repeat(2, *[1] * (images.dim() - 1))
    ids = torch.arange(len(few), device=few.device)
    law.check_replayable(few, keyed(seed, ids, 0, law.name))
    if len(images) > 1:
        return images
    drawn = law.sample(images, keyed(seed, ids[:1], 0, f"look:{law.name}"))
    return torch.cat([images, drawn])


def _drew(earlier: ProbRobustness) -> bool:
    return bool((earlier.n_drawn > 0).any() or (earlier.n_mean > 0).any())


def layers(slot: Array, size: int, block: int) -> tuple[Array, list[list[int]]]:
    """An order of work items, and batches of calls that hold no slot twice.

    slot: (M,) ascending, the image of each item. size: most items of a call. block: most items of
    a batch, all of whose calls take their noise at once.

    >>> order, batches = layers(np.array([0, 0, 1, 2, 2]), 2, 3)
    >>> order.tolist(), batches
    ([0, 2, 3, 1, 4], [[2, 1], [2]])
    """
    place = np.arange(len(slot)) - np.searchsorted(slot, slot)
    order = np.argsort(place, kind="stable")
    batches: list[list[int]] = []
    room = 0
    for items in np.bincount(place).tolist():
        for first in range(0, items, size):
            call = min(size, items - first)
            if call > room:
                batches.append([])
                room = block
            batches[-1].append(call)
            room -= call
    return order, batches
