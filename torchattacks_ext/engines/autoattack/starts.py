"""Where does a run start? On the surface of each sample's ball, as AutoAttack draws it."""

from __future__ import annotations

import torch
from torch import Tensor

from ..._typing import Norm
from ...numerics.gaussian import normals
from ...numerics.norms import norm_of, per_row
from ...numerics.streams import uniform
from . import upstream as aa


def column(values: float | Tensor, like: Tensor) -> float | Tensor:
    """(M,) as (M, 1, ...) in the dtype of `like` (M, ...), a float as it is.

    >>> column(torch.ones(2), torch.zeros(2, 3, 4)).shape
    torch.Size([2, 1, 1])
    """
    if not isinstance(values, Tensor):
        return values
    return per_row(values.to(like.dtype), like)


def first_point(
    images: Tensor,
    ids: Tensor,
    radius: float | Tensor,
    norm: Norm,
    seed: int,
    purpose: str,
) -> Tensor:
    """A point (M, ...) on the surface of each image's ball; it may lie outside the box.

    A function of (seed, id, purpose) alone. images (M, ...), ids (M,), radius a float or (M,).

    >>> x = torch.full((1, 4), 0.5)
    >>> found = first_point(x, torch.tensor([7]), 0.1, "Linf", 0, "start")
    >>> round(float((found - x).abs().max()), 6)
    0.1
    """
    size = images[0].numel()
    numbers = uniform(seed, ids, purpose, 0, size + size % 2)
    if norm == "Linf":
        change = (2 * numbers[:, :size] - 1).reshape(images.shape)
    else:
        change = normals(numbers)[:, :size].reshape(images.shape)
    change = change.to(images.dtype)
    if norm == "L1" and isinstance(radius, float):
        return images + change + aa.l1_projection(images, change, radius)
    length = torch.clamp_min(norm_of(change, norm), 1e-12)
    return images + change * column(radius / length, images)
