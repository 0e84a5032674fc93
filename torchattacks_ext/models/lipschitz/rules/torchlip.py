"""What do the layers of deel-torchlip stretch by? They are measured; no constant is taken on trust.

`Sequential(k_coef_lip=...)` sets the attribute of its children after their weights were made, the
pools multiply by a factor that is right without ceil_mode only, and padding other than zeros copies
pixels. So weights are measured as those of torch, and factors by what a layer makes of ones. The
package is known by name and not imported. Tested with deel-torchlip 1.0.5.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ....errors import ModelContractError
from ....numerics.certificates.rounding import product, up
from ...session import session
from ..bound import Bound, Place, Rule
from . import activations, linear, pools

HOME = "deel.torchlip.modules."


def padded_convolution(module: Any, place: Place) -> Bound:
    """PadConv1d/2d and their heirs: symmetric padding is a step of its own before the layer."""
    if type(module.pad).__name__ != "SymmetricPad":
        return linear.convolution(module, place)
    images = torch.ones(1, *place.shape, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        wide = module.pad(images)
        (counts,) = torch.autograd.grad(wide.sum(), images)
    inner = Place(tuple(wide.shape[1:]), place.out)
    bound = linear.convolution(module, inner)
    copies = up(math.sqrt(float(counts.max())), 2)
    return Bound(
        product([bound.value, copies]), how=f"symmetric padding, then {bound.how}"
    )


def scaled(plain: Any, rule: Rule) -> Rule:
    """A pool of torch times a factor: what it makes of ones, in parts of what torch makes."""

    def measured(module: Any, place: Place) -> Bound:
        ones = torch.ones(1, *place.shape, dtype=torch.float64)
        ratio = _run(module, ones) / _run(lambda x: plain.forward(module, x), ones)
        bound = rule(module, place)
        return Bound(
            product([bound.value, up(float(ratio.abs().max()), 64)]), how=bound.how
        )

    return measured


def whole_norm(module: Any, place: Place) -> Bound:
    """The L2 norm over all pixels times a factor: of ones it makes sqrt(pixels) times that."""
    ones = torch.ones(1, *place.shape, dtype=torch.float64)
    largest = float(_run(module, ones).abs().max()) / math.sqrt(
        math.prod(place.shape[1:])
    )
    return Bound(up(largest, 64), how="measured on ones")


def homogeneous(module: Any, place: Place) -> Bound:
    """An activation of norm 1 that keeps ones, times a factor."""
    largest = float(
        _run(module, torch.ones(1, *place.shape, dtype=torch.float64)).abs().max()
    )
    return Bound(up(largest, 8), how="measured on ones")


def clamped_prelu(module: Any, place: Place) -> Bound:
    """LPReLU: 1 above zero, a clamped slope below."""
    below = _run(module, -torch.ones(1, *place.shape, dtype=module.weight.dtype))
    return Bound(max(1.0, up(float(below.abs().max()), 8)), how="measured on -ones")


def channelwise(module: Any, place: Place) -> Bound:
    """Affine with a factor a channel: the difference of what it makes of two images."""
    far = 2.0**20
    zeros = torch.zeros(1, *place.shape, dtype=torch.float64)
    slopes = (_run(module, zeros + far) - _run(module, zeros)) / far
    return Bound(
        up(float(slopes.abs().max()), 256), how="measured factors of the channels"
    )


def centring(module: Any, place: Place) -> Bound:
    """x - mean(x) over dimensions of one image: an orthogonal projection."""
    dims = module.dim if isinstance(module.dim, (list, tuple)) else [module.dim]
    if any(dim in (0, -1 - len(place.shape)) for dim in dims):
        raise ModelContractError(
            "LayerCentering over dimension 0 mixes the rows of a batch"
        )
    return Bound(1.0, how="projection")


def _run(function: Callable[[Tensor], Any], images: Tensor) -> Tensor:
    owner = function if isinstance(function, nn.Module) else nn.Identity().eval()
    with session(owner), torch.no_grad():
        found: Tensor = function(images)
    return found


_POOLS = HOME + "pooling."
_LAYERS = HOME + "activation."
_NORMS = HOME + "normalization."
RULES: dict[type | str, Rule] = {
    HOME + "unconstrained.PadConv1d": padded_convolution,
    HOME + "unconstrained.PadConv2d": padded_convolution,
    _POOLS + "ScaledAvgPool2d": scaled(nn.AvgPool2d, pools.average),
    _POOLS
    + "ScaledAdaptiveAvgPool2d": scaled(nn.AdaptiveAvgPool2d, pools.adaptive_average),
    _POOLS + "ScaledL2NormPool2d": scaled(nn.LPPool2d, pools.root_mean_square),
    _POOLS + "ScaledAdaptativeL2NormPool2d": whole_norm,
    _LAYERS + "MaxMin": homogeneous,
    _LAYERS + "GroupSort": homogeneous,
    _LAYERS + "LPReLU": clamped_prelu,
    _LAYERS + "HouseHolder": activations.group_sort,
    _NORMS + "LayerCentering": centring,
    _NORMS + "BatchLipNorm": channelwise,
    _NORMS + "ScaleBiasLayer": channelwise,
}
