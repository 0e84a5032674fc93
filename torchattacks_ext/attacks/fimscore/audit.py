"""Is the gradient what the outputs do around the image? Scores at finite steps beside lambda.

A model that hides its gradient has a small lambda and still moves its outputs within eps. So the
black-box sketch is taken with steps as long as the radius, |h v|_2 = eps, and compared with lambda
of the gradient. Where the gradient is honest and the net smooth the two agree; a ratio far above 1
says that the outputs move where the gradient says that they do not.

At a kink (a ReLU at 0, a tie in a max pool) the derivative is one-sided, and lambda that of the
side which the framework picks. There a tiny step along the eigenvector moves the logits more on one
side than on the other: V+ and V-, the quadratic forms of both one-sided differences, are not equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..._typing import LogitsFn
from ...data.stream import Batch
from ...numerics.fisher.blackbox.sketch import sketch
from ...numerics.fisher.factor import softmax_factor
from ...numerics.fisher.spectral import Ending, row_norms
from ...numerics.losses import was_masked
from .scoring import score
from .settings import FIMSettings

SUSPICIOUS = 10.0
"""Ratio of the finite to the infinitesimal score above which a gradient is suspected."""
ONE_SIDED = 2.0
"""Ratio of V+ to V- above which an image is said to lie on a kink."""
ROUNDINGS = 100.0
"""Changes of logits below so many units of their rounding say nothing."""


@dataclass(frozen=True, eq=False)
class GradientAudit:
    """What the outputs do within eps beside what their gradient says; one row an image.

    log_ratio (N,) float64: log of the score at finite steps over lambda; inf where lambda is 0 and
    the outputs move, nan where neither does or a score is not finite. eps: length of a step in L2.
    log_sides (N,) float64: log V+ / V- at steps of root mean square 1e-3 (float64: 1e-5) along the
    top eigenvector, 0 on a smooth function; nan where rounding hides the change of the logits.

    >>> ratios, sides = torch.tensor([[0.1, 3.0, float("nan")], [0.0, 0.1, 2.0]]).double()
    >>> audit = GradientAudit(ratios, 0.5, sides)
    >>> audit.suspicious.tolist(), audit.n_suspicious, audit.n_one_sided
    ([False, True, False], 1, 1)
    """

    log_ratio: Tensor
    eps: float
    log_sides: Tensor

    @property
    def suspicious(self) -> Tensor:
        """(N,) bool: the ratio exceeds 10."""
        return self.log_ratio.exp() > SUSPICIOUS

    @property
    def n_suspicious(self) -> int:
        """How many images."""
        return int(self.suspicious.sum())

    @property
    def n_one_sided(self) -> int:
        """How many images lie on a kink: V+ and V- differ by more than a factor 2."""
        return int((self.log_sides.abs().exp() > ONE_SIDED).sum())

    def __repr__(self) -> str:
        known = self.log_ratio[~self.log_ratio.isnan()]
        median = float(known.median().exp()) if len(known) else float("nan")
        words = "gradient masking suspected: run the black box and MSA"
        said = words if self.n_suspicious > 0.1 * max(len(known), 1) else "no suspicion"
        return (
            f"GradientAudit(n={len(self.log_ratio)}, median ratio {median:.3g}, "
            f"{self.n_suspicious} above {SUSPICIOUS:g}: {said}; {self.n_one_sided} on a kink)"
        )


def audit_batch(
    settings: FIMSettings, view: LogitsFn, batch: Batch, n_directions: int
) -> GradientAudit:
    """The audit of one batch; runs inside a session of the model."""
    scored = score(settings, view, batch.images, batch.ids)
    size, eps = batch.images[0].numel(), float(settings.eps)
    with torch.no_grad():
        found = sketch(
            view,
            batch.images,
            batch.ids,
            seed=settings.seed,
            n_directions=min(n_directions, size),
            h=eps / size**0.5,
            bounds=settings.bounds,
            check=False,
            max_rows=settings.batch_size,
        )
        sides = log_sides(view, batch.images, scored.action.logits, scored.top.u1)
    exact = scored.top.log_lam.cpu()
    neither = (found.status == int(Ending.ZERO_GRADIENT)) & (exact == -torch.inf)
    ratio: Tensor = (found.log_lam - exact).masked_fill(neither, torch.nan)
    return GradientAudit(ratio, eps, sides.cpu())


def joined(parts: Sequence[GradientAudit], eps: float) -> GradientAudit:
    """The audits of the batches of one run as one; eps: of the run, which may have no batch."""
    none = torch.zeros(0, dtype=torch.float64)
    ratio = torch.cat([none, *(part.log_ratio for part in parts)])
    return GradientAudit(
        ratio, eps, torch.cat([none, *(part.log_sides for part in parts)])
    )


def log_sides(view: LogitsFn, images: Tensor, logits: Tensor, u1: Tensor) -> Tensor:
    """log V+ / V- (B,), V = |N^T D y|^2 of the change y of the logits on either side.

    With the softmax at the image on both sides, so that its own curvature plays no part. 2 forward
    row-passes an image.
    """
    rms = 1e-5 if logits.dtype == torch.float64 else 1e-3
    step = (rms * u1.shape[1] ** 0.5 * u1).view_as(images).to(images.dtype)
    factor = softmax_factor(logits)
    size = logits.abs().masked_fill(was_masked(logits), 0.0).amax(1)
    floor = ROUNDINGS * torch.finfo(logits.dtype).eps * size
    values, seen = [], torch.ones_like(factor.finite)
    for end in (images + step, images - step):
        change = view(end) - logits
        seen = seen & (change.amax(1) - change.amin(1) > floor)
        values.append(row_norms(factor.pulled(change)).log())
    sides: Tensor = 2 * (values[0] - values[1])
    return sides.masked_fill(~seen | ~factor.finite, torch.nan)
