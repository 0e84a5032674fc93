"""At which radius does each image fall? One number a row: accuracy that never rises."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from .._typing import Status
from ..errors import ConfigError
from .base.columns import column
from .base.shares import check_confidence, left_out, share_between
from .sample import Sample


class SweepShare(NamedTuple):
    """Share of images that are right and unbroken at a radius, and its exact interval."""

    eps: float
    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Sweep(Sample):
    """Robust accuracy at ascending radii by one attack; one row an image, right and wrong alike.

    Arguments:
        status (Tensor): (N,) int8 codes of :class:`Status`.
        reference (Tensor): (N,) int64 labels.
        clean_correct (Tensor): (N,) int8, 1 or 0; -1 where the model raised.
        breaks (Tensor): (N,) int64 number of the smallest radius at which a change was found that
            is no longer than it and breaks the row; the number of radii for none, -1 where the
            model raised. A row that is broken at one radius is broken at every larger one.

    Settings name the `radii`, ascending, their `norm` and the `method`. An attack proves nothing:
    accuracies are upper bounds.

    >>> from torchattacks_ext import evaluate
    >>> from torchattacks_ext.testing import HalfSpace
    >>> model = HalfSpace(torch.tensor([1.0, 0.0]), -0.4)
    >>> data = torch.tensor([[0.5, 0.5], [0.8, 0.5]]), torch.tensor([0, 0])
    >>> stage = {"name": "sweep", "attack": "FGSM", "radii": [0.05, 0.2, 0.5]}
    >>> evaluate(model, data, {"eps": 0.2, "stages": [stage]})["sweep"].result.robust_accuracy
    [1.0, 0.5, 0.0]
    """

    schema: ClassVar[str] = "sweep/1"

    status: Tensor = column(torch.int8, "decision", enum=Status)
    reference: Tensor = column(torch.int64, "decision")
    clean_correct: Tensor = column(torch.int8, "decision", nullable=True)
    breaks: Tensor = column(torch.int64, "decision", nullable=True)

    @property
    def radii(self) -> tuple[float, ...]:
        """The radii, ascending, in pixel units."""
        return tuple(self.settings.get("radii", ()))

    @property
    def answered(self) -> Tensor:
        """(N,) bool: rows with an answer; the model raised on the others (FAILED)."""
        return self.status != int(Status.FAILED)

    def robust(self, number: int) -> Tensor:
        """(N,) bool: right when clean and not broken at radius `number`; -1 asks when clean."""
        return (self.clean_correct == 1) & (self.breaks > number)

    @property
    def robust_accuracy(self) -> list[float]:
        """One share of all rows a radius; nan without rows."""
        return [share.value for share in self.curve()[1:]]

    def curve(self, confidence: float = 0.95) -> list[SweepShare]:
        """The share at radius 0 and at each radius, with exact intervals, each by itself.

        Clopper & Pearson 1934, for a new image of the same source; [0, 1] where rows were chosen.
        Rows on which the model raised are wrong, and may be right for the upper end. Raises
        ConfigError for a confidence outside (0, 1).
        """
        check_confidence(confidence)
        late, said = int((~self.answered).sum()), (self.chosen, self.n_copies)
        found = []
        for number, eps in enumerate((0.0, *self.radii), -1):
            k = int(self.robust(number).sum())
            ends, (low, high) = share_between(k, late, len(self), confidence, *said)
            found.append(SweepShare(eps, ends[0], low, high))
        return found

    def at(self, eps: float, confidence: float = 0.95) -> SweepShare:
        """The share at one of the radii. Raises ConfigError for another radius."""
        for one in self.curve(confidence):
            if math.isclose(one.eps, eps, rel_tol=1e-6):
                return one
        raise ConfigError(f"eps={eps} is not one of the radii {list(self.radii)}")

    def everywhere(self, confidence: float = 0.95) -> float:
        """Half width of a band that holds the whole curve at once, whatever the radii.

        sqrt(log(2 / (1 - confidence)) / (2 n)): the curve is the share of images whose critical
        radius lies beyond each point (Dvoretzky, Kiefer and Wolfowitz 1956, with the constant of
        Massart 1990). 1 where rows were chosen, failed, or are there twice.
        """
        check_confidence(confidence)
        known = self.chosen is None and not self.n_copies and bool(self.answered.all())
        if not known or not len(self):
            return 1.0
        return min(1.0, math.sqrt(math.log(2 / (1 - confidence)) / (2 * len(self))))

    def summary(self, confidence: float = 0.95) -> dict[str, Any]:
        """Accuracy at radius 0 and at each radius, with intervals, and the band of the whole curve.

        With groups, `groups` has the same of each. Of rows that were chosen intervals say nothing
        (`left_out`). Raises ConfigError for a confidence outside (0, 1).
        """
        clean, *rest = self.curve(confidence)
        late = len(self) - int(self.answered.sum())
        return {
            "n": len(self),
            "clean_accuracy": clean.value,
            "radii": list(self.radii),
            "robust_accuracy": [one.value for one in rest],
            "robust_accuracy_intervals": [[one.low, one.high] for one in rest],
            "band": self.everywhere(confidence),
            "confidence": confidence,
            **({"failed": late} if late else {}),
            **left_out({"robust_accuracy_intervals": self.chosen}),
            **self.group_summaries(confidence),
        }
