"""What was found of a source, in numbers, in JSON and in words?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ...numerics.populations.transfer import Transfer
from ...results.base import codec
from .classes import ClassFacts

CONDITIONAL = "conditional on KL(joint) <= {eps:g} nats (unverified)"
_BOUNDS = "pinsker", "bretagnolle_huber", "inversion"


@dataclass(frozen=True)
class DistributionReport:
    """What :func:`distribution_report` found.

    Arguments:
        n (int): held-out images.
        tier (str): what their radii may be called.
        confidence (float): of each one-sided bound by itself.
        shares (dict): eps -> (share, lower bound) of right and certified images, in pixels.
        model_shares (dict): latent eps -> (share, lower, upper) under the fitted Gaussians, by
            draws.
        transfers (dict): latent eps -> what is left of that lower bound under `kl_joint`; empty
            without it.
        kl_joint (float): the assumed divergence, or None.
        kl_at_least (float): lower bound of KL(joint) in nats; beyond `kl_joint` it refutes it.
        classes (tuple): of each class.
        false_share (float): of the images, certified wrongly, in expectation at most: 0 but for
            radii with confidence.
        calibration (float): expected calibration error of the head's softmax, or None.
        overfit_gap (float): mean log likelihood of the rows of the fit minus that of held-out ones,
            in nats; None where they were not given.

    >>> DistributionReport(4, "certified", .95, {0.5: (1.0, 0.47)}, {}, {}, None, 0.0, ()).refuted
    False
    """

    n: int
    tier: str
    confidence: float
    shares: dict[float, tuple[float, float]]
    model_shares: dict[float, tuple[float, float, float]]
    transfers: dict[float, Transfer]
    kl_joint: float | None
    kl_at_least: float
    classes: tuple[ClassFacts, ...]
    false_share: float = 0.0
    calibration: float | None = None
    overfit_gap: float | None = None

    @property
    def refuted(self) -> bool:
        """Whether the data refute the assumed divergence, at the confidence of the report."""
        return self.kl_joint is not None and self.kl_at_least > self.kl_joint

    @property
    def status_of_transfers(self) -> str:
        """What a number of `transfers` may be called; "" without any."""
        known = self.kl_joint is not None
        return CONDITIONAL.format(eps=self.kl_joint) if known else ""

    def to_dict(self) -> dict[str, Any]:
        """Everything in JSON types; nan and infinities as text."""
        found = asdict(self) | {"refuted": self.refuted}
        found["transfers"] = {
            f"{eps:g}": dict(zip(_BOUNDS, one)) | {"status": self.status_of_transfers}
            for eps, one in self.transfers.items()
        }
        for one in found["classes"]:
            one["localised"] = dict(zip(("radius", "log_volume"), one["localised"]))
        plain: dict[str, Any] = codec.plain(found)
        return plain

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def _lines(report: DistributionReport) -> Iterator[str]:
    level = f"{report.confidence:.0%}"
    yield f"Certified share of the source ({report.n} held-out images; status: {report.tier})"
    for eps, (share, low) in report.shares.items():
        yield f"  eps {eps:g}: {share:.4f}, at least {low:.4f} at {level}"
    if report.false_share:
        yield (
            f"  of these, in expectation, at most {report.false_share:g} of all images are "
            "certified wrongly"
        )
    for eps, (share, low, high) in report.model_shares.items():
        ends = f"[{low:.4f}, {high:.4f}]"
        yield f"  under the fitted Gaussians, latent eps {eps:g}: {share:.4f} {ends}"
        if eps in report.transfers:
            left = report.transfers[eps].inversion
            yield f"    {report.status_of_transfers}: at least {left:.4f}"
    yield f"  KL(joint) is at least {report.kl_at_least:.4g} nats at {level}" + (
        ", which refutes the assumption" if report.refuted else ""
    )
    if report.overfit_gap is not None:
        yield (
            f"  rows of the fit are {report.overfit_gap:.4g} nats more likely than held-out ones"
        )
    if report.calibration is not None:
        yield f"  expected calibration error of the head: {report.calibration:.4f}"
    for k, one in enumerate(report.classes):
        yield (
            f"  class {k}: {one.n} rows; p of Gaussian: distances {_p(one.distance_p)}, skewness "
            f"{_p(one.skewness_p)}, kurtosis {_p(one.kurtosis_p)}, MMD {_p(one.mmd_p)}; others in "
            f"its set at most {one.overlap:.3g}"
        )
    yield "  (a law that is not rejected may be far from Gaussian)"


def _p(value: float) -> str:
    """A p-value; nan, which too few rows give, is no number.

    >>> _p(0.123), _p(float("nan"))
    ('0.12', 'n/a')
    """
    return "n/a" if value != value else f"{value:.2g}"
