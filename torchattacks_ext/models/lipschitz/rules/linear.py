"""How much do linear, convolutional and batch-normalising layers stretch? Norms of their weights.

Linear: the spectral norm. Convolutions: see :mod:`torchattacks_ext.numerics.certificates`; small
ones are written out as a matrix. Batch normalisation in eval mode is a factor a channel, which is
multiplied into the weights before it where it can be: ||D W|| <= max|d| ||W||.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....errors import ModelContractError
from ....numerics.certificates.convolutions import convolution_norm
from ....numerics.certificates.matrices import spectral_norm
from ....numerics.certificates.operators import axis_norm, dense
from ....numerics.certificates.rounding import UNIT, product, total, up
from ..bound import Bound, Place, Rule
from .weights import finite, weight_of

SMALL = 256
"""Up to so many inputs or outputs a convolution is written out as a matrix, which is exact."""
MOST_ENTRIES = 1 << 20
"""... of at most so many entries."""


def linear(module: nn.Linear, place: Place) -> Bound:
    """||W||_2."""
    return Bound(spectral_norm(weight_of(module)), how="SVD")


def convolution(module: Any, place: Place) -> Bound:
    """Of the convolution itself, with its padding."""
    return convolution_bound(module, weight_of(module), place)


def scales(module: Any) -> Tensor:
    """|gamma| / sqrt(var + eps) of a batch normalisation in eval mode, (C,) float64.

    Raises ModelContractError where it takes the statistics of the batch.
    """
    if module.running_var is None:
        raise ModelContractError(
            f"{type(module).__name__} without running statistics mixes the rows of a batch: no "
            "bound holds for one image; use track_running_stats=True"
        )
    var = finite(module.running_var.detach().to("cpu", torch.float64), module)
    gamma = torch.ones_like(var)
    if module.weight is not None:
        gamma = finite(module.weight.detach().to("cpu", torch.float64), module).abs()
    return finite(gamma / (var + module.eps).sqrt(), module)


def affine_of(module: Any) -> tuple[Tensor, Tensor]:
    """Factor and constant a channel of a batch normalisation in eval mode, (C,) float64 each."""
    factor = scales(module)
    if module.weight is not None:
        factor = factor * module.weight.detach().to("cpu", torch.float64).sign()
    shift = (
        -finite(module.running_mean.detach().to("cpu", torch.float64), module) * factor
    )
    if module.bias is not None:
        shift = shift + finite(module.bias.detach().to("cpu", torch.float64), module)
    return factor, shift


def batch_norm(module: Any, place: Place) -> Bound:
    """max |gamma| / sqrt(var + eps)."""
    return Bound(up(float(scales(module).max()), 4), how="largest factor of a channel")


def folded(module: Any, norm: Any, place: Place) -> Bound:
    """A linear layer and the batch normalisation after it as one; place: that of the first.

    The channels must be the rows of the weight: a Linear on (N, D), or a convolution.
    """
    factor = scales(norm)
    weight = weight_of(module)
    if isinstance(module, nn.Linear):
        bound = Bound(spectral_norm(weight * factor[:, None]), how="SVD, folded")
    elif isinstance(module, TRANSPOSED):
        # (in, out / groups, *kernel): the rows of a group go to the outputs of that group
        parts = weight.reshape(module.groups, -1, *weight.shape[1:])
        rows = _column(factor.reshape(module.groups, 1, -1), parts.dim())
        bound = convolution_bound(module, (parts * rows).reshape(weight.shape), place)
    else:
        bound = convolution_bound(module, weight * _column(factor, weight.dim()), place)
    # every product of a factor and a weight is rounded four times at most
    lost = up(float(weight.norm() * factor.max()) * 8 * UNIT, 8)
    how = bound.how if "folded" in bound.how else f"{bound.how}, folded"
    return Bound(total([bound.value, lost]), how=how)


def _column(factor: Tensor, n_dims: int) -> Tensor:
    return factor.reshape(*factor.shape, *(1,) * (n_dims - factor.dim()))


def convolution_bound(module: Any, weight: Tensor, place: Place) -> Bound:
    """Of a convolution with the options of `module` and another weight of its form."""
    small = math.prod(place.shape), math.prod(place.out)
    if min(small) <= SMALL and math.prod(small) <= MOST_ENTRIES:
        return Bound(
            spectral_norm(dense(_as_map(module, weight), place.shape)), how="dense SVD"
        )
    size = place.out if isinstance(module, TRANSPOSED) else place.shape
    axes = len(module.kernel_size)
    circular = module.padding_mode == "circular" and not _comes_twice(module)
    settings = {
        "stride": module.stride,
        "dilation": module.dilation,
        "groups": module.groups,
    }
    if module.padding_mode == "zeros" or circular:
        value = convolution_norm(weight, size[-axes:], **settings, circular=circular)
        return Bound(value, how="FFT or reshaped weight")
    pads = list(zip(size[-axes:], _pads(module)))
    wider = [n + sum(pad) for n, pad in pads]
    value = convolution_norm(weight, wider, **settings)
    mode = module.padding_mode
    pad = [axis_norm(lambda x: _padded(x, pad, mode), n) for n, pad in pads]
    return Bound(
        product([value, *pad]), how=f"{mode} padding, then FFT or reshaped weight"
    )


def _comes_twice(module: Any) -> bool:
    """Whether circular padding is so wide that outputs of stride 1 would repeat."""
    reach = (d * (k - 1) for k, d in zip(module.kernel_size, module.dilation))
    return any(sum(pad) > most for pad, most in zip(_pads(module), reach))


def _pads(module: Any) -> list[tuple[int, int]]:
    """Pixels before and after, an axis."""
    if module.padding == "valid":
        return [(0, 0)] * len(module.kernel_size)
    if module.padding == "same":
        whole = [d * (k - 1) for k, d in zip(module.kernel_size, module.dilation)]
        return [(n // 2, n - n // 2) for n in whole]
    return [(p, p) for p in module.padding]


def _padded(x: Tensor, pad: tuple[int, int], mode: str) -> Tensor:
    return F.pad(x[:, None], pad, mode=mode)[:, 0]


def _as_map(module: Any, weight: Tensor) -> Any:
    """The layer without its bias, on float64 images."""
    axes = len(module.kernel_size)
    if isinstance(module, TRANSPOSED):
        turns: Any = F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d
        turn = turns[axes - 1]
        pads = module.padding, module.output_padding, module.groups, module.dilation
        return lambda x: turn(x, weight, None, module.stride, *pads)
    slide: Any = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    steps = module.stride, 0, module.dilation, module.groups
    flat = [side for pad in reversed(_pads(module)) for side in pad]
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    return lambda x: slide(F.pad(x, flat, mode=mode), weight, None, *steps)


TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
INSTANCE = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)

RULES: dict[type | str, Rule] = {
    nn.Linear: linear,
    **{kind: convolution for kind in CONVOLUTIONS},
    **{kind: batch_norm for kind in (*NORMS, *INSTANCE)},
    "torchvision.ops.misc.FrozenBatchNorm2d": batch_norm,
}
