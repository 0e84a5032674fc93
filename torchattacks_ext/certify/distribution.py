"""What do certificates of some images say of their source? Shares, and what KL cannot do.

The primary number is a share of held-out images with its exact interval; it needs no law of the
latents. Beside it stand the share under the fitted Gaussians, what is left of that under an assumed
divergence (conditional, and unverified), a lower bound of the divergence that can refute the
assumption, and diagnostics of the Gaussians, which prove nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, InputError
from ..numerics.arguments import check_confidence, parse_number, parse_seed, parse_whole
from ..numerics.latents.gaussian import distance_test, fit_divergence, mardia
from ..numerics.latents.localisation import Localisation, localised, overlap_bound
from ..numerics.populations.transfer import Transfer, kl_lower_bound, kl_transfer
from ..numerics.rates.binomial import lower_bound, upper_bound
from ..results.base import codec
from ..results.certificates import Certificates
from .ellips.head import EllipsHead

CONDITIONAL = "conditional on KL(joint) <= {eps:g} nats (unverified)"
MOST_ROWS = 2000
"""Rows of a class that Mardia's tests look at: they need a matrix of all pairs."""


@dataclass(frozen=True)
class ClassFacts:
    """One Gaussian of the fit, and held-out latents of its class.

    n: held-out rows. distance_p, skewness_p, kurtosis_p: p-values of "Gaussian"; nan where there
    are too few rows. localised: of the share 1 - delta. overlap: at most the share of all other
    classes in that set, summed. fit_kl: what the divergence of a fit to n rows is in the ideal
    case.
    """

    n: int
    distance_p: float
    skewness_p: float
    kurtosis_p: float
    localised: Localisation
    overlap: float
    fit_kl: float


