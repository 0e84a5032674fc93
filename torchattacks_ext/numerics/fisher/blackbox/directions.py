"""Which few directions show a whole space evenly? Orthonormal ones, signs, and unit vectors.

For an estimate (1/m) sum_i (g . v_i)^2 of |g|^2 to be unbiased, each v_i must have
E[v v^T] = I. Uniform on the sphere of radius sqrt(D) does, and so do random signs. When the
v_i are also orthogonal to each other, nothing is asked twice: for one vector g the relative
standard deviation is sqrt(2/m) sqrt(1 - m/D) instead of sqrt(2/m), and m = D directions
answer exactly.

Direction i of a sample is a function of (seed, id, purpose, i). There is no state: batches
and order do not matter, and a run can be continued by counting on.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ....errors import ConfigError
from ...gaussian import normals
from ...streams import uniform

_BLOCK_NUMBERS = 1 << 25


def block_size(size: int) -> int:
    """How many directions of ``size`` = D numbers are orthogonal to each other.

    All of them, D, up to D = 5792; above only 2^25 / D (222 for a 224 x 224 colour picture),
    to bound the memory at 128 MiB a sample. There the gain is small anyway.

    >>> block_size(64), block_size(3072), block_size(150528)
    (64, 3072, 222)
    """
    return max(1, min(size, _BLOCK_NUMBERS // max(size, 1)))


def unseen_share(n_directions: int, size: int) -> float:
    """What orthogonality leaves of the variance: the mean over directions of 1 - block / D.

    It is 1 - m/D for m directions of one block, 0 when the block is a basis. In [0, 1].

    >>> unseen_share(16, 64), unseen_share(64, 64), unseen_share(1, 64)
    (0.75, 0.0, 0.984375)
    """
    block = block_size(size)
    whole, rest = divmod(n_directions, block)
    seen = (whole * block**2 + rest**2) / (max(n_directions, 1) * size)
    return max(0.0, 1.0 - seen)


def orthonormal(
    seed: int,
    ids: Tensor,
    purpose: str,
    first: int,
    stop: int,
    size: int,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Directions first..stop-1 of every sample: (B, stop - first, size), rows of length sqrt(size).

    ids: (B,) int64. Each direction is, up to its sign, uniform on the sphere; those of one
    block (:func:`block_size`) are orthogonal, blocks are independent. They are the
    orthonormal factor of a Gaussian matrix (QR), whose column i depends on the columns up
    to i alone: asking in parts gives the same directions up to rounding. Raises ConfigError
    unless 0 <= first < stop. Cost: the normal numbers of the block up to ``stop`` (20 us for
    3072) and 4 D m^2 operations for its m directions.

    >>> v = orthonormal(0, torch.tensor([7]), "demo", 0, 3, 3)[0]
    >>> torch.allclose(v @ v.T, 3 * torch.eye(3), atol=1e-5)
    True
    """
    _check(first, stop)
    block, parts = block_size(size), []
    for start in range(first - first % block, stop, block):
        end = min(start + block, stop)
        gauss = _gaussian(seed, ids, purpose, start, end, size).to(dtype)
        basis = torch.linalg.qr(gauss.mT).Q.mT
        parts.append(basis[:, max(first - start, 0) :] * math.sqrt(size))
    return torch.cat(parts, 1)


def signs(
    seed: int,
    ids: Tensor,
    purpose: str,
    first: int,
    stop: int,
    size: int,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Directions first..stop-1 whose every number is -1 or 1 with probability 1/2.

    Arguments, shape and errors as for :func:`orthonormal`; the length is sqrt(size) too, but
    directions are independent. For inputs that move in whole steps.

    >>> v = signs(0, torch.tensor([7]), "demo", 0, 2, 3)
    >>> v.shape, v.abs().unique().tolist()
    (torch.Size([1, 2, 3]), [1.0])
    """
    _check(first, stop)
    rows, draws = _counters(ids, first, stop)
    u = uniform(seed, rows, purpose, draws, size)
    return (u >= 0.5).to(dtype).mul_(2).sub_(1).view(len(ids), stop - first, size)


def unit_gaussian(
    seed: int,
    ids: Tensor,
    purpose: str,
    first: int,
    stop: int,
    size: int,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Independent Gaussian directions first..stop-1 divided by their length: (B, n, size).

    Arguments and errors as for :func:`orthonormal`. Note the length, 1: E[v v^T] = I / size.

    >>> unit_gaussian(0, torch.tensor([7]), "demo", 0, 2, 4).norm(dim=2)
    tensor([[1.0000, 1.0000]])
    """
    _check(first, stop)
    gauss = _gaussian(seed, ids, purpose, first, stop, size).to(dtype)
    return torch.nn.functional.normalize(gauss, dim=2)


def _check(first: int, stop: int) -> None:
    if not 0 <= first < stop:
        raise ConfigError(f"first={first} and stop={stop} must be 0 <= first < stop")


def _counters(ids: Tensor, first: int, stop: int) -> tuple[Tensor, Tensor]:
    draws = torch.arange(first, stop, device=ids.device)
    return ids.repeat_interleave(stop - first), draws.repeat(len(ids))


def _gaussian(
    seed: int, ids: Tensor, purpose: str, first: int, stop: int, size: int
) -> Tensor:
    rows, draws = _counters(ids, first, stop)
    u = uniform(seed, rows, purpose, draws, size + size % 2)
    return normals(u)[:, :size].view(len(ids), stop - first, size)
