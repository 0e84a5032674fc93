"""What is the norm of a linear map that is given as a function? Its matrix is written out.

Pooling, resizing and padding act on one axis after the other, each by a small matrix; then the norm
is the product of the norms of these. Any other linear map is written out where it is small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .matrices import spectral_norm

Map = Callable[[Tensor], Tensor]


def dense(function: Map, shape: Sequence[int]) -> Tensor:
    """The matrix (outputs, inputs) of a linear map that takes batches (N, *shape), in float64.

    An affine map is taken without its constant. Cost: as many rows as inputs, and one.

    >>> dense(lambda x: 2 * x + 1, (2,)).tolist()
    [[2.0, 0.0], [0.0, 2.0]]
    """
    n = math.prod(shape)
    with torch.no_grad():
        rows = torch.cat([torch.zeros(1, n), torch.eye(n)]).double()
        found = function(rows.reshape(-1, *shape)).flatten(1)
    constant = found[0]
    return (found[1:] - constant).T if bool((constant != 0).any()) else found[1:].T


def axis_norm(function: Map, n: int) -> float:
    """At least the norm of a linear map of rows of n numbers, (N, n) to (N, n').

    >>> round(axis_norm(lambda x: x.repeat_interleave(4, dim=1), 3), 6)
    2.0
    """
    return spectral_norm(dense(function, (n,)))


def most_read(function: Map, n: int) -> int:
    """In how many windows a pixel lies at most, for a pooling by maxima of rows (N, n).

    >>> most_read(lambda x: torch.nn.functional.max_pool1d(x[:, None], 3, 1)[:, 0], 5)
    3
    """
    with torch.no_grad():
        # a window has a one where it holds the pixel of the row; -inf where it holds none at all
        seen = function(torch.eye(n, dtype=torch.float64)) > 0
    return int(seen.sum(1).max())