@dataclass(frozen=True)
class DistributionReport:
    """What :func:`distribution_report` found.

    Arguments:
        n (int): held-out images.
        tier (str): what their radii may be called.
        confidence (float): of each one-sided bound by itself.
        shares (dict): eps -> (share, lower bound) of right and certified images, in pixels.
        model_shares (dict): latent eps -> (share, lower, upper) under the fitted Gaussians, by
        draws. transfer (Transfer): what is left of the first of these under `kl_joint`, or None.
        kl_joint (float): the assumed divergence, or None. kl_at_least (float): lower bound of
        KL(joint) in nats; beyond `kl_joint` it refutes it. classes (tuple): of each class.

    >>> DistributionReport(4, "certified", .95, {0.5: (1.0, 0.47)}, {}, None, None, 0.0, ()).refuted
    False
    """

    n: int
    tier: str
    confidence: float
    shares: dict[float, tuple[float, float]]
    model_shares: dict[float, tuple[float, float, float]]
    transfer: Transfer | None
    kl_joint: float | None
    kl_at_least: float
    classes: tuple[ClassFacts, ...]

    @property
    def refuted(self) -> bool:
        """Whether the data refute the assumed divergence, at the confidence of the report."""
        return self.kl_joint is not None and self.kl_at_least > self.kl_joint

    def to_dict(self) -> dict[str, Any]:
        """Everything in JSON types; nan and infinities as text."""
        found = asdict(self) | {"refuted": self.refuted}
        if self.transfer is not None:
            names = "pinsker", "bretagnolle_huber", "inversion"
            found["transfer"] = dict(zip(names, self.transfer))
        for one in found["classes"]:
            one["localised"] = dict(zip(("radius", "log_volume"), one["localised"]))
        plain: dict[str, Any] = codec.plain(found)
        return plain

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def distribution_report(
    head: EllipsHead,
    latents: Tensor,
    labels: Tensor,
    certificates: Certificates,
    *,
    eps_grid: Iterable[Any] = (0.25, 0.5, 1.0),
    latent_eps: Iterable[Any] = (0.0,),
    kl_joint: float | None = None,
    delta: float = 0.05,
    n_draws: int = 20_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> DistributionReport:
    """Certified shares of a source, and how far a fitted Gaussian mixture may be from it.

    head: the classifier, one Gaussian a class. latents (N, d), labels (N,): held out, not those it
    was fitted on. certificates: of the same images, with labels. eps_grid: radii in pixels.
    latent_eps: radii in latent units for the share under the fitted Gaussians (n_draws draws of
    them). kl_joint: an assumed bound of the divergence of the joint law of latent and label from
    the fitted one, in nats. The bounds hold one by one. No forward row-pass.

    Raises InputError for other shapes, ConfigError for values outside their domains.

    >>> from torchattacks_ext.certify import Ellips, LipschitzBound
    >>> head = EllipsHead.from_parameters([[0.0], [4.0]], [[1.0]], covariance="shared")
    >>> z = torch.linspace(0, 1, 120)[:, None]
    >>> y = (z[:, 0] > 0.5).long()
    >>> small = EllipsHead.from_parameters([[0.0], [1.0]], [[1.0]], covariance="shared")
    >>> model = Ellips(torch.nn.Flatten(), small, LipschitzBound(1.0)).eval()
    >>> found = distribution_report(head, 4 * z, y, model.certify(z, y), kl_joint=0.1, n_draws=1000)
    >>> found.shares[0.25][0] >= found.shares[0.25][1], found.transfer is None
    (True, False)
    """
    check_confidence(confidence)
    seed = parse_seed(seed)
    _check(head, latents, labels, certificates)
    n_draws = parse_whole(n_draws, "n_draws", 1)
    level, n = 1 - confidence, len(certificates)
    shares = {}
    for eps in (parse_number(one, "eps_grid") for one in eps_grid):
        hits = int(certificates.certified(eps).sum())
        shares[eps] = (hits / n, float(lower_bound(hits, n, level)))
    drawn = {}
    z, y = _drawn(head, n_draws, seed)
    radius = torch.where(head.half_scores(z).argmax(1) == y, head.radius(z).cpu(), -1.0)
    for eps in (parse_number(one, "latent_eps") for one in latent_eps):
        k = int((radius > eps).sum())
        ends = lower_bound(k, n_draws, level), upper_bound(k, n_draws, level)
        drawn[eps] = (k / n_draws, float(ends[0]), float(ends[1]))
    transfer = None
    if kl_joint is not None and drawn:
        transfer = kl_transfer(next(iter(drawn.values()))[1], kl_joint)
    return DistributionReport(
        n=n,
        tier=certificates.tier,
        confidence=confidence,
        shares=shares,
        model_shares=drawn,
        transfer=transfer,
        kl_joint=kl_joint,
        kl_at_least=_divergence(head, latents, labels, (z, y), level),
        classes=tuple(_classes(head, latents.double().cpu(), labels.cpu(), delta)),
    )


def _check(
    head: EllipsHead, latents: Tensor, labels: Tensor, certificates: Certificates
) -> None:
    if not head.pairs.mixture.one_each:
        raise ConfigError(
            "head has several Gaussians a class; the report is of one a class"
        )
    if latents.dim() != 2 or latents.shape[1] != head.dim:
        raise InputError(
            f"latents have shape {tuple(latents.shape)}, expected (N, {head.dim})"
        )
    if len(latents) != len(labels) or len(latents) != len(certificates):
        raise InputError(
            f"{len(latents)} latents, {len(labels)} labels and {len(certificates)} certificates; "
            "give those of the same images"
        )
    if not len(latents):
        raise InputError("no images: there is nothing to report")


def _covariances(head: EllipsHead) -> list[np.ndarray[Any, Any]]:
    mixture, found = head.pairs.mixture, []
    for c in range(mixture.n_components):
        p = mixture.precision(c).cpu()
        found.append(np.linalg.inv((torch.diag(p) if p.dim() == 1 else p).numpy()))
    return found


def _priors(head: EllipsHead) -> np.ndarray[Any, Any]:
    """pi_k, from b_k = ln det P_k + 2 ln pi_k up to a constant."""
    dets = [-np.linalg.slogdet(cov)[1] for cov in _covariances(head)]
    half = (head.biases.detach().cpu().numpy() - np.array(dets)) / 2
    share: np.ndarray[Any, Any] = np.exp(half - half.max())
    found: np.ndarray[Any, Any] = share / share.sum()
    return found


def _drawn(head: EllipsHead, n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Latents (n, d) and classes (n,) of the fitted mixture."""
    rng = np.random.default_rng(seed)
    y = rng.choice(head.n_classes, n, p=_priors(head))
    roots = np.stack([np.linalg.cholesky(cov) for cov in _covariances(head)])
    steps = rng.standard_normal((n, head.dim))
    means = head.means.detach().cpu().numpy()
    z = np.empty_like(steps)
    for k in range(head.n_classes):
        z[y == k] = means[k] + steps[y == k] @ roots[k].T
    return torch.from_numpy(z), torch.from_numpy(y)


def _divergence(
    head: EllipsHead,
    latents: Tensor,
    labels: Tensor,
    drawn: tuple[Tensor, Tensor],
    level: float,
) -> float:
    """A lower bound of KL(joint | fitted) by the event "the head is right".

    Its probability under the fit is known from draws only: half of the level is for that.
    """
    right = int((head.half_scores(latents).argmax(1).cpu() == labels.cpu()).sum())
    z, y = drawn
    k, m = int((head.half_scores(z).argmax(1).cpu() == y).sum()), len(y)
    ends = float(lower_bound(k, m, level / 4)), float(upper_bound(k, m, level / 4))
    return (
        min(kl_lower_bound(right, len(labels), q, level / 2) for q in ends)
        if (not ends[0] <= right / len(labels) <= ends[1])
        else 0.0
    )


def _classes(
    head: EllipsHead, z: Tensor, y: Tensor, delta: float
) -> Iterable[ClassFacts]:
    covariances, means = _covariances(head), head.means.detach().cpu().numpy()
    for k, covariance in enumerate(covariances):
        own = z[y == k].numpy()
        size = localised(head.dim, delta, float(np.linalg.slogdet(covariance)[1]))
        others = [
            overlap_bound(means[i], covariances[i], means[k], covariance, size.radius)
            for i in range(len(covariances))
            if i != k
        ]
        factor = np.linalg.cholesky(np.linalg.inv(covariance)).T
        tests = (math.nan,) * 3
        if len(own) > head.dim + 1:
            whole = mardia(own[:MOST_ROWS])
            tests = (
                distance_test(own, means[k], factor),
                whole.skewness_p,
                whole.kurtosis_p,
            )
        ideal = fit_divergence(head.dim, len(own)) if len(own) else math.inf
        yield ClassFacts(len(own), *tests, size, min(1.0, sum(others)), ideal)


def _lines(report: DistributionReport) -> Iterable[str]:
    level = f"{report.confidence:.0%}"
    yield f"Certified share of the source ({report.n} held-out images; status: {report.tier})"
    for eps, (share, low) in report.shares.items():
        yield f"  eps {eps:g}: {share:.4f}, at least {low:.4f} at {level}"
    for eps, (share, low, high) in report.model_shares.items():
        ends = f"[{low:.4f}, {high:.4f}]"
        yield f"  under the fitted Gaussians, latent eps {eps:g}: {share:.4f} {ends}"
    if report.transfer is not None and report.kl_joint is not None:
        said = CONDITIONAL.format(eps=report.kl_joint)
        yield f"  {said}: at least {report.transfer.inversion:.4f}"
    yield f"  KL(joint) is at least {report.kl_at_least:.4g} nats at {level}" + (
        ", which refutes the assumption" if report.refuted else ""
    )
    for k, one in enumerate(report.classes):
        yield (
            f"  class {k}: {one.n} rows; p of Gaussian: distances {one.distance_p:.2g}, skewness "
            f"{one.skewness_p:.2g}, kurtosis {one.kurtosis_p:.2g}; others in its set at most "
            f"{one.overlap:.3g}"
        )
    yield "  (a law that is not rejected may be far from Gaussian)"
