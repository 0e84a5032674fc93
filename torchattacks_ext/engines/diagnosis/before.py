"""What do answers and gradients show before any attack? Columns of the rows that are right."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..._typing import LogitsFn, Norm
from ...models.checks.answers import inward, is_hard, repeated, steps
from ...models.checks.gradients import LossGradients, loss_gradients
from ...numerics.losses import unmasked
from ...numerics.norms import clip_, norm_of, per_row, project
from ...numerics.streams import uniform
from ..autoattack.starts import first_point
from .settings import DiagnosisSettings

NOISE_RADIUS = 8 / 255
"""Of the draws around an image (Pintor et al. 2022), of a range of 1."""
Columns = dict[str, Tensor]


def answers(logits: Tensor, pictures: Tensor) -> Columns:
    """What the scores (N, K) of rows show by themselves: on a grid, no more than two numbers.

    pictures (N,): hashes; of rows that show the same the first alone is held against the others.
    """
    _, first = np.unique(pictures.numpy(), return_index=True)
    place = torch.from_numpy(first).to(logits.device)
    again = torch.full((len(logits),), torch.nan, dtype=torch.float64)
    again[first] = repeated(logits[place]).cpu()
    return {"repeated": again, "hard": is_hard(logits).to(torch.int8)}


def before(
    settings: DiagnosisSettings,
    view: LogitsFn,
    images: Tensor,
    labels: Tensor,
    ids: Tensor,
    fixed: bool,
    short: bool = False,
) -> tuple[Columns, LossGradients]:
    """Columns of M right rows, and the gradients at the images.

    fixed: whether each image is answered by itself and always the same; of other models only
    gradients are looked at. short: whether it computes in half precision, of which tiny steps say
    nothing. Two looks at gradients (2 M forward, 4 M backward row-passes), then
    n_noise + 2 forward row-passes a row.
    """
    clean = loss_gradients(view, images, labels)
    start = start_of(settings, images, ids)
    there = loss_gradients(view, start, labels)
    found = {
        "ce_zero_clean": clean.ce_zero,
        "ce_zero_start": there.ce_zero,
        "margin_zero_clean": clean.margin_zero,
        "margin_zero_start": there.margin_zero,
        "gradient_odd": clean.odd | there.odd,
        "gradient_absent": torch.full_like(labels, clean.absent or there.absent),
    }
    columns = {name: flags.to(torch.int8) for name, flags in found.items()}
    if fixed and not short:
        step = inward(start, ids, settings.seed, settings.bounds)
        # at the start: clean pixels may lie on the edges of a grid, as grey levels do
        seen = steps(view, start, labels, there.logits, there.margin, step)
        columns["flat"] = seen.flat.to(torch.int8)
        columns["moves"] = (there.logits != clean.logits).any(1).to(torch.int8)
        columns["rough"] = seen.rough
    if fixed:
        columns["unstable"] = _unstable(settings, view, images, labels, ids, clean)
    return columns, clean


def start_of(settings: DiagnosisSettings, images: Tensor, ids: Tensor) -> Tensor:
    """The first point (M, ...) of a run: random in the ball, by (seed, id)."""
    unit, eps = settings.unit, settings.eps
    point = first_point(
        unit.of(images),
        ids,
        unit.radius(eps),
        settings.norm,
        settings.seed,
        "diagnosis/start",
    )
    back = unit.back(point).to(images.dtype)
    return project(images, back, eps, settings.norm, settings.bounds)


def _unstable(
    settings: DiagnosisSettings,
    view: LogitsFn,
    images: Tensor,
    labels: Tensor,
    ids: Tensor,
    clean: LossGradients,
) -> Tensor:
    """(M,) float64: mean relative change of the cross-entropy over draws of noise."""
    before = cross_entropy(clean.logits, labels, reduction="none").double()
    radius, size = NOISE_RADIUS * settings.unit.width, images[0].numel()
    found = torch.zeros_like(before)
    with torch.no_grad():
        for draw in range(settings.n_noise):
            noise = uniform(settings.seed, ids, "diagnosis/noise", draw, size)
            noise = (2 * noise - 1).reshape(images.shape).to(images.dtype)
            shown = clip_(images + radius * noise, settings.bounds)
            after = cross_entropy(unmasked(view(shown)), labels, reduction="none")
            found += (after.double() - before).abs()
    return found / settings.n_noise / torch.where(before == 0, 1.0, before)


def one_step(
    settings: DiagnosisSettings, images: Tensor, gradients: Mapping[str, Tensor]
) -> list[Tensor]:
    """For each gradient (M, ...) the image (M, ...) that one step of full length leads to."""
    eps, norm = settings.eps, settings.norm
    found = []
    for gradient in gradients.values():
        change = _steepest(torch.nan_to_num(gradient), norm) * eps
        found.append(project(images, images + change, eps, norm, settings.bounds))
    return found


def _steepest(gradient: Tensor, norm: Norm) -> Tensor:
    """The change (M, ...) of length 1 that gains most, to first order."""
    if norm == "Linf":
        return gradient.sign()
    if norm == "L2":
        length = norm_of(gradient, norm).clamp_min(torch.finfo(gradient.dtype).tiny)
        return gradient / per_row(length, gradient)
    rows = gradient.flatten(1)
    best = rows.abs().argmax(1, keepdim=True)
    return (
        torch.zeros_like(rows)
        .scatter(1, best, rows.gather(1, best).sign())
        .reshape(gradient.shape)
    )
