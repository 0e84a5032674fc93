r"""What is the operator norm of a convolution at most?

**Transform.** As a convolution of stride 1 on its phases (see :mod:`.axes`) it is a part of the
circular convolution on N = m + max a points an axis, which the discrete Fourier transform makes
block-diagonal (Sedghi, Gupta & Long 2019, arXiv:1805.10408):

    ||conv||^2 <= max_w || sum_{q, q'} W_q W_q'^T e^{i w (a_q - a_q')} ||_2 , w N / 2 pi in 0..N-1

On as many points as there are pixels, without room for the zeros, this is false (n = 3: 7.07 for a
norm of 8.72). The W_q W_q'^T are added up by their lag a_q - a_q' once, for all frequencies.

**Reshape.** || W as a matrix (out, in kh kw) || sqrt(prod ceil(k / (s / gcd(s, d)))), and the other
splits of the axes times sqrt(kh kw) (Singla & Feizi 2021, arXiv:1911.10258). Needs no size.

The bound is the smaller of both. That is the transform, but for the factor of coarse grids.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product as pairs

import torch
from torch import Tensor

from ...errors import InputError
from .axes import Axis, axis_of
from .matrices import largest_norm, largest_root, to_unit
from .rounding import gamma, product, up

MOST_NUMBERS = 1 << 20
"""Complex numbers of Gram matrices that are in memory at a time, 16 MB."""
Steps = Sequence[int] | int


def convolution_norm(
    weight: Tensor,
    size: Sequence[int],
    *,
    stride: Steps = 1,
    dilation: Steps = 1,
    groups: int = 1,
    circular: bool = False,
) -> float:
    """At least the norm of a convolution (1-D, 2-D or 3-D) from images to images, in float64.

    weight: (out, in / groups, *kernel); size: spatial size of the input; zero padding of any width.
    circular: positions are taken modulo the size, and the padding is at most dilation (kernel - 1)
    in all, so that no output comes twice. A transposed convolution has the norm of the one that it
    transposes: give its weight as it is and the size of its *output*.

    Raises InputError for shapes that do not go together and weights that are not finite. Cost: a
    product of two taps for each pair of taps, and one Cholesky factorisation of min(out, in) rows a
    frequency.

    >>> blur = torch.full((1, 1, 3, 3), 0.25)
    >>> 1.9 < convolution_norm(blur, (8, 8)) <= 2.25 + 1e-9
    True
    """
    steps = {"stride": stride, "dilation": dilation}
    found = transform_norm(weight, size, groups=groups, circular=circular, **steps)
    axes = _axes(weight, size, stride, dilation, circular)
    if all(axis.factor == 1 for axis in axes):
        return found  # no larger than any reshaped norm: that of a sum of taps is below each
    return min(found, reshape_norm(weight, groups=groups, **steps))


def transform_norm(
    weight: Tensor,
    size: Sequence[int],
    *,
    stride: Steps = 1,
    dilation: Steps = 1,
    groups: int = 1,
    circular: bool = False,
) -> float:
    """The bound by Fourier transform alone; arguments and errors as :func:`convolution_norm`.

    >>> round(transform_norm(torch.tensor([[[1.0, 1.0]]]), (2,)), 6)  # grid of 3: |1 + e^0|
    2.0
    """
    _check(weight, size, groups)
    axes = _axes(weight, size, stride, dilation, circular)
    scaled, scale = to_unit(weight)
    taps = scaled.reshape(groups, -1, *weight.shape[1:]).flatten(3)
    found = largest_root(_grams(taps, axes))
    return product([up(found * scale), *(axis.factor for axis in axes)])


def reshape_norm(
    weight: Tensor, *, stride: Steps = 1, dilation: Steps = 1, groups: int = 1
) -> float:
    """The bound by reshaped weights, for every input size; weight: (out, in / groups, *kernel).

    >>> round(reshape_norm(torch.ones(1, 1, 3)), 6)  # sqrt(3) sqrt(3)
    3.0
    """
    kernel = weight.shape[2:]
    n_axes = len(kernel)
    steps = zip(kernel, _spread(stride, n_axes), _spread(dilation, n_axes))
    windows = math.prod(math.ceil(k / (s // math.gcd(s, d))) for k, s, d in steps)
    blocks = weight.reshape(groups, -1, *weight.shape[1:])
    bounds = []
    for left in pairs((False, True), repeat=n_axes):
        rows = [1] + [3 + i for i in range(n_axes) if left[i]]
        columns = [2] + [3 + i for i in range(n_axes) if not left[i]]
        split = blocks.permute(0, *rows, *columns)
        stack = split.reshape(groups, math.prod(blocks.shape[i] for i in rows), -1)
        times = math.prod(kernel) if any(left) else windows
        bounds.append(product([largest_norm(stack), up(math.sqrt(times), 1)]))
    return min(bounds)


def _axes(
    weight: Tensor, size: Sequence[int], stride: Steps, dilation: Steps, circular: bool
) -> list[Axis]:
    n = weight.dim() - 2
    steps = zip(size, weight.shape[2:], _spread(stride, n), _spread(dilation, n))
    return [axis_of(*step, circular) for step in steps]


def _grams(taps: Tensor, axes: Sequence[Axis]) -> Iterator[tuple[Tensor, float]]:
    """Gram matrices of all frequencies in stacks, with the norm of their rounding.

    taps: (G, out, in, T). The weights are real: one half of the last axis has the conjugates of the
    other.
    """
    lags, parts = _lagged(taps, axes)
    n_lags, groups, n, _ = parts.shape
    even, odd = (parts + parts.mT).flatten(1), (parts - parts.mT).flatten(1)
    even[0] /= 2  # lag zero comes first, and once
    halves = [axis.n_grid for axis in axes]
    halves[-1] = axes[-1].n_grid // 2 + 1
    spread = float(taps.abs().sum(3).flatten(1).norm(dim=1).max())
    length = taps.shape[3] * max(taps.shape[1:3])
    error = up(4 * gamma(length + n_lags + 20) * spread**2, 8)
    step = max(1, MOST_NUMBERS // (groups * n * n))
    for start in range(0, math.prod(halves), step):
        index = torch.arange(start, min(start + step, math.prod(halves)))
        angle = _angles(index, halves, axes, lags)
        stack = torch.complex(angle.cos() @ even, angle.sin() @ odd)
        yield stack.reshape(-1, n, n), error


def _lagged(taps: Tensor, axes: Sequence[Axis]) -> tuple[Tensor, Tensor]:
    """Lags (L, axes), zero first and no two of opposite sign, and their matrices (L, G, n, n).

    On the side of the outputs W_q W_q'^T for taps of one phase, on that of the inputs W_q^T W_q' in
    the block of their phases, whichever is smaller.
    """
    at = list(pairs(*(range(len(axis.shifts)) for axis in axes)))
    shifts = [tuple(ax.shifts[q] for ax, q in zip(axes, tap)) for tap in at]
    phases = [tuple(ax.phases[q] for ax, q in zip(axes, tap)) for tap in at]
    places = {phase: i for i, phase in enumerate(sorted(set(phases)))}
    groups, n_out, n_in, n_taps = taps.shape
    outputs = n_out <= n_in * len(places)
    n = n_out if outputs else n_in * len(places)
    found: dict[tuple[int, ...], Tensor] = {
        (0,) * len(axes): torch.zeros(groups, n, n, dtype=torch.float64)
    }
    for one, two in pairs(range(n_taps), repeat=2):
        lag = tuple(a - b for a, b in zip(shifts[one], shifts[two]))
        if lag < (0,) * len(axes) or (outputs and phases[one] != phases[two]):
            continue
        into = found.setdefault(lag, torch.zeros(groups, n, n, dtype=torch.float64))
        if outputs:
            into += taps[..., one] @ taps[..., two].mT
        else:  # (W^H W): the conjugate comes first
            rows, columns = places[phases[two]] * n_in, places[phases[one]] * n_in
            into[:, rows : rows + n_in, columns : columns + n_in] += (
                taps[..., two].mT @ taps[..., one]
            )
    return torch.tensor(list(found)), torch.stack(list(found.values()))


def _angles(
    index: Tensor, halves: Sequence[int], axes: Sequence[Axis], lags: Tensor
) -> Tensor:
    """w . lag of the frequencies with flat numbers `index`, (F, L)."""
    angle = torch.zeros(len(index), len(lags), dtype=torch.float64)
    for i in reversed(range(len(axes))):
        at, index = index % halves[i], index // halves[i]
        # whole turns are taken off exactly, so that the angle is right to a rounding
        turns = at[:, None] * lags[:, i] % axes[i].n_grid
        angle += turns.double() * (2 * math.pi / axes[i].n_grid)
    return angle


def _spread(value: Steps, n: int) -> tuple[int, ...]:
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
