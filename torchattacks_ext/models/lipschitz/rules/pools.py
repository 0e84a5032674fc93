"""How much do pooling and padding stretch? Each axis is written out as a small matrix.

They act on one axis after the other, so that their norm is a product. Means: spectral norms of the
axes, exact for every option, since torch's own routine is written out. Maxima: at any
input each output repeats one pixel, and a pixel is repeated in at most as many outputs as it lies
in windows, m: norm <= sqrt(m), with m counted by torch's own routine. So neither `ceil_mode` nor
padding nor dilation needs to be refused; with them the value may exceed that of the textbook (a
2 x 2 mean of stride 2 has 1/2; with ceil_mode and an odd size its edge windows have 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ....errors import ModelContractError
from ....numerics.certificates.operators import Map, axis_norm, dense, most_read
from ....numerics.certificates.rounding import product, up
from ..bound import Bound, Place, Rule


def each(value: Any, n: int) -> tuple[Any, ...]:
    """One value an axis."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * n


def by_axis(
    sizes: Sequence[int], make: Callable[[int], Map], norm: Callable[[Map, int], float]
) -> float:
    """The product over the axes of the norm of the map that `make` gives for each."""
    return product([norm(make(i), n) for i, n in enumerate(sizes)])


def average(module: Any, place: Place) -> Bound:
    """nn.AvgPool1d/2d/3d."""
    sizes = place.shape[1:]
    n = len(sizes)
    kernel, padding = each(module.kernel_size, n), each(module.padding, n)
    stride = each(module.stride if module.stride is not None else kernel, n)
    override = getattr(module, "divisor_override", None)
    include = module.count_include_pad or override is not None

    def make(i: int) -> Map:
        options = kernel[i], stride[i], padding[i], module.ceil_mode, include
        return lambda x: F.avg_pool1d(x[:, None], *options)[:, 0]

    if override is None:
        return Bound(by_axis(sizes, make, axis_norm), how="matrices of the axes")
    return Bound(
        product(
            [
                _sums(sizes, kernel, stride, padding, module.ceil_mode),
                up(1 / abs(override)),
            ]
        ),
        how="matrices of the axes",
    )


def _sums(
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
) -> float:
    """Norm of the sums over windows, by torch's averages of each axis with their divisor undone."""

    def make(i: int) -> Map:
        options = kernel[i], stride[i], padding[i], ceil_mode, True
        return lambda x: (F.avg_pool1d(x[:, None], *options)[:, 0] != 0).to(x)

    return by_axis(sizes, make, axis_norm)


def maximum(module: Any, place: Place) -> Bound:
    """nn.MaxPool1d/2d/3d."""
    sizes = place.shape[1:]
    n = len(sizes)
    kernel, padding = each(module.kernel_size, n), each(module.padding, n)
    stride = each(module.stride if module.stride is not None else kernel, n)
    dilation = each(module.dilation, n)

    def make(i: int) -> Map:
        options = kernel[i], stride[i], padding[i], dilation[i], module.ceil_mode
        return lambda x: F.max_pool1d(x[:, None], *options)[:, 0]

    return _of_maxima(sizes, make)


def _of_maxima(sizes: Sequence[int], make: Callable[[int], Map]) -> Bound:
    windows = math.prod(most_read(make(i), n) for i, n in enumerate(sizes))
    return Bound(
        up(math.sqrt(windows)) if windows > 1 else 1.0, how=f"{windows} windows a pixel"
    )


def adaptive_average(module: Any, place: Place) -> Bound:
    """nn.AdaptiveAvgPool1d/2d/3d."""
    return adaptive_means(place.shape[1:], module.output_size)


def adaptive_means(sizes: Sequence[int], output: Any) -> Bound:
    """Adaptive means of an image of these sizes."""
    wanted = _targets(sizes, output)

    def make(i: int) -> Map:
        return lambda x: F.adaptive_avg_pool1d(x[:, None], wanted[i])[:, 0]

    return Bound(by_axis(sizes, make, axis_norm), how="matrices of the axes")


