"""What are the eigenvalues and vectors of P_i - P_k? Each pair once, the oldest forgotten.

One decomposition serves (k, i) and (i, k), whose matrices differ in sign only. The vectors, d^2
numbers a pair, stay while there is room; the extreme eigenvalues, two numbers, always. LAPACK is
not trusted but measured: how far the computed vectors are from orthogonal, and from a
decomposition of the matrix, is taken off every eigenvalue.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor

from .mixture import UNIT, Mixture
from .scene import gamma

CACHE_BYTES = 3 << 26
"""Bytes of eigenvectors that are kept: at d = 128, 1,500 pairs."""


@dataclass(frozen=True, eq=False)
class Pair:
    """P_b - P_a, or P_a for a = b, as vectors diag(values) vectors^T.

    values (d,), vectors (d, d). error: of the values, in the spectral norm of the matrix; skew: how
    far the vectors are from orthogonal.
    """

    values: Tensor
    vectors: Tensor
    error: float
    skew: float

    @property
    def n_bytes(self) -> int:
        """Memory of it."""
        return (self.values.numel() + self.vectors.numel()) * 8


class Pairs:
    """Decompositions of the pairs of a mixture, made when they are asked for.

    cache_bytes: of vectors that are kept; at least the last pair is. slack: whether errors count
    (False for tests of the mathematics). low, high: (C, C), [k, i], bounds of the eigenvalues of
    P_i - P_k, known: (C, C) whether they are the pair's own, or Weyl's of two matrices. Only full
    covariances need vectors.

    >>> line = torch.tensor([[0.0, 0.0], [4.0, 0.0]], dtype=torch.float64)
    >>> factors = torch.tensor([[1.0, 1.0], [0.5, 1.0]], dtype=torch.float64).diag_embed()
    >>> mixture = Mixture(line, factors, line[:, 1], torch.arange(2), line[:, 1] + torch.inf)
    >>> pairs = Pairs(mixture, slack=False)
    >>> pairs.learn(0, 1)
    >>> pairs.low[0, 1].item(), pairs.low[1, 0].item(), pairs.n_decompositions
    (-0.75, -0.0, 1)
    """

    def __init__(
        self, mixture: Mixture, cache_bytes: int = CACHE_BYTES, slack: bool = True
    ) -> None:
        self.mixture, self.cache_bytes, self.slack = mixture, cache_bytes, slack
        self.n_decompositions = 0
        self._kept: OrderedDict[tuple[int, int], Pair] = OrderedDict()
        self._bytes = 0
        self.error = _matrix_error(mixture) if slack else 0 * mixture.norms
        """(C,) what forming P_c, and decomposing it, may lose in the spectral norm."""
        self.low, self.high = self._bounds()
        weyl = mixture.kind == "full"
        self.known = torch.full_like(self.low, not weyl, dtype=torch.bool)
        self.known.fill_diagonal_(True)

    @property
    def fit(self) -> bool:
        """Whether all decompositions that may be needed fit into the cache together."""
        c, d = self.mixture.n_components, self.mixture.dim
        whole = c * (c - 1) // 2 * (d * d + d) * 8
        return self.mixture.kind != "full" or whole <= self.cache_bytes

    def _bounds(self) -> tuple[Tensor, Tensor]:
        mixture = self.mixture
        least, most = mixture.extremes
        low, high = (
            end.unsqueeze(0) - other.unsqueeze(1)
            for end, other in ((least, most), (most, least))
        )
        if mixture.kind == "shared":  # the same stored matrix: 0 exactly
            return torch.zeros_like(low), torch.zeros_like(low)
        if mixture.kind == "diag":
            square = mixture.factors.square()
            for k in range(mixture.n_components):
                change = square - square[k]
                low[k], high[k] = change.amin(1), change.amax(1)
        error = self.error.unsqueeze(0) + self.error.unsqueeze(1)
        return low - error, high + error

    # ------------------------------------------------------------------ one pair
    def learn(self, own: int, rival: int) -> None:
        """Know the extreme eigenvalues of a pair, whether or not its vectors are kept."""
        if not bool(self.known[own, rival]):
            self.pair(min(own, rival), max(own, rival))

    def learn_all(self, own: Tensor) -> None:
        """Know those of each pair with one of these components (M,)."""
        for k in torch.unique(own).tolist():
            for i in (~self.known[k]).nonzero()[:, 0].tolist():
                self.learn(k, i)

    def pair(self, a: int, b: int) -> Pair:
        """The decomposition of a pair a <= b of full covariances; the last used is kept longest."""
        found = self._kept.get((a, b))
        if found is not None:
            self._kept.move_to_end((a, b))
            return found
        found = self._decomposed(a, b)
        self._kept[a, b] = found
        self._bytes += found.n_bytes
        while self._bytes > self.cache_bytes and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].n_bytes
        if a != b:
            self._note(a, b, found)
        return found

    def _note(self, a: int, b: int, pair: Pair) -> None:
        least, most = pair.values.min() - pair.error, pair.values.max() + pair.error
        self.low[a, b], self.high[a, b] = least, most
        self.low[b, a], self.high[b, a] = -most, -least
        self.known[a, b] = self.known[b, a] = True

    def _decomposed(self, a: int, b: int) -> Pair:
        mixture = self.mixture
        matrix = mixture.precision(b)
        if a != b:
            matrix = matrix - mixture.precision(a)
        self.n_decompositions += 1
        values, vectors = torch.linalg.eigh(matrix)
        if not self.slack:
            return Pair(values, vectors, 0.0, 0.0)
        off, skew = _measured(matrix, values, vectors)
        return Pair(values, vectors, off + float(self.error[a] + self.error[b]), skew)


def _matrix_error(mixture: Mixture) -> Tensor:
    # |P|_F <= |A|_F^2, which also bounds the rounding of A^T A and of the measuring below
    d, square = mixture.dim, mixture.norms.square()
    return (8 * d * UNIT + gamma(d) * (1 + 3 * math.sqrt(d))) * square


def _measured(matrix: Tensor, values: Tensor, vectors: Tensor) -> tuple[float, float]:
    """(how far an orthogonal decomposition with these values is from the matrix, the skew)."""
    one = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    skew = float((vectors.T @ vectors - one).norm())
    rest = float((matrix @ vectors - vectors * values).norm())
    return 2 * rest + 3 * skew * float(matrix.norm()), skew
