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
from dataclasses import dataclass

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


@dataclass(frozen=True, eq=False)
class Directions:
    """Directions of every sample, numbered from 0: whichever kind, of the same numbers.

    Each kind gives first..stop-1 of them, (B, stop - first, size), and raises ConfigError unless
    0 <= first < stop.

    Arguments:
        seed (int): any integer.
        ids (Tensor): (B,) int64.
        purpose (str): another word gives other directions.
        size (int): D, numbers of a direction.
        dtype (torch.dtype): of the answers. (Default: torch.float32)
    """

    seed: int
    ids: Tensor
    purpose: str
    size: int
    dtype: torch.dtype = torch.float32

    def orthonormal(self, first: int, stop: int) -> Tensor:
        """Rows of length sqrt(size), orthogonal to each other within a block.

        Each direction is, up to its sign, uniform on the sphere; those of one block
        (:func:`block_size`) are orthogonal, blocks are independent. They are the orthonormal
        factor of a Gaussian matrix (QR), whose column i depends on the columns up to i alone:
        asking in parts gives the same directions up to rounding. Cost: the normal numbers of
        the block up to ``stop`` (20 us for 3072) and 4 D m^2 operations for its m directions.

        >>> v = Directions(0, torch.tensor([7]), "demo", 3).orthonormal(0, 3)[0]
        >>> torch.allclose(v @ v.T, 3 * torch.eye(3), atol=1e-5)
        True
        """
        _check(first, stop)
        block, parts = block_size(self.size), []
        for start in range(first - first % block, stop, block):
            gauss = self._gaussian(start, min(start + block, stop))
            basis = torch.linalg.qr(gauss.mT).Q.mT
            parts.append(basis[:, max(first - start, 0) :] * math.sqrt(self.size))
        return torch.cat(parts, 1)

    def signs(self, first: int, stop: int) -> Tensor:
        """Rows whose every number is -1 or 1 with probability 1/2.

        Their length is sqrt(size) too, but they are independent. For inputs that move in whole
        steps.

        >>> v = Directions(0, torch.tensor([7]), "demo", 3).signs(0, 2)
        >>> v.shape, v.abs().unique().tolist()
        (torch.Size([1, 2, 3]), [1.0])
        """
        _check(first, stop)
        u = self._uniform(first, stop, self.size)
        return self._shaped((u >= 0.5).to(self.dtype).mul_(2).sub_(1))

    def unit_gaussian(self, first: int, stop: int) -> Tensor:
        """Independent Gaussian directions divided by their length: 1, so E[v v^T] = I / size.

        >>> Directions(0, torch.tensor([7]), "demo", 4).unit_gaussian(0, 2).norm(dim=2)
        tensor([[1.0000, 1.0000]])
        """
        _check(first, stop)
        return torch.nn.functional.normalize(self._gaussian(first, stop), dim=2)

    def _gaussian(self, first: int, stop: int) -> Tensor:
        u = self._uniform(first, stop, self.size + self.size % 2)
        return self._shaped(normals(u)[:, : self.size]).to(self.dtype)

    def _uniform(self, first: int, stop: int, size: int) -> Tensor:
        """(B n, size) numbers in [0, 1), the n = stop - first directions of a sample in turn."""
        rows = self.ids.repeat_interleave(stop - first)
        draws = torch.arange(first, stop, device=rows.device).repeat(len(self.ids))
        return uniform(self.seed, rows, self.purpose, draws, size)

    def _shaped(self, rows: Tensor) -> Tensor:
        """(B n, size) as (B, n, size)."""
        return rows.view(len(self.ids), -1, self.size)


def _check(first: int, stop: int) -> None:
    if not 0 <= first < stop:
        raise ConfigError(f"first={first} and stop={stop} must be 0 <= first < stop")
