"""How often is the model right on the unchanged images?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from .._typing import Status
from ..numerics import calibration
from .base.columns import column
from .base.shares import check_confidence, left_out, reached, share, share_between
from .sample import Sample

SCORES = ("confidence", "nll", "brier")
"""Columns of softmax scores."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Accuracy(Sample):
    """Clean predictions; one row an image, in input order, next to the fields of :class:`Result`.

    Arguments:
        status (Tensor): (N,) int8 codes of :class:`Status`.
        reference (Tensor): (N,) int64 labels.
        prediction (Tensor): (N,) int64 argmax.
        clean_correct (Tensor): (N,) int8, 1 or 0.
        margin (Tensor): (N,) float64, z_label - max of the other logits; > 0 = correct.
        confidence (Tensor): (N,) float64 largest softmax probability, in float64 from the logits;
            -1 where it is not known, as in older files.
        nll (Tensor): (N,) float64, -log of the label's probability; -1 likewise.
        brier (Tensor): (N,) float64, sum over classes of (p - [is the label])^2; -1 likewise.

    >>> from torchattacks_ext import evaluate
    >>> from torchattacks_ext.testing import RateVictim
    >>> data = torch.full((1, 1, 2, 2), 0.5), torch.tensor([0])
    >>> evaluate(RateVictim(0.0), data, {"eps": 0.1, "stages": ["clean"]})["clean"].result
    Accuracy(n=1, clean_accuracy=1, ...)
    """

    schema: ClassVar[str] = "accuracy/1"

    status: Tensor = column(torch.int8, "decision", enum=Status)
    reference: Tensor = column(torch.int64, "decision")
    prediction: Tensor = column(torch.int64, "decision")
    clean_correct: Tensor = column(torch.int8, "decision", nullable=True)
    margin: Tensor = column(torch.float64, "measurement")
    confidence: Tensor = column(torch.float64, "measurement", missing=-1)
    nll: Tensor = column(torch.float64, "measurement", missing=-1)
    brier: Tensor = column(torch.float64, "measurement", missing=-1)

    @property
    def answered(self) -> Tensor:
        """(N,) bool: rows with an answer; FAILED ones and those NOT_REACHED have none."""
        return reached(self.status)

    @property
    def clean_accuracy(self) -> float:
        """Share of correct images among those with an answer; nan for none."""
        return share(self.clean_correct[self.answered] == 1)

    @property
    def scored(self) -> Tensor:
        """(N,) bool: rows whose softmax scores are known and finite."""
        return (self.confidence >= 0) & self.brier.isfinite()

    def calibration(self, confidence: float = 0.95) -> dict[str, Any]:
        """How far confidence and correctness are apart; {} where no scores are known.

        `expected_calibration_error`: 15 bins of equal width, with a bootstrap interval (nominal,
        rather wide). `overconfidence`: mean confidence minus accuracy, with an interval valid for
        any number of images. `brier`, `nll`: means. Of rows that were chosen, or are there twice,
        the intervals are left out. Rows without finite scores are in none of it.
        """
        check_confidence(confidence)
        order = self.ids.argsort(stable=True)
        order = order[self.scored[order]]
        if not len(order):
            return {}
        sure = self.confidence[order].numpy()
        right = (self.clean_correct[order] == 1).double().numpy()
        gap, sides = calibration.overconfidence(sure, right, confidence)
        found: dict[str, Any] = {
            "expected_calibration_error": calibration.calibration_error(sure, right),
            "overconfidence": gap,
            "brier": float(self.brier[order].mean()),
            "nll": float(self.nll[order].mean()),
        }
        if self.chosen is None and not self.n_copies:
            ends = calibration.error_interval(sure, right, confidence)
            found["expected_calibration_error_interval"] = list(ends)
            found["overconfidence_interval"] = list(sides)
        return found

    def summary(self, confidence: float = 0.95) -> dict[str, Any]:
        """`clean_accuracy` with its two-sided exact interval (Clopper & Pearson 1934).

        With groups, `groups` has the same of each. Of rows that were chosen the interval says
        nothing (`left_out`). With softmax scores, what :meth:`calibration` says.

        Raises ConfigError for a confidence outside (0, 1).
        """
        check_confidence(confidence)
        n, right = int(self.answered.sum()), int((self.clean_correct == 1).sum())
        said = self.chosen, self.n_copies
        _, interval = share_between(right, 0, n, confidence, *said)
        return {
            "n": len(self),
            "clean_accuracy": self.clean_accuracy,
            "clean_accuracy_interval": interval,
            "confidence": confidence,
            **({"failed": len(self) - n} if n < len(self) else {}),
            **self.calibration(confidence),
            **left_out({"clean_accuracy_interval": self.chosen}),
            **self.group_summaries(confidence),
        }
