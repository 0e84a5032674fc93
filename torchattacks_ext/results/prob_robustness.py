"""What did a hypothesis test of probabilistic robustness say of each image, and of all of them?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from .._typing import Status, Verdict
from ..errors import ConfigError
from ..numerics.binomial import clopper_pearson
from .base import Result
from .columns import column


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ProbRobustness(Result):
    """Result of :class:`~torchattacks_ext.PRTest`; one row an image.

    `verdict` is ROBUST only if the test rejected "failure rate >= tolerance", NOT_ROBUST only if it
    rejected "failure rate <= tolerance", each at level `significance`, whenever the run stopped.
    `p_fail_lower` and `p_fail_upper` invert the same tests, so they never disagree with the
    verdict; each side holds with probability 1 - significance for each image. Counts are those of
    the last completed look.

    Arguments:
        verdict (Tensor): (N,) int8 codes of :class:`Verdict`.
        status (Tensor): (N,) int8 codes of :class:`Status`.
        reference (Tensor): (N,) int64 class that counts: label, clean prediction or target.
        clean_correct (Tensor): (N,) int8, 1, 0 or -1 (not known).
        n_samples (Tensor): (N,) int64 draws at the last completed look.
        n_failures (Tensor): (N,) int64 failures among them.
        p_fail (Tensor): (N,) float64 n_failures / n_samples (nan without draws), biased by
            stopping: read the bounds.
        p_fail_lower (Tensor): (N,) float64 lower bound of the failure rate, in [0, 1].
        p_fail_upper (Tensor): (N,) float64 upper bound, in [0, 1].
        p_value_robust (Tensor): (N,) float64, against "failure rate >= tolerance"; anytime-valid.
        p_value_not_robust (Tensor): (N,) float64, against "failure rate <= tolerance", likewise.
        log_e_robust (Tensor): (N,) float64 log of the e-value at the stop, against ">= tolerance".
        log_e_not_robust (Tensor): (N,) float64 the same against "<= tolerance".
        clean_margin (Tensor): (N,) float64 margin of the clean image; > 0 = no failure.
        worst_margin (Tensor): (N,) float64 smallest margin of all draws (inf without draws).
        worst_draw (Tensor): (N,) int64 its number, for :meth:`PRTest.replay`; -1 without draws.
        n_close (Tensor): (N,) int64 draws decided again at batch size 1.
        n_drawn (Tensor): (N,) int64 draws of this image in all its runs.

    >>> from torchattacks_ext import PRTest
    >>> from torchattacks_ext.testing import RateVictim
    >>> test = PRTest(RateVictim(0.0), eps=0.1)
    >>> result = test.measure(torch.full((1, 1, 2, 2), 0.5), torch.tensor([0]))
    >>> result.pra, result.to_records()[0]["verdict"]
    (1.0, 'robust')
    """

    schema: ClassVar[str] = "prob_robustness/1"

    verdict: Tensor = column(torch.int8, "decision", enum=Verdict)
    status: Tensor = column(torch.int8, "decision", enum=Status)
    reference: Tensor = column(torch.int64, "decision")
    clean_correct: Tensor = column(torch.int8, "decision", nullable=True)
    n_samples: Tensor = column(torch.int64, "decision")
    n_failures: Tensor = column(torch.int64, "decision")
    p_fail: Tensor = column(torch.float64, "measurement")
    p_fail_lower: Tensor = column(torch.float64, "measurement")
    p_fail_upper: Tensor = column(torch.float64, "measurement")
    p_value_robust: Tensor = column(torch.float64, "measurement")
    p_value_not_robust: Tensor = column(torch.float64, "measurement")
    log_e_robust: Tensor = column(torch.float64, "measurement")
    log_e_not_robust: Tensor = column(torch.float64, "measurement")
    clean_margin: Tensor = column(torch.float64, "measurement")
    worst_margin: Tensor = column(torch.float64, "measurement")
    worst_draw: Tensor = column(torch.int64, "provenance")
    n_close: Tensor = column(torch.int64, "provenance")
    n_drawn: Tensor = column(torch.int64, "provenance")

    def count(self, verdict: Verdict) -> int:
        """How many images have this verdict."""
        return int((self.verdict == int(verdict)).sum())

    @property
    def pra(self) -> float:
        """Share of all images that are certified: ROBUST, so also correct on the clean image.

        nan for no images. An estimate on this data set, not a bound for new images.
        """
        if not len(self):
            return float("nan")
        return self.count(Verdict.ROBUST) / len(self)

    def summary(self, confidence: float = 0.95) -> dict[str, Any]:
        """Counts of the verdicts, `pra` with its two-sided exact interval, samples used.

        The interval (Clopper & Pearson 1934) is for the chance that a new image from the same
        source is certified by this test; confidence in (0, 1). Raises ConfigError otherwise.
        """
        if not 0 < confidence < 1:
            raise ConfigError(f"confidence={confidence} must lie in (0, 1), say 0.95")
        robust, n = self.count(Verdict.ROBUST), len(self)
        low, high = clopper_pearson(robust, n, confidence) if n else (0.0, 1.0)
        return {
            "n": n,
            "robust": robust,
            "not_robust": self.count(Verdict.NOT_ROBUST),
            "undecided": self.count(Verdict.UNDECIDED),
            "misclassified": self.count(Verdict.MISCLASSIFIED),
            "pra": self.pra,
            "pra_interval": [float(low), float(high)],
            "confidence": confidence,
            "tolerance": self.settings.get("tolerance"),
            "significance": self.settings.get("significance"),
            "samples": int(self.n_samples.sum()),
        }
