r"""What is the operator norm of a convolution at most?

**Transform.** With stride s and dilation d, tap q of an axis reads position s i + d q of the padded
image, phase r = d q mod s at index i + a, a = d q div s. So a strided convolution is one of stride
1 on its phases, s times the channels, and with at most m = ceil(n / s) pixels a phase it is a part
of the circular convolution on N = m + max a points. That has block-diagonal form under the discrete
Fourier transform (Sedghi, Gupta & Long 2019, arXiv:1805.10408):

    ||conv|| <= max_w || sum_q W_q e^{i w a_q} ||_2 ,   w in 2 pi / N {0 .. N-1} an axis.

On N = n points, without room for the zeros, this is false (n = 3: 7.07 for a norm of 8.72). Where N
is large, a grid of M = 32 max a points and the factor 1 / cos(pi max a / 2M), 1.0012, bound the
maximum over *all* frequencies (a function of exponential type D that is M at its top is at least
M cos(D t) at distance t; Duffin & Schaeffer 1938).

**Reshape.** || W as a matrix (out, in kh kw) || sqrt(prod ceil(k / (s / gcd(s, d)))), and the other
three splits of the axes times sqrt(kh kw) (Singla & Feizi 2021, arXiv:1911.10258). Needs no size.

The bound is the smaller of both. Zero padding of any width; in `circular` mode N = n is the truth.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product as pairs

import torch
from torch import Tensor

from ...errors import InputError
from .matrices import largest_norm
from .rounding import UNIT, product, total, up

GRID = 32
"""Points a unit of the largest shift on which the maximum of all frequencies is bounded."""
MOST_NUMBERS = 1 << 22
"""Complex numbers that are in memory at a time, 64 MB."""


@dataclass(frozen=True)
class Axis:
    """One axis as a convolution of stride 1: tap q reads phase `phases[q]` at `shifts[q]`.

    n_grid: points of the circular grid; factor: by which its maximum is multiplied, >= 1.
    """

    phases: tuple[int, ...]
    shifts: tuple[int, ...]
    n_grid: int
    factor: float


def convolution_norm(
    weight: Tensor,
    size: Sequence[int],
    *,
    stride: Sequence[int] | int = 1,
    dilation: Sequence[int] | int = 1,
    groups: int = 1,
    circular: bool = False,
) -> float:
    """At least the norm of a convolution (1-D, 2-D or 3-D) from images to images, in float64.

    weight: (out, in / groups, *kernel); size: spatial size of the input; zero padding of any width.
    circular: positions are taken modulo the size, and the padding is at most dilation (kernel - 1)
    in all, so that no output comes twice. A transposed convolution has the norm of the one that it
    transposes: give its weight as it is and the size of its *output*.

    Raises InputError for shapes that do not go together and weights that are not finite. Cost: one
    product and one Cholesky factorisation of min(out, in) rows a frequency.

    >>> blur = torch.ones(1, 1, 3, 3) / 9
    >>> 0.6 < convolution_norm(blur, (4, 4)) <= 1 + 1e-9
    True
    """
    weight = weight.detach().to("cpu", torch.float64)
    stride, dilation = (_spread(x, weight.dim() - 2) for x in (stride, dilation))
    _check(weight, size, groups)
    return min(
        reshape_norm(weight, stride=stride, dilation=dilation, groups=groups),
        transform_norm(
            weight,
            size,
            stride=stride,
            dilation=dilation,
            groups=groups,
            circular=circular,
        ),
    )


def transform_norm(
    weight: Tensor,
    size: Sequence[int],
    *,
    stride: Sequence[int] | int = 1,
    dilation: Sequence[int] | int = 1,
    groups: int = 1,
    circular: bool = False,
) -> float:
    """The bound by Fourier transform alone; arguments as :func:`convolution_norm`.

    >>> round(transform_norm(torch.tensor([[[1.0, 1.0]]]), (2,)), 6)  # grid of 3: |1 + e^0|
    2.0
    """
    weight = weight.detach().to("cpu", torch.float64)
    n_axes = weight.dim() - 2
    steps = zip(_spread(stride, n_axes), _spread(dilation, n_axes))
    axes = [
        _axis(n, k, s, d, circular)
        for n, k, (s, d) in zip(size, weight.shape[2:], steps)
    ]
    taps = weight.reshape(groups, -1, *weight.shape[1:]).flatten(3)
    found = largest_norm(_symbols(taps, axes))
    # each entry of a symbol is a sum over the taps, with cos and sin to a few roundings
    spread = taps.abs().sum(3).flatten(1).norm(dim=1).max()
    slack = up(float(spread) * (taps.shape[3] + 16) * 2 * UNIT, 8)
    return product([total([found, slack]), *(axis.factor for axis in axes)])


def reshape_norm(
    weight: Tensor,
    *,
    stride: Sequence[int] | int = 1,
    dilation: Sequence[int] | int = 1,
    groups: int = 1,
) -> float:
    """The bound by reshaped weights, for every input size; weight: (out, in / groups, *kernel).

    >>> round(reshape_norm(torch.ones(1, 1, 3)), 6)  # sqrt(3) sqrt(3)
    3.0
    """
    weight = weight.detach().to("cpu", torch.float64)
    kernel = weight.shape[2:]
    n_axes = len(kernel)
    steps = zip(kernel, _spread(stride, n_axes), _spread(dilation, n_axes))
    windows = math.prod(math.ceil(k / (s // math.gcd(s, d))) for k, s, d in steps)
    blocks = weight.reshape(groups, -1, *weight.shape[1:])
    bounds = []
    for left in pairs((False, True), repeat=n_axes):
        rows = [1] + [3 + i for i in range(n_axes) if left[i]]
        columns = [2] + [3 + i for i in range(n_axes) if not left[i]]
        split = blocks.permute(0, *rows, *columns).flatten(1 + len(rows))
        stack = split.flatten(1, len(rows))
        times = math.prod(kernel) if any(left) else windows
        bounds.append(product([largest_norm([stack]), up(math.sqrt(times), 1)]))
    return min(bounds)


def _axis(n: int, k: int, s: int, d: int, circular: bool) -> Axis:
    """The axis of n pixels with a kernel of k taps, as one of stride 1."""
    if circular:
        phases, shifts, n_grid = _wrapped(n, k, s, d)
    else:
        common = math.gcd(s, d)  # only every such position is ever read
        n, s, d = math.ceil(n / common), s // common, d // common
        if s == 1:  # d convolutions that know nothing of each other
            n, d = math.ceil(n / d), 1
        phases, shifts = [d * q % s for q in range(k)], [d * q // s for q in range(k)]
        n_grid = math.ceil(n / s) + max(shifts)
    reach = max(shifts)
    if reach == 0:
        return Axis(tuple(phases), tuple(shifts), 1, 1.0)
    coarse = GRID * reach
    if coarse >= n_grid:
        return Axis(tuple(phases), tuple(shifts), n_grid, 1.0)
    factor = up(1 / math.cos(math.pi * reach / 2 / coarse), 8)
    return Axis(tuple(phases), tuple(shifts), coarse, factor)


def _wrapped(n: int, k: int, s: int, d: int) -> tuple[list[int], list[int], int]:
    """Phases, shifts and grid where positions are modulo n."""
    if (
        n % s
    ):  # the phases mix when they come round: outputs of stride 1, some of them unused
        s = 1
    return [d * q % s for q in range(k)], [d * q // s for q in range(k)], n // s


def _symbols(taps: Tensor, axes: Sequence[Axis]) -> Iterator[Tensor]:
    """The matrices of all frequencies, taps (G, out, in, T), in stacks (F, out, in * phases).

    The weights are real: the other half of the last axis has the conjugate matrices.
    """
    halves = [axis.n_grid for axis in axes]
    halves[-1] = axes[-1].n_grid // 2 + 1
    at = list(pairs(*(range(len(axis.shifts)) for axis in axes)))
    combos = [tuple(ax.phases[q] for ax, q in zip(axes, tap)) for tap in at]
    places = {
        combo: torch.tensor([i for i, one in enumerate(combos) if one == combo])
        for combo in sorted(set(combos))
    }
    shifts = [[ax.shifts[q] for ax, q in zip(axes, tap)] for tap in at]
    groups, n_out, n_in, _ = taps.shape
    step = max(1, MOST_NUMBERS // max(1, groups * n_out * n_in * len(places)))
    for start in range(0, math.prod(halves), step):
        stop = min(start + step, math.prod(halves))
        waves = _waves(torch.arange(start, stop), halves, axes, torch.tensor(shifts))
        blocks = []
        for place in places.values():
            real, imaginary = (taps[..., place] @ side[place] for side in waves)
            blocks.append(torch.complex(real, imaginary))
        # (G, out, in, F) each -> (F G, out, in * phases)
        stack = torch.stack(blocks, dim=3).permute(4, 0, 1, 2, 3)
        yield stack.reshape(-1, n_out, n_in * len(places))


def _waves(
    index: Tensor, halves: Sequence[int], axes: Sequence[Axis], shifts: Tensor
) -> tuple[Tensor, Tensor]:
    """cos and sin of w a for the taps and the frequencies of flat numbers `index`, (T, F) each."""
    angle = torch.zeros(len(shifts), len(index), dtype=torch.float64)
    for i in reversed(range(len(axes))):
        at, index = index % halves[i], index // halves[i]
        n = axes[i].n_grid
        # whole turns are taken off exactly, so that the angle is right to a rounding
        angle += (shifts[:, i, None] * at % n).double() * (2 * math.pi / n)
    return angle.cos(), angle.sin()


def _spread(value: Sequence[int] | int, n: int) -> tuple[int, ...]:
    return (value,) * n if isinstance(value, int) else tuple(value)


def _check(weight: Tensor, size: Sequence[int], groups: int) -> None:
    if weight.dim() not in (3, 4, 5) or len(size) != weight.dim() - 2:
        raise InputError(
            f"a weight of shape {tuple(weight.shape)} does not go with an image of size "
            f"{tuple(size)}: give (out, in / groups, *kernel) and as many sizes as the kernel has"
        )
    if weight.shape[0] % groups or min(size) < 1:
        raise InputError(
            f"groups={groups} must divide the {weight.shape[0]} outputs, and sizes must be >= 1, "
            f"not {tuple(size)}"
        )
