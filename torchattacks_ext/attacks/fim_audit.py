"""Is the gradient what the outputs do inside the ball? A score at finite steps beside lambda.

A model that hides its gradient has a small lambda and still moves its outputs within eps. So the
black-box sketch is taken with steps as long as the radius, |h v|_2 = eps, and compared with lambda
of the gradient. Where the gradient is honest and the net smooth the two agree; a ratio far above 1
says that the outputs move where the gradient says that they do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..data.stream import Batch
from ..numerics.sketch import sketch
from ..numerics.spectral import Ending
from . import fim_rows

if TYPE_CHECKING:
    from .fimscore import FIMScore

SUSPICIOUS = 10.0
"""Ratio of the finite to the infinitesimal score above which a gradient is suspected."""


@dataclass(frozen=True, eq=False)
class GradientAudit:
    """What the outputs do within eps beside what their gradient says; one row an image.

    log_ratio (N,) float64: log of the score at finite steps over lambda; inf where lambda is 0 and
    the outputs move, nan where neither does or a score is not finite. eps: length of a step in L2.

    >>> audit = GradientAudit(torch.tensor([0.1, 3.0, float("nan")]).double(), 0.5)
    >>> audit.suspicious.tolist(), audit.n_suspicious
    ([False, True, False], 1)
    """

    log_ratio: Tensor
    eps: float

    @property
    def suspicious(self) -> Tensor:
        """(N,) bool: the ratio exceeds 10."""
        return self.log_ratio.exp() > SUSPICIOUS

    @property
    def n_suspicious(self) -> int:
        """How many images."""
        return int(self.suspicious.sum())

    def __repr__(self) -> str:
        known = self.log_ratio[~self.log_ratio.isnan()]
        median = float(known.median().exp()) if len(known) else float("nan")
        words = "gradient masking suspected: run the black box and MSA"
        said = words if self.n_suspicious > 0.1 * max(len(known), 1) else "no suspicion"
        return (
            f"GradientAudit(n={len(self.log_ratio)}, median ratio {median:.3g}, "
            f"{self.n_suspicious} above {SUSPICIOUS:g}: {said})"
        )


def audit_batch(probe: FIMScore, batch: Batch, n_directions: int) -> Tensor:
    """log_ratio (B,) of one batch; runs inside a session of the model."""
    view = probe._scored()
    top = fim_rows.score(probe, view, batch.images, batch.ids).top
    size = batch.images[0].numel()
    with torch.no_grad():
        found = sketch(
            view,
            batch.images,
            batch.ids,
            seed=probe.seed,
            n_directions=min(n_directions, size),
            h=float(probe.eps) / size**0.5,
            bounds=probe.bounds,
            check=False,
            max_rows=probe.batch_size,
        )
    exact = top.log_lam.cpu()
    neither = (found.status == int(Ending.ZERO_GRADIENT)) & (exact == -torch.inf)
    ratio: Tensor = (found.log_lam - exact).masked_fill(neither, torch.nan)
    return ratio


def audit(probe: FIMScore, data: Any, ids: Any, n_directions: int) -> GradientAudit:
    """The audit of all images of `data`."""
    parts = []
    for batch in probe._stream(data, None, ids, None):
        with probe._session():
            parts.append(audit_batch(probe, batch, n_directions))
    empty = torch.zeros(0, dtype=torch.float64)
    return GradientAudit(torch.cat([empty, *parts]), float(probe.eps))
