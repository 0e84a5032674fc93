"""Which images got the expensive attack, and what follows for those that did not? Row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..._typing import Status, Verdict
from ...errors import StateError
from ...numerics.populations.anytime import product_bounds
from ...numerics.populations.strata import Stratum, joint_fits, total_bounds
from ..base.columns import column
from ..base.shares import left_out
from ..sample import Sample
from .budget import BudgetedAccuracy, Sampled

NONE = -1
"""Stratum of a row that the cheap attack did not leave."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Budgeted(Sample):
    """A cheap attack on all images, a full one on some of those that it left; one row an image.

    Arguments:
        status (Tensor): (N,) int8 codes of :class:`Status`.
        verdict (Tensor): (N,) int8 codes of :class:`Verdict`: NOT_ROBUST where one of the two broke
            it, MISCLASSIFIED where the clean image is wrong, else UNDECIDED.
        reference (Tensor): (N,) int64 labels.
        clean_correct (Tensor): (N,) int8, 1 or 0.
        margin (Tensor): (N,) float64 after the cheap attack; < 0 = fooled.
        attacked (Tensor): (N,) int8, 1 where the full attack was run.
        stratum (Tensor): (N,) int64: 0 for survivors of the cheap attack that were attacked one and
            all, the same positive number for those that were sampled together, -1 for other rows.

    The number is an interval for these images, not for new ones: see :meth:`accuracy`.

    >>> rows = {"status": 0, "verdict": 0, "clean_correct": 1, "attacked": 1}
    >>> columns = {name: torch.full((3,), code, dtype=torch.int8) for name, code in rows.items()}
    >>> columns |= {"reference": torch.zeros(3).long(), "margin": torch.ones(3).double()}
    >>> settings = {"confidence": 0.95, "method": "planned", "combine": "joint"}
    >>> Budgeted(ids=torch.arange(3), stratum=torch.zeros(3).long(), **columns,
    ...          settings=settings).accuracy().sentence
    'robust accuracy 100.0 %: every one of 3 survivors got the full attack'
    """

    schema: ClassVar[str] = "budgeted/1"

    status: Tensor = column(torch.int8, "decision", enum=Status)
    verdict: Tensor = column(torch.int8, "decision", enum=Verdict)
    reference: Tensor = column(torch.int64, "decision")
    clean_correct: Tensor = column(torch.int8, "decision", nullable=True)
    margin: Tensor = column(torch.float64, "measurement")
    attacked: Tensor = column(torch.int8, "decision")
    stratum: Tensor = column(torch.int64, "decision", nullable=True)

    @property
    def answered(self) -> Tensor:
        """(N,) bool: rows with an answer; the model raised on the others (FAILED)."""
        return self.status != int(Status.FAILED)

    @property
    def strata(self) -> tuple[Stratum, ...]:
        """The rows that are known, then those sampled together, by their number."""
        broken = self.verdict == int(Verdict.NOT_ROBUST)
        found = []
        for number in sorted({0, *self.stratum.tolist()} - {NONE}):
            rows = self.stratum == number
            drawn = rows & (self.attacked == 1)
            found.append(
                Stratum(int(rows.sum()), int(drawn.sum()), int((drawn & broken).sum()))
            )
        return tuple(found)

    def accuracy(self) -> BudgetedAccuracy:
        """The interval for what a full run would leave of these images, and what it stands on.

        Raises StateError for no image with an answer, or for rows that were chosen after their
        outcome was seen: the draw was of all of them.
        """
        n = int(self.answered.sum())
        if not n or self.chosen is not None:
            raise StateError(
                "there is no interval for "
                + (
                    "rows that were chosen: " + self.chosen
                    if self.chosen
                    else "no rows"
                )
            )
        strata, settings = self.strata, self.settings
        lower, upper, combine = _bounds(strata, settings)
        left = int((self.stratum != NONE).sum())
        wrong = int((self.answered & (self.clean_correct != 1)).sum())
        guess = sum(
            one.size / one.drawn * one.broken if one.drawn else one.size / 2
            for one in strata
        )
        looked = self.attacked == 1
        broken = looked & (self.verdict == int(Verdict.NOT_ROBUST))
        return BudgetedAccuracy(
            n=n,
            wrong=wrong,
            broken_cheap=n - wrong - left,
            strata=tuple(
                Sampled(size=one.size, attacked=one.drawn, broken=one.broken)
                for one in strata
            ),
            lower=(left - upper) / n,
            upper=(left - lower) / n,
            estimate=(left - min(max(guess, lower), upper)) / n,
            confidence=float(settings["confidence"]),
            combine=combine,
            attacked_rows=tuple(np.flatnonzero(looked.numpy()).tolist()),
            broken_rows=tuple(np.flatnonzero(broken.numpy()).tolist()),
            settings=dict(settings),
            cost=self.cost,
        )

    def summary(self, confidence: float = 0.95) -> dict[str, Any]:
        """The interval with its counts; its confidence is that of the plan, not the argument."""
        if self.chosen is not None or not bool(self.answered.any()):
            why = self.chosen or "there are no rows"
            said = left_out({"robust_accuracy_bounds": why})
            return {"n": len(self), **said, **self.group_summaries(confidence)}
        found = self.accuracy()
        return {
            "n": found.n,
            "robust_accuracy_bounds": [found.lower, found.upper],
            "estimate": found.estimate,
            "confidence": found.confidence,
            "clean_accuracy": (found.n - found.wrong) / found.n,
            "cheap_accuracy": found.cheap_accuracy,
            "survivors": found.survivors,
            "attacked": found.attacked,
            "full_run": found.full_run,
            "sentence": found.sentence,
            **self.group_summaries(confidence),
        }


def _bounds(strata: tuple[Stratum, ...], settings: Any) -> tuple[int, int, str]:
    """Of all broken survivors, and how the strata were put together."""
    error = 1 - float(settings["confidence"])
    if settings["method"] == "anytime":
        first, others = strata[0], [one.counts for one in strata[1:]]
        sides = product_bounds(others, error) if others else (0, 0)
        return first.broken + sides[0], first.broken + sides[1], "product"
    combine = settings["combine"]
    if combine == "joint" and not joint_fits(strata[1:]):
        combine = "split"  # as is known before the outcomes
    return *total_bounds(strata, error, combine), combine
