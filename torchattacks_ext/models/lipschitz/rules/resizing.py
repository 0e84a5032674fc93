"""How much do resizing and normalisation stretch? The factors of preprocessing.

Interpolation is linear and acts on one axis after the other: the product of the spectral norms of
the matrices of the axes is its norm. torch has exceptions of its own where a scale factor leaves
the size of an axis as it is; so the matrices are compared with what it really does to an image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product as combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....errors import ModelContractError
from ....numerics.certificates.matrices import spectral_norm
from ....numerics.certificates.operators import Map, dense
from ....numerics.certificates.rounding import product, up
from ....numerics.streams import uniform
from ..bound import Bound, Place, Rule
from .pools import each

PLAIN = {"bilinear": "linear", "trilinear": "linear"}
"""What torch calls a mode along one axis."""
SAME = 1e-9
"""Largest difference, of numbers in [0, 1], that rounding may make."""


def upsample(module: Any, place: Place) -> Bound:
    """nn.Upsample and its heirs."""
    given = {
        "mode": module.mode,
        "align_corners": module.align_corners,
        "scale_factor": module.scale_factor,
        "recompute_scale_factor": module.recompute_scale_factor,
    }
    return interpolated(place.shape[1:], place.out[1:], given)


def interpolated(
    sizes: Sequence[int], out: Sequence[int], options: dict[str, Any]
) -> Bound:
    """Of F.interpolate with these options, from images of `sizes` to `out`."""
    given = dict(options)
    given.pop("size", None)
    scale, again = given.pop("scale_factor", None), given.pop(
        "recompute_scale_factor", None
    )
    scales = (
        None
        if scale is None or again
        else [float(one) for one in each(scale, len(sizes))]
    )
    whole: dict[str, Any] = (
        {"size": tuple(out)} if scales is None else {"scale_factor": scales}
    )
    return separable(
        lambda x: F.interpolate(x, **whole, **given),
        sizes,
        [
            [_axis(out[i], None, given)]
            + ([] if scales is None else [_axis(out[i], scales[i], given)])
            for i in range(len(sizes))
        ],
        f"matrices of the axes ({given['mode']})",
    )


def _axis(size: int, scale: float | None, options: dict[str, Any]) -> Map:
    """Interpolation of rows (N, n)."""
    mode = options["mode"]
    if mode in ("bicubic", "bilinear"):  # cubic and antialias are for images only
        target: dict[str, Any] = {"size": (1, size)} if scale is None else {}
        target = target or {"scale_factor": (1.0, scale)}
        return lambda x: F.interpolate(x[:, None, None], **target, **options)[:, 0, 0]
    target = {"size": size} if scale is None else {"scale_factor": scale}
    rest = {**options, "mode": PLAIN.get(mode, mode)}
    return lambda x: F.interpolate(x[:, None], **target, **rest)[:, 0]


def separable(
    function: Callable[[Tensor], Tensor],
    sizes: Sequence[int],
    axes: Sequence[Sequence[Map]],
    how: str,
) -> Bound:
    """Of a linear map of images (1, 1, *sizes) that acts on one axis after the other.

    axes: for every axis the maps of rows that it may be; the first combination that agrees with the
    function on a random image is taken. ModelContractError where none does.
    """
    drawn = uniform(0, torch.zeros(1, dtype=torch.int64), "resize", 0, math.prod(sizes))
    image = drawn.reshape(1, 1, *sizes).double()
    with torch.no_grad():
        truth = function(image)
    for matrices in _matrices(axes, sizes):
        found = image
        for i, matrix in enumerate(matrices):
            found = torch.tensordot(found, matrix, dims=([2 + i], [1])).movedim(
                -1, 2 + i
            )
        if found.shape == truth.shape and float((found - truth).abs().max()) <= SAME:
            return Bound(product(spectral_norm(matrix) for matrix in matrices), how=how)
    raise ModelContractError(
        "resizing does not act on one axis after the other here; resize before the model, or give "
        "size= in place of scale_factor="
    )


def _matrices(
    axes: Sequence[Sequence[Map]], sizes: Sequence[int]
) -> Iterator[tuple[Tensor, ...]]:
    known = [[dense(one, (n,)) for one in maps] for maps, n in zip(axes, sizes)]
    return combinations(*known)


def normalize(module: Any, place: Place) -> Bound:
    """torchvision's Normalize as a layer: 1 / min std, as it is and rounded to float32."""
    stds = torch.as_tensor(module.std, dtype=torch.float64)
    least = float(torch.minimum(stds, stds.float().double()).abs().min())
    if not least > 0:
        raise ModelContractError(f"Normalize with std={module.std} divides by zero")
    return Bound(up(1 / least), how="smallest std")


RULES: dict[type | str, Rule] = {
    nn.Upsample: upsample,
    nn.UpsamplingNearest2d: upsample,
    nn.UpsamplingBilinear2d: upsample,
    "torchvision.transforms.transforms.Normalize": normalize,
    "torchvision.transforms.v2._misc.Normalize": normalize,
}
