"""What did an attack leave? One row an image, judged by the runner and never by the attack."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from .._typing import Status, Verdict
from ..numerics.rates.binomial import clopper_pearson
from .base import codec
from .base.columns import column
from .base.facts import Flag
from .base.shares import (
    check_confidence,
    left_out,
    open_rows,
    share,
    share_between,
)
from .sample import Sample
from .unfixed import (
    PROTOCOLS,
    Tallies,
    draws_flag,
    joined_tallies,
    of_answers,
    of_draws,
    of_tallies,
    protocols_flag,
)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class AttackResult(Sample):
    """Result of one attack; one row an image.

    `verdict` is NOT_ROBUST with a witness inside the ball, MISCLASSIFIED when the clean image is
    wrong, else UNDECIDED: no attack proves robustness. A candidate counts only projected on the
    ball.

    Arguments:
        verdict (Tensor): (N,) int8 codes of :class:`Verdict`.
        status (Tensor): (N,) int8 codes of :class:`Status`.
        reference (Tensor): (N,) int64 labels.
        clean_correct (Tensor): (N,) int8, 1 or 0.
        prediction (Tensor): (N,) int64 answer for the judged candidate.
        margin (Tensor): (N,) float64 margin of the judged candidate; < 0 = fooled.
        clean_margin (Tensor): (N,) float64 margin of the clean image.
        norm (Tensor): (N,) float64 norm of the judged change.
        found_norm (Tensor): (N,) float64 norm of what the attack returned, before projection,
            where it fools the model (nan elsewhere): a minimum-norm attack keeps its own number.
        first_breaker (Tensor): (N,) int64 number of the part of the attack that broke the row, in
            :attr:`sources`; -1 for none, or for an attack of one part.
        stopped_by (Tensor): (N,) int64 number of the part before which a gate stopped an unbroken
            row, in :attr:`sources`: it was not attacked further; -1 for none.
        iso_correct (Tensor): (N,) int8 of a batch-dependent target: 1 where the row withstood the
            attack on itself alone, its companions clean; -1 for other targets.
        union_correct (Tensor): the same where the attacker has the whole batch, in any batch shown.
        realised_correct (Tensor): the same in the one batch with most rows wrong at once.
        fresh_draws (Tensor): (N,) int64 of a randomised target: draws that were counted after the
            attack; 0 for other targets.
        fresh_correct (Tensor): (N,) int64 of them that were right on the candidate.
        clean_fresh_correct (Tensor): (N,) int64 of as many that were right on the clean image.
        control_fresh_correct (Tensor): (N,) int64 of as many more on the clean image.
        control_broken (Tensor): (N,) int8, 1 where most of those are wrong and most of the others
            right: what the rule would call broken though nobody touched it; -1 where not known.

    >>> from torchattacks_ext import evaluate
    >>> from torchattacks_ext.testing import HalfSpace
    >>> model, image = HalfSpace(torch.tensor([1.0, 0.0]), -0.4), torch.tensor([[0.5, 0.5]])
    >>> plan = {"eps": 0.2, "stages": [{"name": "FGSM"}]}
    >>> evaluate(model, (image, torch.tensor([0])), plan)["FGSM"].result.robust_accuracy
    0.0
    """

    schema: ClassVar[str] = "attack/1"
    retold: ClassVar[tuple[str, ...]] = ("fresh_draws", "batch_protocols")

    verdict: Tensor = column(torch.int8, "decision", enum=Verdict)
    status: Tensor = column(torch.int8, "decision", enum=Status)
    reference: Tensor = column(torch.int64, "decision")
    clean_correct: Tensor = column(torch.int8, "decision", nullable=True)
    prediction: Tensor = column(torch.int64, "decision")
    margin: Tensor = column(torch.float64, "measurement")
    clean_margin: Tensor = column(torch.float64, "measurement")
    norm: Tensor = column(torch.float64, "measurement")
    found_norm: Tensor = column(torch.float64, "measurement")
    first_breaker: Tensor = column(torch.int64, "provenance", nullable=True, missing=-1)
    stopped_by: Tensor = column(torch.int64, "provenance", nullable=True, missing=-1)
    iso_correct: Tensor = column(torch.int8, "decision", nullable=True, missing=-1)
    union_correct: Tensor = column(torch.int8, "decision", nullable=True, missing=-1)
    realised_correct: Tensor = column(torch.int8, "decision", nullable=True, missing=-1)
    fresh_draws: Tensor = column(torch.int64, "provenance", missing=0)
    fresh_correct: Tensor = column(torch.int64, "measurement", missing=0)
    clean_fresh_correct: Tensor = column(torch.int64, "measurement", missing=0)
    control_fresh_correct: Tensor = column(torch.int64, "measurement", missing=0)
    control_broken: Tensor = column(
        torch.int8, "measurement", nullable=True, missing=-1
    )

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the parts of the attack, "model/attack"; () for an attack of one part."""
        return tuple(self.settings.get("sources", ()))

    @property
    def rel(self) -> Tensor:
        """(N,) smallest margin that was judged, as a share of the clean margin: what gates ask."""
        return self.margin / self.clean_margin

    @property
    def breakdown(self) -> dict[str, dict[str, Any]]:
        """What each part did: rows tried, fooled, broken first; offers, row-passes, seconds."""
        return {k: dict(v) for k, v in self.provenance.get("breakdown", {}).items()}

    @property
    def protocols(self) -> dict[str, Any]:
        """Accuracies of a batch-dependent target: protocol -> one value a partition; {} for others.

        "clean", "iso" (one image attacked), "union" and "realised" (the batch attacked),
        "bystanders" (clean images beside attackers) with "bystanders_clean". Of some rows of a
        run, or where counts are not known, the first partition's alone, without bystanders.
        """
        told = of_tallies(self.tallies) or self.provenance.get("protocols", {})
        answers = {name: getattr(self, f"{name}_correct") for name in PROTOCOLS}
        return dict(told) or of_answers(self.clean_correct, answers)

    @property
    def tallies(self) -> Tallies:
        """Counts of a batch-dependent target's deployed batches, by partition; {} for others."""
        return {int(k): v for k, v in self.provenance.get("tallies", {}).items()}

    @property
    def randomised(self) -> dict[str, Any]:
        """Accuracies of a randomised target by fresh draws, with the control; {} for others."""
        counts = {
            "clean": self.clean_fresh_correct,
            "found": self.fresh_correct,
            "control": self.control_fresh_correct,
        }
        broken = self.verdict == int(Verdict.NOT_ROBUST)
        right = self.clean_correct == 1
        return of_draws(self.fresh_draws, right, broken, counts, self.control_broken)

    @classmethod
    def _joined_facts(cls, parts: Sequence[AttackResult]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        books = [part.breakdown for part in parts]
        if all(books):
            found["breakdown"] = joined_books(books)
        tallies = joined_tallies([part.tallies for part in parts])
        if tallies:
            found["tallies"] = {str(number): t for number, t in tallies.items()}
        return found

    def told(self) -> tuple[Flag, ...]:
        """What must stand beside the rows of a target whose answers are not fixed, in sentences."""
        found, numbers, settings = [], self.randomised, self.settings
        if numbers:
            found.append(draws_flag(numbers))
        if "headline" in settings and self.protocols:
            how = settings["headline"], settings["deployed_batch"]
            found.append(protocols_flag(self.protocols, *how))
        return tuple(found)

    def fresh_bounds(self, confidence: float = 0.95) -> tuple[Tensor, Tensor]:
        """(N,) exact limits of each row's chance of a right answer, by its fresh draws.

        Clopper & Pearson 1934. (0, 1) for rows without draws. Raises ConfigError for a confidence
        outside (0, 1).
        """
        draws = self.fresh_draws.numpy()
        low, high = clopper_pearson(
            self.fresh_correct.numpy(), np.maximum(draws, 1), confidence
        )
        none = draws == 0
        return (
            torch.from_numpy(np.where(none, 0.0, low)),
            torch.from_numpy(np.where(none, 1.0, high)),
        )

    def save_robustbench(self, path: str | os.PathLike[str]) -> None:
        """Write the kept images as the (N, ...) tensor of RobustBench's external evaluation.

        Raises InputError where no images were kept (measure with keep="memory" or a folder).
        """
        images = self.images().float().contiguous()
        with codec.replacing(path) as part:
            torch.save(images, part)

    def count(self, verdict: Verdict) -> int:
        """How many images have this verdict."""
        return int((self.verdict == int(verdict)).sum())

    @property
    def unknown(self) -> Tensor:
        """(N,) bool: rows that the run did not get through; neither robust nor broken."""
        return open_rows(self.verdict, self.status)

    @property
    def robust(self) -> Tensor:
        """(N,) bool: correct on the clean image and not broken by this attack, all of it."""
        right = (self.clean_correct == 1) & (self.verdict == int(Verdict.UNDECIDED))
        return right & ~self.unknown

    @property
    def robust_accuracy(self) -> float:
        """Share of images that are correct and not broken: an upper bound of the true one.

        nan for no images, and where the run did not get through one (the budget ended, or the
        attack failed): `summary` then says between which bounds it lies.
        """
        return float("nan") if bool(self.unknown.any()) else share(self.robust)

    @property
    def clean_accuracy(self) -> float:
        """Share of right answers without any change, among images that were looked at."""
        return share(self.clean_correct[self.clean_correct >= 0] == 1)

    def summary(self, confidence: float = 0.95) -> dict[str, Any]:
        """Accuracies with two-sided exact intervals (Clopper & Pearson 1934) over the data set.

        `robust_accuracy_bounds`: [lower, upper] over rows that the run did not get through; the
        interval holds however they end. `clean_n`: images that were looked at, where not all were.
        Of rows that were chosen an interval says nothing (`left_out`). With groups, `groups` has
        the same of each. Raises ConfigError for a confidence outside (0, 1).
        """
        check_confidence(confidence)
        n, unknown = len(self), int(self.unknown.sum())
        left, right = int(self.robust.sum()), int((self.clean_correct == 1).sum())
        counted = left, unknown, n, confidence
        bounds, interval = share_between(*counted, self.chosen, self.n_copies)
        looked = int((self.clean_correct >= 0).sum())
        known = right and not unknown
        return {
            "n": n,
            "clean_accuracy": self.clean_accuracy,
            **({"clean_n": looked} if looked < n else {}),
            "robust_accuracy": self.robust_accuracy,
            **({"robust_accuracy_bounds": bounds} if unknown else {}),
            "robust_accuracy_interval": interval,
            "confidence": confidence,
            "success_rate": (right - left) / right if known else float("nan"),
            "failed": int((self.status == int(Status.FAILED)).sum()),
            **({"protocols": self.protocols} if self.protocols else {}),
            **({"randomised": self.randomised} if self.randomised else {}),
            **left_out({"robust_accuracy_interval": self.chosen}),
            **self.group_summaries(confidence),
        }


def joined_books(
    books: Sequence[Mapping[str, Mapping[str, Any]]],
) -> dict[str, dict[str, Any]]:
    """The accounts of several runs as one, source by source, in the order of the first.

    >>> joined_books([{"a": {"tried": 1}}, {"a": {"tried": 2}, "b": {"tried": 4}}])
    {'a': {'tried': 3}, 'b': {'tried': 4}}
    """
    found: dict[str, dict[str, Any]] = {}
    for name, account in (item for one in books for item in one.items()):
        total = found.setdefault(name, {})
        for key, value in account.items():
            total[key] = total.get(key, 0) + value
    return found
