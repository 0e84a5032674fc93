"""Within which distance does each image provably keep its answer, and what share is certified?"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from .._typing import NORMS, Norm, Status
from ..errors import ConfigError, InputError, StateError, StatusError
from ..numerics.arguments import parse_number
from .base.columns import column
from .base.shares import (
    check_confidence,
    left_out,
    reached,
    share,
    share_between,
)
from .sample import Sample

TIERS = (
    "certified",
    "certified with confidence",
    "conditional: L assumed",
    "claimed by another tool",
    "reproduction, not a certificate",
)
"""What radii may be called, by what they rest on; one table has one of them."""
FOREIGN = TIERS[3]
GRID: dict[str, tuple[float, ...]] = {
    "L2": (0.25, 0.5, 1.0),
    "Linf": (1 / 255, 2 / 255, 4 / 255),
    "L1": (0.25, 0.5, 1.0),
}
"""Radii of a summary, in pixel units."""


class CertifiedShare(NamedTuple):
    """Certified accuracy at `eps`: `value`, and the ends of its exact interval for a new image."""

    eps: float
    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Certificates(Sample):
    """Result of a certifier such as :class:`~torchattacks_ext.certify.Ellips`; one row an image.

    A row says: the classifier answers `label` on the *open* L2 ball of `radius` around the image,
    in [0, 1] pixel units (pixels outside [0, 1] included). It is a claim of constancy: whether the
    label is right is `clean_correct`. What the radii rest on is :attr:`tier`, one for the table.

    Arguments:
        status (Tensor): (N,) int8 codes of :class:`Status`.
        label (Tensor): (N,) int64 certified answer; -1 where the certifier abstains.
        prediction (Tensor): (N,) int64 answer, certified or not; -1 where it is not known.
        reference (Tensor): (N,) int64 labels; -1 where none were given.
        clean_correct (Tensor): (N,) int8, 1 or 0 (abstaining is not correct), -1 (no label).
        abstain (Tensor): (N,) int8, 1 or 0; -1 where the model raised.
        radius (Tensor): (N,) float64 >= 0 in the norm of the settings; 0 where it abstains, inf
            where no input is answered otherwise.
        latent_radius (Tensor): (N,) float64 radius before the encoder, in latent units.
        lipschitz (Tensor): (N,) float64 bound that took one to the other; of a smoothed classifier
            1 / sigma, the latent radius being Phi^-1 of its lower bound.
        n_samples (Tensor): (N,) int64 draws that bound the answer; 0 where none were made.
        hits (Tensor): (N,) int64 draws that gave `prediction`, where they were counted.
        n_close (Tensor): (N,) int64 answers to draws that were nearly ties, and asked again.

    Raises StateError for a radius that is negative, NaN, or not 0 where the row abstains.

    >>> from torchattacks_ext.certify import Ellips, EllipsHead, LipschitzBound
    >>> head = EllipsHead.from_parameters([[0.0], [1.0]], 1.0)
    >>> model = Ellips(torch.nn.Flatten(), head, LipschitzBound(1.0)).eval()
    >>> found = model.certify(torch.tensor([[0.2], [0.5], [0.9]]), [0, 0, 1], ids=[1, 2, 3])
    >>> [round(r, 4) for r in found.radius.tolist()], found.label.tolist()
    ([0.3, 0.0, 0.4], [0, -1, 1])
    >>> found.certified_accuracy(0.35).value == 1 / 3
    True
    """

    schema: ClassVar[str] = "certificates/1"
    no_number: ClassVar[str] = "NaN or infinite latents"

    status: Tensor = column(torch.int8, "decision", enum=Status)
    label: Tensor = column(torch.int64, "decision", nullable=True)
    prediction: Tensor = column(torch.int64, "decision", nullable=True)
    reference: Tensor = column(torch.int64, "decision", nullable=True)
    clean_correct: Tensor = column(torch.int8, "decision", nullable=True)
    abstain: Tensor = column(torch.int8, "decision", nullable=True)
    radius: Tensor = column(torch.float64, "measurement")
    latent_radius: Tensor = column(torch.float64, "measurement")
    lipschitz: Tensor = column(torch.float64, "measurement")
    n_samples: Tensor = column(torch.int64, "decision", missing=0)
    hits: Tensor = column(torch.int64, "decision", missing=0)
    n_close: Tensor = column(torch.int64, "provenance", missing=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        bad = ~(self.radius >= 0) | ((self.label < 0) & (self.radius != 0))
        if bool(bad.any()):
            row = int(bad.nonzero()[0])
            raise StateError(
                f"row {row} has radius={float(self.radius[row])!r} and label="
                f"{int(self.label[row])}; a radius is >= 0, and 0 where the row abstains"
            )

    # ------------------------------------------------------------------ what it rests on
    @property
    def tier(self) -> str:
        """How the radii may be called: one of :data:`TIERS`; the last where nothing says so."""
        return str(self.settings.get("tier", TIERS[-1]))

    @property
    def norm(self) -> Norm:
        """The norm of the radii."""
        found: Norm = self.settings.get("norm", "L2")
        return found

    @property
    def answered(self) -> Tensor:
        """(N,) bool: rows with an answer or an abstention; neither FAILED nor NOT_REACHED."""
        return reached(self.status)

    @property
    def fixed_radius(self) -> float | None:
        """The one radius that was asked for, where draws stopped when it was decided; else None.

        Rows have that radius or 0 then, and say nothing of others.
        """
        found: float | None = self.settings.get("fixed_radius")
        return found

    @property
    def closed(self) -> bool:
        """Whether the edges of the balls belong to the claim.

        They do where one radius was asked for, and for verdicts of a verifier on closed balls.
        """
        return self.fixed_radius is not None or bool(self.settings.get("closed"))

    def converted(self, norm: Norm) -> Certificates:
        """The same claims in another norm, weaker and labelled "converted"; from L2 only.

        |d|_2 <= sqrt(n) |d|_inf and |d|_2 <= |d|_1, so that R_inf = R_2 / sqrt(n), n numbers an
        image, and R_1 = R_2. Raises ConfigError for another norm, StatusError for radii that are
        converted already.
        """
        if norm not in NORMS:
            raise ConfigError(f"norm={norm!r} is not one of {NORMS}")
        if norm == self.norm:
            return self
        if self.norm != "L2":
            raise StatusError(
                f"radii in {self.norm} cannot be converted: only those in L2 can"
            )
        scale = 1.0
        if norm == "Linf":
            n = self.settings.get("n_inputs")
            if not n:
                raise StatusError(
                    "settings['n_inputs'], the numbers an image, is not known: certify again; "
                    "claims of other tools get it by foreign_certificates(..., n_inputs=)"
                )
            scale = (1 - 2**-50) / math.sqrt(n)
        settings = {**self.settings, "norm": norm, "converted": "from L2"}
        if self.fixed_radius is not None:
            settings["fixed_radius"] = self.fixed_radius * scale
        return replace(self, radius=self.radius * scale, settings=settings)

    @classmethod
    def concat(cls, results: Iterable[Certificates]) -> Certificates:
        """As :meth:`Result.concat`; StatusError also where the parts rest on different grounds."""
        parts = list(results)
        tiers = sorted({p.tier for p in parts if isinstance(p, Certificates)})
        if len(tiers) > 1:
            raise StatusError(
                f"radii that are {' and '.join(map(repr, tiers))} cannot stand in one table; keep "
                "one table for each"
            )
        return super().concat(parts)

    # ------------------------------------------------------------------ shares
    def certified(self, eps: float) -> Tensor:
        """(N,) bool: right, and provably so within `eps`: radius > eps, >= if `closed`.

        Raises ConfigError for eps < 0, InputError where labels are missing.
        """
        eps = parse_number(eps, "eps")
        only = self.fixed_radius
        if only is not None and eps != only:
            raise StatusError(
                f"these radii are {only:g} or 0: draws stopped when that was decided, and say "
                f"nothing of {eps:g}; certify without eps="
            )
        if bool((self.reference[self.answered] < 0).any()):
            raise InputError(
                "certified accuracy needs labels; pass certify(images, labels)"
            )
        # what was asked for is proved where p exceeds what it needs: for the closed ball
        far = self.radius >= eps if self.closed else self.radius > eps
        return (self.clean_correct == 1) & far & (self.label >= 0)

    def certified_accuracy(
        self, eps: float, confidence: float = 0.95
    ) -> CertifiedShare:
        """Share of images that are right and certified beyond `eps`, with its exact interval.

        eps: in pixel units and the norm of the settings, >= 0. The interval (Clopper & Pearson
        1934, two-sided) is for a new image of the same source; [0, 1] where rows were chosen. Rows
        on which the model raised are not certified, and may be for its upper end. nan without rows.
        Raises ConfigError for a confidence outside (0, 1).
        """
        check_confidence(confidence)
        k = int(self.certified(eps).sum())
        late = int((~self.answered).sum())
        said = self.chosen, self.n_copies
        ends, (low, high) = share_between(k, late, len(self), confidence, *said)
        return CertifiedShare(float(eps), ends[0], low, high)

    def curve(
        self, eps_grid: Iterable[float], confidence: float = 0.95
    ) -> list[CertifiedShare]:
        """:meth:`certified_accuracy` at each radius; the intervals hold one by one.

        Raises StatusError for other radii than the one that was asked for (`fixed_radius`).
        """
        return [self.certified_accuracy(eps, confidence) for eps in eps_grid]

    @property
    def clean_accuracy(self) -> float:
        """Share that is right without a perturbation (abstaining is not); nan without labels."""
        return share(self.clean_correct[self.clean_correct >= 0] == 1)

    def summary(self, confidence: float = 0.95) -> dict[str, Any]:
        """What the radii are, how large, and the certified accuracy at three of them.

        `certified_accuracy`: eps -> [value, low, high]. Raises ConfigError for a confidence outside
        (0, 1).
        """
        check_confidence(confidence)
        known = self.radius[self.answered]
        found: dict[str, Any] = {
            "n": len(self),
            "tier": self.tier,
            "method": self.settings.get("method"),
            "norm": self.norm + " (converted)" * ("converted" in self.settings),
            "abstained": int((self.abstain == 1).sum()),
            "median_radius": float(known.median()) if len(known) else math.nan,
            "confidence": confidence,
        }
        labelled = len(self) and not bool((self.reference[self.answered] < 0).any())
        if labelled:
            found |= self._accuracies(confidence)
        late = len(self) - int(self.answered.sum())
        return {
            **found,
            **({"failed": late} if late else {}),
            **left_out(
                {"certified_accuracy_interval": self.chosen if labelled else None}
            ),
            **self.group_summaries(confidence),
        }

    def _accuracies(self, confidence: float) -> dict[str, Any]:
        n, right = int(self.answered.sum()), int((self.clean_correct == 1).sum())
        said = self.chosen, self.n_copies
        _, interval = share_between(right, 0, n, confidence, *said)
        only = self.fixed_radius
        points = self.curve(GRID[self.norm] if only is None else (only,), confidence)
        return {
            "clean_accuracy": self.clean_accuracy,
            "clean_accuracy_interval": interval,
            "certified_accuracy": {f"{p.eps:.4g}": list(p[1:]) for p in points},
        }
