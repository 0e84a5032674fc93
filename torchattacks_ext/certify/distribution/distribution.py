"""What share of a source is certified, and what may be said of it by the fitted Gaussians?

The primary number is a share of held-out images with its exact bound; it needs no law of the
latents. Beside it stand the share under the fitted Gaussians, what is left of that under an assumed
divergence (conditional, and unverified), a lower bound of the divergence that can refute the
assumption, and diagnostics of the Gaussians, which prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ...data.door import as_tensor, check_label_range, check_labels
from ...errors import InputError, StatusError
from ...numerics.arguments import (
    check_confidence,
    parse_number,
    parse_seed,
    parse_whole,
)
from ...numerics.calibration import calibration_error, softmax_scores
from ...numerics.populations.transfer import kl_transfer
from ...numerics.rates.binomial import lower_bound, upper_bound
from ...results.certificates import TIERS, Certificates
from ..ellips.head import EllipsHead
from .classes import class_facts
from .divergence import Pairs, divergence_at_least, overfit_gap
from .fitted import fitted_law
from .report import DistributionReport

NEAR = 1e-3
"""Latent distance to the next answer up to which float32 latents may fall on its other side."""


def distribution_report(
    head: EllipsHead,
    latents: Tensor,
    labels: Tensor,
    certificates: Certificates,
    *,
    eps_grid: Iterable[Any] = (0.25, 0.5, 1.0),
    latent_eps: Iterable[Any] = (0.0,),
    kl_joint: float | None = None,
    fitted_on: Pairs | None = None,
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
    the fitted one, in nats. fitted_on: latents and labels of the fit, for the gap of likelihoods.
    delta: each class is localised up to that share. The bounds hold one by one. No forward
    row-pass.

    Raises InputError for other shapes or classes, and for certificates of an Ellips of which the
    head answers otherwise at these latents (other images, another order or another head);
    StatusError for certificates that are none, ConfigError for values outside their domains.

    >>> from torchattacks_ext.certify import Ellips, LipschitzBound
    >>> z = torch.linspace(0, 1, 120)[:, None]
    >>> y = (z[:, 0] > 0.5).long()
    >>> head = EllipsHead.from_parameters([[0.0], [1.0]], [[1.0]], covariance="shared")
    >>> model = Ellips(torch.nn.Flatten(), head, LipschitzBound(1.0)).eval()
    >>> found = distribution_report(head, z, y, model.certify(z, y), kl_joint=0.1, n_draws=1000)
    >>> found.shares[0.25][0] >= found.shares[0.25][1], list(found.transfers)
    (True, [0.0])
    >>> print(str(found).splitlines()[5].strip()[:49])
    conditional on KL(joint) <= 0.1 nats (unverified)
    """
    check_confidence(confidence)
    seed, level = parse_seed(seed), 1 - confidence
    latents, labels = _check(head, latents, labels, certificates)
    n_draws = parse_whole(n_draws, "n_draws", 1)
    law = fitted_law(head)
    drawn = law.draws(n_draws, seed)
    assumed = None if kl_joint is None else parse_number(kl_joint, "kl_joint")
    model_shares = _model_shares(head, drawn, latent_eps, level)
    z, y = latents.double().cpu(), labels.cpu()
    confident = certificates.tier == TIERS[1]
    return DistributionReport(
        n=len(certificates),
        tier=certificates.tier,
        confidence=confidence,
        shares=_shares(certificates, eps_grid, level),
        model_shares=model_shares,
        transfers={
            eps: kl_transfer(low, assumed)
            for eps, (_, low, _) in model_shares.items()
            if assumed is not None
        },
        kl_joint=assumed,
        kl_at_least=divergence_at_least(head, (latents, labels), drawn, level),
        classes=tuple(class_facts(law, z, y, delta, seed)),
        false_share=float(certificates.settings["significance"]) if confident else 0.0,
        calibration=_calibration(head, latents, y),
        overfit_gap=(
            None
            if fitted_on is None
            else overfit_gap(head, fitted_on, (latents, labels))
        ),
    )


def _check(
    head: EllipsHead, latents: Any, labels: Any, certificates: Certificates
) -> Pairs:
    """Latents and labels as tensors that belong to the certificates."""
    if not isinstance(certificates, Certificates):
        raise StatusError(
            f"certificates is {type(certificates).__name__}, expected Certificates of these images"
        )
    latents, labels = as_tensor(latents, "latents"), as_tensor(labels, "labels")
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
    labels = check_labels(labels, len(latents))
    check_label_range(labels, head.n_classes)
    _same_images(head, latents, certificates)
    return latents, labels


def _same_images(head: EllipsHead, latents: Tensor, table: Certificates) -> None:
    """Raises InputError where an Ellips answered otherwise than the head does at its latents."""
    if table.settings.get("certifier") != "Ellips" or not bool(
        latents.isfinite().all()
    ):
        return  # a smoothed classifier answers for itself, and so do other tools
    sure = (table.label >= 0) & (table.latent_radius > NEAR)
    odd = sure & (head.half_scores(latents).argmax(1).cpu() != table.label)
    if bool(odd.any()):
        raise InputError(
            f"the head answers {int(odd.sum())} of {len(odd)} latents otherwise than their "
            "certificates do: they are of other images, in another order, or of another head"
        )


def _shares(
    certificates: Certificates, eps_grid: Iterable[Any], level: float
) -> dict[float, tuple[float, float]]:
    n, found = len(certificates), {}
    for eps in (parse_number(one, "eps_grid") for one in eps_grid):
        hits = int(certificates.certified(eps).sum())
        found[eps] = hits / n, float(lower_bound(hits, n, level))
    return found


def _model_shares(
    head: EllipsHead, drawn: Pairs, latent_eps: Iterable[Any], level: float
) -> dict[float, tuple[float, float, float]]:
    z, y = drawn
    right = head.half_scores(z).argmax(1).cpu() == y
    radius, n, found = torch.where(right, head.radius(z).cpu(), -1.0), len(y), {}
    for eps in (parse_number(one, "latent_eps") for one in latent_eps):
        k = int((radius > eps).sum())
        low, high = float(lower_bound(k, n, level)), float(upper_bound(k, n, level))
        found[eps] = k / n, low, high
    return found


def _calibration(head: EllipsHead, latents: Tensor, labels: Tensor) -> float:
    """Of softmax(s / 2), the posterior under the fit."""
    scores = head.half_scores(latents).cpu()
    confidence = softmax_scores(scores, labels)[0]
    right = (scores.argmax(1) == labels).double()
    return calibration_error(confidence.numpy(), right.numpy())
