"""How often is the model right on the unchanged images?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from .._typing import Status
from .base.columns import column
from .base.shares import check_confidence, left_out, reached, share, share_between
from .sample import Sample


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Accuracy(Sample):
    """Clean predictions; one row an image, in input order, next to the fields of :class:`Result`.

    Arguments:
        status (Tensor): (N,) int8 codes of :class:`Status`.
        reference (Tensor): (N,) int64 labels.
        prediction (Tensor): (N,) int64 argmax.
        clean_correct (Tensor): (N,) int8, 1 or 0.
        margin (Tensor): (N,) float64, z_label - max of the other logits; > 0 = correct.

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

    @property
    def answered(self) -> Tensor:
        """(N,) bool: rows with an answer; FAILED ones and those NOT_REACHED have none."""
        return reached(self.status)

    @property
    def clean_accuracy(self) -> float:
        """Share of correct images among those with an answer; nan for none."""
        return share(self.clean_correct[self.answered] == 1)

    def summary(self, confidence: float = 0.95) -> dict[str, Any]:
        """`clean_accuracy` with its two-sided exact interval (Clopper & Pearson 1934).

        With groups, `groups` has the same of each. Of rows that were chosen the interval says
        nothing (`left_out`).

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
            **left_out({"clean_accuracy_interval": self.chosen}),
            **self.group_summaries(confidence),
        }
