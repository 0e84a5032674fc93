"""Where do candidates of an attack lie? Put into the ball and the box, and as they came."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..._typing import Norm
from ...engines.judge.active import Array
from ...numerics.norms import beyond, clip_, norm_of, project
from ...numerics.unit import Unit

_SURE = 5e-6
"""Share of the radius within which no candidate is beyond it, whatever the rounding."""


@dataclass(frozen=True, eq=False)
class Placed:
    """Candidates (M, ...) of an attack, in pixels.

    inside: clipped and projected, within the ball. boxed: clipped only. length, far: their norms
    (M,). there: rows (k,) of `boxed` that lie beyond the ball. odd: rows (M,) that held NaN or
    infinite pixels, for which those of the clean image stand in.
    """

    inside: Tensor
    boxed: Tensor
    length: Array
    far: Array
    there: Tensor
    odd: Array


def placed(images: Tensor, raw: Tensor, unit: Unit, eps: float, norm: Norm) -> Placed:
    """Candidates beside their images, both (M, ...) of one float dtype.

    images: pixels. raw: candidates on the scale of `unit`, whose bounds are the box. eps: radius in
    pixels. What comes back within the box and the ball costs four passes beside the projection.

    >>> images = torch.tensor([[0.5, 0.5], [0.5, 0.5]])
    >>> raw = torch.tensor([[0.9, 2.0], [0.6, torch.nan]])
    >>> found = placed(images, raw, Unit((0.0, 1.0)), 0.2, "Linf")
    >>> found.length.round(4).tolist(), found.far.round(4).tolist()
    ([0.2, 0.1], [0.5, 0.1])
    >>> found.there.tolist(), found.odd.tolist()
    ([0], [False, True])
    """
    ends, candidates, box = _ends(raw), unit.back(raw), unit.bounds
    odd = torch.zeros(len(images), dtype=torch.bool)
    if not all(map(math.isfinite, ends)):
        whole = torch.isfinite(raw)
        odd = ~whole.flatten(1).all(1).cpu()
        # a NaN pixel is no perturbation: the clean pixel stands in
        candidates = torch.where(whole, candidates, images)
        ends = _ends(candidates)
    boxed = candidates
    if box is not None and not (unit.plain and ends[0] >= 0 and ends[1] <= 1):
        boxed = clip_(candidates.clone(), box)
    inside = project(images, candidates, eps, norm, box)
    length, far = (norm_of(found - images, norm).double() for found in (inside, boxed))
    there = (far > eps * (1 + _SURE)).nonzero().flatten()
    if len(there):
        there = there[beyond(images[there], boxed[there], eps, norm)]
    return Placed(
        inside, boxed, length.cpu().numpy(), far.cpu().numpy(), there, odd.numpy()
    )


def _ends(pixels: Tensor) -> tuple[float, float]:
    """The least and the largest pixel; NaN where one is."""
    if not pixels.numel():
        return 0.0, 0.0
    least, most = torch.stack(torch.aminmax(pixels)).tolist()
    return least, most
