"""Did an attack do anything, and for the worse? Images that it never moved, or moved back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...engines.judge.active import Array, Judged
from ...results.attack import AttackResult
from ...results.base.facts import Flag
from ...results.base.result import Result
from ..zoo.table import AttackInfo

FEW, SHARE = 2, 0.05
"""Images that may stay where they are before it is said: so many, or this part of those left."""
MOVING = ("gradient", "transfer")
"""Families whose attacks hand back what they have even where it does not fool the model."""
ROUNDING = 1e-4
"""Part of the mean size of clean margins by which two means of one model may differ."""
FEWEST = 10
"""Correct images below which nothing is said of a mean margin."""
CONTROL = "VANILA"
"""Gives every image back, by design."""
RETURNS_CLEAN = ("APGD", "APGDT")
"""Of those families, attacks that give the clean image back where they do not fool the model."""


@dataclass(frozen=True)
class Idle:
    """Counts of correct images: those that an attack left unbroken, and of these those not moved;
    all that an attack was given of which nobody knows that it gives back what it does not break,
    and those that came back as they were.

    >>> [flag.message[:30] for flag in (Idle(20, 20) + Idle(20, 10)).flags("FGSM")]
    ['FGSM moved 10 of the 40 images']
    """

    left: int = 0
    still: int = 0
    tried: int = 0
    same: int = 0

    def __add__(self, other: Idle) -> Idle:
        return Idle(*(a + b for a, b in zip(self.counts, other.counts)))

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """All four."""
        return self.left, self.still, self.tried, self.same

    def flags(self, stage: str) -> Iterator[Flag]:
        """The doubt, where more than a few were not moved; stage: its label."""
        if self.still <= max(FEW, SHARE * self.left):
            if self.tried > FEW and self.same == self.tried:
                yield _unchanged(stage, self.tried)
            return
        moved = self.left - self.still
        text = (
            f"{stage} moved {moved} of the {self.left} images that it did not break; on the others "
            "its gradient is 0: the loss may have saturated, and what is left says little about "
            "robustness"
        )
        numbers = {"stage": stage, "moved": moved, "left": self.left}
        yield Flag("zero_gradient", text, self.still, numbers)


def _unchanged(stage: str, n: int) -> Flag:
    text = (
        f"{stage} gave all {n} correct images back as they were: it found nothing to change, or "
        "does nothing on this model, and what it leaves is the clean accuracy"
    )
    return Flag("unchanged_images", text, n, {"stage": stage})


def tally(info: AttackInfo, seen: Judged, length: Array, unguided: Array) -> Idle:
    """The counts of one batch of correct images.

    seen: answers to the candidates. length (M,): how far those lie from the images. unguided (M,):
    whether every gradient of the row was 0, as for a random start that nothing follows.
    """
    left = ~seen.failed & seen.finite
    moves = info.family in MOVING and info.name not in RETURNS_CLEAN
    still = unguided | (moves & (length == 0))
    asked = info.family in ("foreign", "noise") and info.name != CONTROL
    tried, same = len(length) * asked, int((length == 0).sum())
    return Idle(int(left.sum()), int((left & still).sum()), tried, same)


def raised(info: AttackInfo, result: Result, stage: str) -> Iterator[Flag]:
    """A doubt where the attack moved the correct images away from the boundary, on average.

    That is no attack on this model: another model's gradient, a wrong sign, a loss that takes
    scores for shares, or changes that are lost when they are put into the ball. Noise is not
    asked, nor fewer than ten images. stage: its label.
    """
    if info.family == "noise" or not isinstance(result, AttackResult):
        return
    kept = (result.clean_correct == 1) & result.margin.isfinite()
    before, after = result.clean_margin[kept], result.margin[kept]
    if len(before) < FEWEST:
        return
    rise, size = float((after - before).mean()), float(before.abs().mean())
    if rise <= ROUNDING * size:
        return
    text = (
        f"{stage} raised the mean margin of the correct images, from {float(before.mean()):.3g} to "
        f"{float(after.mean()):.3g}: inside this ball it moves away from the boundary, and what it "
        "leaves says nothing about robustness"
    )
    yield Flag("raised_margin", text, int(kept.sum()), {"stage": stage})
