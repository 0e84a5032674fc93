"""What did a hypothesis test of probabilistic robustness say of each image, and of all of them?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from .._typing import Status, Verdict
from ..errors import ConfigError, StateError
from .base.columns import column
from .base.shares import open_rows
from .claims import (
    CLAIMS,
    Claim,
    Evidence,
    Method,
    SilBand,
    corrected,
    dataset_claims,
    peeked_at,
    sil_of,
)
from .grounds import Asked, asked_of, dependence, guarantee_of, named
from .sample import Sample


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ProbRobustness(Sample):
    """Result of :class:`~torchattacks_ext.PRTest`; one row an image.

    `verdict` is ROBUST only if the test rejected "failure rate >= tolerance", NOT_ROBUST only if it
    rejected "failure rate <= tolerance", each at level `significance`, whenever the run stopped.
    `p_fail_lower` and `p_fail_upper` invert the same tests, so they never disagree with the
    verdict; each side holds with probability 1 - significance for each image, whenever the run
    stopped. So do the p-values: with test="fixed" and "group" of one plan, which a run may leave
    and go on with at any look, but not change (n_max). Counts are those of the last completed look.

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
        p_value_robust (Tensor): (N,) float64, against "failure rate >= tolerance"; valid whenever
            the run stopped.
        p_value_not_robust (Tensor): (N,) float64, against "failure rate <= tolerance", likewise.
        log_e_robust (Tensor): (N,) float64 log of the e-value at the stop, against ">= tolerance".
        log_e_not_robust (Tensor): (N,) float64 the same against "<= tolerance".
        clean_margin (Tensor): (N,) float64 margin of the clean image; > 0 = no failure.
        worst_margin (Tensor): (N,) float64 smallest margin of all draws (inf without draws).
        worst_draw (Tensor): (N,) int64 its number, for :meth:`PRTest.replay`; -1 without draws.
        n_close (Tensor): (N,) int64 draws decided again at batch size 1.
        n_drawn (Tensor): (N,) int64 draws of this image in all its runs.
        n_mean (Tensor): (N,) int64 draws for the mean failure rate of the data set, or 0.
        mean_failures (Tensor): (N,) int64 failures among them.
        n_deaths (Tensor): (N,) int64 deaths of particles; -1 where there was no splitting.

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
    n_mean: Tensor = column(torch.int64, "decision", missing=0)
    mean_failures: Tensor = column(torch.int64, "decision", missing=0)
    n_deaths: Tensor = column(torch.int64, "decision", nullable=True, missing=-1)

    def count(self, verdict: Verdict) -> int:
        """How many images have this verdict."""
        return int((self.verdict == int(verdict)).sum())

    @property
    def certified(self) -> Tensor:
        """(N,) bool: ROBUST, and the clean answer is not known to be wrong.

        ROBUST is of what was tested: with reference="prediction" that the image keeps its clean
        answer, in a targeted mode that it does not reach the target, with labels that it stays
        right (:attr:`asked`).
        """
        return (self.verdict == int(Verdict.ROBUST)) & (self.clean_correct != 0)

    @property
    def unknown(self) -> Tensor:
        """(N,) bool: undecided rows that the run did not get through.

        The budget ended before or within their test, or the model raised.
        """
        found = open_rows(self.verdict, self.status)
        if any(flag.code == "budget_spent" for flag in self.flags):
            found = found | (self.n_samples < (self.settings.get("n_max") or torch.inf))
        return found & (self.verdict == int(Verdict.UNDECIDED))

    @property
    def pra(self) -> float:
        """Probabilistic robust accuracy: the share of all images that are :attr:`certified`.

        nan for no images, and where nothing is known of the labels (reference="prediction" and
        targeted modes: read `stable_share` or `target_missed_share` in :meth:`summary`). An
        estimate on this data set, not a bound for new images; where the run did not get through
        all (:attr:`unknown`) the least that it may be: see `pra_bounds`.
        """
        known = len(self) and self.asked.kind == "label"
        return float(self.certified.sum()) / len(self) if known else float("nan")

    @property
    def asked(self) -> Asked:
        """What ROBUST says of an image, and under which names the share of such images stands."""
        return asked_of(self.settings)

    @property
    def guarantee(self) -> str | None:
        """What the verdicts are worth: "exact", "independent-calls", "one-row-calls" or another
        word of :data:`.grounds.GUARANTEES`, from the settings and from what was seen.
        """
        return guarantee_of(self.settings, (flag.code for flag in self.flags))

    def corrected(
        self, method: Method | None = None, claim: Claim = "robust"
    ) -> Tensor:
        """Adjusted p-values (N,) of one list of claims: those at most q are right together.

        method: "holm" (no false claim at all), "by" and "ebh" (few false claims among those made),
        all three valid under any dependence and however rows stopped each other; "bh" (few false
        ones) for independent rows that were not stopped by what others said; "none". None takes
        "ebh" (from the e-values at the stop) after `resume=` and where a budget ended the run, if
        the test has e-values, else "holm". claim: "robust" or "not_robust". Raises ConfigError for
        another word, for "bh" after shared noise and for "ebh" after a test without e-values,
        StateError for rows that were chosen after the run (but "none"); a ReliabilityWarning says
        where "bh" is not valid.

        >>> from torchattacks_ext import PRTest
        >>> from torchattacks_ext.testing import RateVictim
        >>> test = PRTest(RateVictim(0.0), eps=0.1)
        >>> images, labels = torch.full((3, 1, 2, 2), 0.5), torch.zeros(3, dtype=torch.long)
        >>> result = test.measure(images, labels, ids=[1, 2, 3])
        >>> bool((result.corrected("holm") <= 0.01).all())
        True
        """
        if claim not in CLAIMS:
            raise ConfigError(f"claim={claim!r} is not one of {CLAIMS}")
        if self.chosen is not None and method != "none":
            raise StateError(
                f"corrected() needs all images that were tested; these are {self.chosen}"
            )
        why = dependence(self.settings, (flag.code for flag in self.flags))
        if method == "bh" and why is not None:
            raise ConfigError(
                f"method='bh' needs independent images, and {why}; use 'by', 'holm' or 'ebh'"
            )
        p_value = getattr(self, f"p_value_{claim}")
        log_e = getattr(self, f"log_e_{claim}")
        found = self._evidence()
        peeked = peeked_at(self.provenance, found.codes)
        return corrected(p_value, log_e, method, found, peeked)

    def sil(self, confidence: float = 0.95) -> SilBand:
        """Which SIL numeric band (IEC 61508, low demand) the mean failure rate falls in.

        From the upper bound of the mean failure rate of these images under this sampler, one-sided
        at `confidence`, in [0.75, 1). It is never a claim about the safety of a system: print the
        caveats with it. Raises StateError without such a bound (measure with n_mean=16).
        """
        return sil_of(self._evidence(), confidence)

    def _evidence(self) -> Evidence:
        refuted = self.verdict == int(Verdict.NOT_ROBUST)
        wrong = self.verdict == int(Verdict.MISCLASSIFIED)
        return Evidence(
            n=len(self),
            certified=int(self.certified.sum()),
            refuted=int((refuted | wrong | (self.clean_correct == 0)).sum()),
            n_mean=self.n_mean,
            mean_failures=self.mean_failures,
            settings=self.settings,
            codes=frozenset(flag.code for flag in self.flags),
            copies=self.n_copies,
            unknown=int(self.unknown.sum()),
            chosen=self.chosen,
        )

    def summary(self, confidence: float = 0.95) -> dict[str, Any]:
        """Counts of the verdicts, samples, and every claim about the data set as a whole.

        confidence in (0, 1): of `pra_interval` (two-sided: the chance that a new image is
        certified by this test, Clopper & Pearson 1934), of `count_bound` (one-sided: at least so
        many of *these* images are robust, if nobody chose them by an outcome), and of each end of
        `population_bounds` (the share of all images of the source that are right and robust) and
        `mean_failure_bounds` (the mean failure rate of *these* images). `claim` says what "robust"
        means here: without labels (reference="prediction", targeted modes) the share is
        `stable_share` or `target_missed_share`, with its interval, and `pra` is None. `sides`
        says so again; what
        does not hold is None, its reason in `left_out`. With groups, `groups` has the counts and
        the interval of each. Raises ConfigError for another confidence.
        """
        return {
            "n": len(self),
            "robust": self.count(Verdict.ROBUST),
            "not_robust": self.count(Verdict.NOT_ROBUST),
            "undecided": self.count(Verdict.UNDECIDED),
            "misclassified": self.count(Verdict.MISCLASSIFIED),
            **named(dataset_claims(self._evidence(), confidence), self.asked),
            "tolerance": self.settings.get("tolerance"),
            "significance": self.settings.get("significance"),
            "test": self.settings.get("test"),
            "guarantee": self.guarantee,
            "claim": self.asked.each,
            "samples": int(self.n_samples.sum()),
            **self.group_summaries(confidence),
        }