def adaptive_maximum(module: Any, place: Place) -> Bound:
    """nn.AdaptiveMaxPool1d/2d/3d."""
    sizes = place.shape[1:]
    wanted = _targets(sizes, module.output_size)

    def make(i: int) -> Map:
        return lambda x: F.adaptive_max_pool1d(x[:, None], wanted[i])[:, 0]

    return _of_maxima(sizes, make)


def _targets(sizes: Sequence[int], output: Any) -> list[int]:
    return [n if m is None else int(m) for n, m in zip(sizes, each(output, len(sizes)))]


def root_mean_square(module: Any, place: Place) -> Bound:
    """nn.LPPool1d/2d with p = 2: sqrt(sum a x^2) over windows, so the root of the column sums of a.

    In ceil_mode torch divides an edge window by fewer pixels than it multiplies by.
    """
    if module.norm_type != 2:
        raise ModelContractError(
            f"{type(module).__name__} has a bound for norm_type=2 only, not {module.norm_type}"
        )
    sizes = place.shape[1:]
    kernel = each(module.kernel_size, len(sizes))
    stride = each(module.stride if module.stride is not None else kernel, len(sizes))

    def make(i: int) -> Map:
        options = kernel[i], stride[i], 0, module.ceil_mode
        return lambda x: F.avg_pool1d(x[:, None], *options)[:, 0] * kernel[i]

    def columns(function: Map, n: int) -> float:
        return up(float(dense(function, (n,)).sum(0).max()), n)

    return Bound(up(math.sqrt(by_axis(sizes, make, columns))), how="sums of the axes")


def padding(module: Any, place: Place) -> Bound:
    """nn.ZeroPad, ConstantPad, ReflectionPad, ReplicationPad and CircularPad."""
    kind = type(module).__name__
    modes = {
        "Reflection": "reflect",
        "Replication": "replicate",
        "Circular": "circular",
    }
    mode = next(
        (mode for head, mode in modes.items() if kind.startswith(head)), "constant"
    )
    return padded(place.shape, module.padding, mode)


def padded(shape: Sequence[int], pad: Sequence[int], mode: str) -> Bound:
    """F.pad of images of this shape; pad: (before, after) of the last axis, then the one before."""
    if mode == "constant":
        return Bound(1.0, how="constant padding")
    sides = [(pad[2 * i], pad[2 * i + 1]) for i in range(len(pad) // 2)]
    sizes = [shape[-1 - i] for i in range(len(sides))]

    def make(i: int) -> Map:
        def function(x: Tensor) -> Tensor:
            return F.pad(x[:, None], sides[i], mode=mode)[:, 0]

        return function

    return Bound(by_axis(sizes, make, axis_norm), how=f"matrices of the axes ({mode})")


RULES: dict[type | str, Rule] = {
    **{kind: average for kind in (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)},
    **{kind: maximum for kind in (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)},
    nn.AdaptiveAvgPool1d: adaptive_average,
    nn.AdaptiveAvgPool2d: adaptive_average,
    nn.AdaptiveAvgPool3d: adaptive_average,
    nn.AdaptiveMaxPool1d: adaptive_maximum,
    nn.AdaptiveMaxPool2d: adaptive_maximum,
    nn.AdaptiveMaxPool3d: adaptive_maximum,
    nn.LPPool1d: root_mean_square,
    nn.LPPool2d: root_mean_square,
    nn.ZeroPad1d: padding,
    nn.ZeroPad2d: padding,
    nn.ZeroPad3d: padding,
    nn.ConstantPad1d: padding,
    nn.ConstantPad2d: padding,
    nn.ConstantPad3d: padding,
    nn.ReflectionPad1d: padding,
    nn.ReflectionPad2d: padding,
    nn.ReflectionPad3d: padding,
    nn.ReplicationPad1d: padding,
    nn.ReplicationPad2d: padding,
    nn.ReplicationPad3d: padding,
    nn.CircularPad1d: padding,
    nn.CircularPad2d: padding,
    nn.CircularPad3d: padding,
}
