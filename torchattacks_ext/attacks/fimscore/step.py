"""Where does one step along the top eigenvector end? OSSA's images, the better of two signs."""

from __future__ import annotations

import torch
from torch import Tensor

from ..._typing import LogitsFn, Norm
from ...data.door import check_label_range
from ...data.stream import Batch
from ...numerics.fisher.spectral import Ending
from ...numerics.losses import margins, target_margins
from ...numerics.norms import project
from ...results.base.facts import Flag, warn_flags
from .scored import Scored
from .settings import FIMSettings


def better_end(
    settings: FIMSettings,
    logits_of: LogitsFn,
    scored: Scored,
    batch: Batch,
    targets: Tensor | None,
) -> Tensor:
    """Of the two ends of the step (B, ...) the one of smaller margin; 2 forward passes an image.

    To the target where there are some, else to the label, to the clean answer without labels.
    logits_of: the model as it answers, whatever was done to its logits for the score. Raises
    InputError for classes that the model does not have, before those passes.
    """
    images, eps, norm = batch.images, float(settings.eps), settings.norm
    clean = scored.action.logits
    answer = clean.argmax(1) if batch.labels is None else batch.labels
    check_label_range(answer if targets is None else targets, clean.shape[1])

    def margin(logits: Tensor) -> Tensor:
        if targets is None:
            return margins(logits, answer)
        return target_margins(logits, targets)

    step = step_direction(scored, norm).view_as(images)
    step = torch.nan_to_num(step).to(images.dtype)
    ends = [
        project(images, images + sign * eps * step, eps, norm, settings.bounds)
        for sign in (1, -1)
    ]
    with torch.no_grad():
        one, two = (margin(logits_of(end)) for end in ends)
    better = (two < one).reshape(-1, *(1,) * (images.dim() - 1))
    return torch.where(better, ends[1], ends[0])


def warned(scored: Scored) -> Scored:
    """The score of a call's images; a call has no flags, so a doubt about its step is a warning."""
    dead = int((scored.top.status == int(Ending.ZERO_GRADIENT)).sum())
    if dead:
        text = (
            f"no gradient reaches {dead} of {len(scored.top.status)} images: their step follows "
            "nothing; a quantiser, a sign, an argmax or a detach may be inside"
        )
        warn_flags([Flag("zero_gradient", text, dead)], stacklevel=5)
    return scored


def step_direction(scored: Scored, norm: Norm) -> Tensor:
    """(B, D) steps of norm 1 along which the quadratic rises most: OSSA's, by norm.

    L2: the top eigenvector. Linf: the worst signs (those of the eigenvector without J v). L1: its
    largest coordinate alone.
    """
    u1 = scored.top.u1
    if norm == "L2":
        return u1
    if norm == "Linf":
        return u1.sign() if scored.cube is None else scored.cube.signs
    top = u1.abs().argmax(1, keepdim=True)
    return torch.zeros_like(u1).scatter(1, top, u1.gather(1, top).sign())
