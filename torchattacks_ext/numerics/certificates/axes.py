r"""How is a convolution along an axis, with its stride and dilation, one of stride 1?

Tap q reads position s i + d q of the padded image: phase r = d q mod s, at index i + a of that
phase, a = d q div s. So a convolution of stride s is one of stride 1 on its phases, s times the
channels. Only positions that are multiples of gcd(s, d) are ever read, and with s = 1 the residues
modulo d know nothing of each other: both shorten the axis. With at most m = ceil(n / s) pixels a
phase, zero padding of any width is room in a circle of N = m + max a points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .rounding import up

GRID = 32
"""Points a unit of the largest shift on which the maximum of all frequencies is bounded."""


@dataclass(frozen=True)
class Axis:
    """One axis as a convolution of stride 1: tap q reads phase `phases[q]` at `shifts[q]`.

    n_grid (int): points of the circle; factor (float): by which the maximum over the frequencies of
    these is multiplied, >= 1.
    """

    phases: tuple[int, ...]
    shifts: tuple[int, ...]
    n_grid: int
    factor: float = 1.0


def axis_of(n: int, k: int, stride: int, dilation: int, circular: bool = False) -> Axis:
    """The axis of n pixels under a kernel of k taps.

    circular: positions are taken modulo n, without room for zeros. Where the circle is large, fewer
    points and a factor bound all frequencies: a function of exponential type D with maximum M is at
    least M cos(D t) at distance t from it (Duffin & Schaeffer 1938), here D = max a / 2.

    >>> axis_of(3, 3, 1, 1)
    Axis(phases=(0, 0, 0), shifts=(0, 1, 2), n_grid=5, factor=1.0)
    >>> axis_of(8, 3, 2, 1)
    Axis(phases=(0, 1, 0), shifts=(0, 0, 1), n_grid=5, factor=1.0)
    """
    if circular:
        # where s does not divide n the phases mix: outputs of stride 1, some of them unused
        s, d = (stride if n % stride == 0 else 1), dilation
        room = n // s
    else:
        common = math.gcd(stride, dilation)
        n, s, d = math.ceil(n / common), stride // common, dilation // common
        if s == 1:
            n, d = math.ceil(n / d), 1
        room = math.ceil(n / s) + d * (k - 1) // s
    phases = tuple(d * q % s for q in range(k))
    shifts = tuple(d * q // s for q in range(k))
    reach = max(shifts)
    if reach == 0:
        return Axis(phases, shifts, 1)
    if GRID * reach >= room:
        return Axis(phases, shifts, room)
    factor = up(1 / math.cos(math.pi / (2 * GRID)), 8)
    return Axis(phases, shifts, GRID * reach, factor)
