"""Did an attack do anything at all? Images that it left unbroken because it never moved them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...engines.judge.active import Array, Judged
from ...results.base.facts import Flag
from ..zoo.table import AttackInfo

FEW, SHARE = 2, 0.05
"""Images that may stay where they are before it is said: so many, or this part of those left."""
MOVING = ("gradient", "transfer")
"""Families whose attacks hand back what they have even where it does not fool the model."""
RETURNS_CLEAN = ("APGD", "APGDT")
"""Of those families, attacks that give the clean image back where they do not fool the model."""


@dataclass(frozen=True)
class Idle:
    """Counts of correct images that an attack left unbroken: all of them, and those not moved.

    >>> [flag.message[:30] for flag in (Idle(20, 20) + Idle(20, 10)).flags("FGSM")]
    ['FGSM moved 10 of the 40 images']
    """

    left: int = 0
    still: int = 0

    def __add__(self, other: Idle) -> Idle:
        return Idle(self.left + other.left, self.still + other.still)

    def flags(self, stage: str) -> Iterator[Flag]:
        """The doubt, where more than a few were not moved; stage: its label."""
        if self.still <= max(FEW, SHARE * self.left):
            return
        moved = self.left - self.still
        text = (
            f"{stage} moved {moved} of the {self.left} images that it did not break; on the others "
            "its gradient is 0: the loss may have saturated, and what is left says little about "
            "robustness"
        )
        numbers = {"stage": stage, "moved": moved, "left": self.left}
        yield Flag("zero_gradient", text, self.still, numbers)


def tally(info: AttackInfo, seen: Judged, moved: Array, unguided: Array) -> Idle:
    """The counts of one batch of correct images.

    seen: answers to the candidates. moved (M,): whether those differ from the images. unguided
    (M,): whether every gradient of the row was 0, as for a random start that nothing follows.
    """
    left = ~seen.failed & seen.finite
    moves = info.family in MOVING and info.name not in RETURNS_CLEAN
    still = unguided | (moves & ~moved)
    return Idle(int(left.sum()), int((left & still).sum()))
