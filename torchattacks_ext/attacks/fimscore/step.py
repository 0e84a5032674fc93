"""Where does one step along the top eigenvector end? OSSA's images, the better of two signs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..._typing import LogitsFn
from ...numerics.losses import margins, target_margins
from ...numerics.norms import project
from . import rows as fim_rows
from .scored import Scored, step_direction

if TYPE_CHECKING:
    from .fimscore import FIMScore


def step_images(
    probe: FIMScore,
    view: LogitsFn,
    images: Tensor,
    labels: Tensor | None,
    ids: Tensor,
) -> Tensor:
    """The images (B, ...) of a call: the score of a batch, and the step that it suggests."""
    scored = fim_rows.score(probe, view, images, ids)
    return better_end(probe, scored, images, labels, ids)


def better_end(
    probe: FIMScore,
    scored: Scored,
    images: Tensor,
    labels: Tensor | None,
    ids: Tensor,
) -> Tensor:
    """Of the two ends of the step the one of smaller margin; 2 forward row-passes an image.

    To the label, to the clean answer where there are no labels, or (targeted) to the target.
    """
    wanted = scored.action.logits.argmax(1) if labels is None else labels
    if probe.targeted:
        wanted = probe._targets(ids, images, labels)
    step = step_direction(scored, probe.norm).view_as(images)
    step = torch.nan_to_num(step).to(images.dtype)
    eps = float(probe.eps)
    ends = [
        project(images, images + sign * eps * step, eps, probe.norm, probe.bounds)
        for sign in (1, -1)
    ]
    measure = target_margins if probe.targeted else margins
    with torch.no_grad():
        one, two = (measure(probe.get_logits(end), wanted) for end in ends)
    better = (two < one).reshape(-1, *(1,) * (images.dim() - 1))
    return torch.where(better, ends[1], ends[0])
