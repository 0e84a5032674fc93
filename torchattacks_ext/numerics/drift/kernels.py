"""Do two samples of feature vectors have one law? Maximum mean discrepancy, by permutations.

    MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y),   k(a, b) = exp(-|a - b|^2 / (2 h^2))

(Gretton et al. 2012, J. Mach. Learn. Res. 13), h the median distance of the pooled rows. The
p-value counts the relabellings of the pooled rows, the given one among them, whose statistic is as
large: it is exact for exchangeable rows at any sample size (Phipson & Smyth 2010).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import InputError
from ..arguments import parse_seed, parse_whole

FloatArray = NDArray[np.float64]
_MOST_ROWS = 2000
"""Rows from which the bandwidth is taken."""
_BLOCK = 250
"""Relabellings at a time."""


class MMDTest(NamedTuple):
    """MMD^2 (biased, >= 0), its p-value, and the bandwidth h."""

    statistic: float
    p_value: float
    bandwidth: float


def mmd_test(
    reference: ArrayLike,
    batch: ArrayLike,
    *,
    permutations: int = 1000,
    seed: int = 0,
    bandwidth: float | None = None,
) -> MMDTest:
    """Exact permutation test of "both samples have one law".

    reference (m, d), batch (n, d): finite numbers, m, n >= 2; scale features beforehand, where
    their units differ. permutations: relabellings beside the given one; the least p-value is 1 /
    (permutations + 1). Raises InputError for other shapes or numbers. Cost: (m + n)^2 (d +
    permutations) multiplications, .1 s at m = 1000, n = 200, d = 512 and 1,000 permutations, and 12
    bytes for each of (m + n)^2 pairs.

    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(80, 3)), rng.normal(size=(40, 3)) + 1
    >>> mmd_test(x, y, permutations=199).p_value
    0.005
    """
    x, y = checked_sample(reference, "reference"), checked_sample(batch, "batch")
    if x.shape[1] != y.shape[1]:
        raise InputError(
            f"the reference has {x.shape[1]} features, the batch {y.shape[1]}; take both from one "
            "model and one list of features"
        )
    permutations, seed = parse_whole(permutations, "permutations", 1), parse_seed(seed)
    pooled = np.concatenate([x, y])
    squares = _squares(pooled)
    rng = np.random.default_rng(seed)
    h = bandwidth if bandwidth is not None else _median(squares, rng)
    exact = np.exp(np.multiply(squares, -1 / (2 * h * h), out=squares), out=squares)
    weights = np.concatenate(
        [np.full(len(x), 1 / len(x)), np.full(len(y), -1 / len(y))]
    )
    found = float(weights @ (exact @ weights))
    gram = exact.astype(np.float32)
    # float32 for the many; a tie with the given one counts as at least as large
    edge, count = found * (1 - 1e-5) - 1e-9, 0
    for start in range(0, permutations, _BLOCK):
        size = min(_BLOCK, permutations - start)
        shuffled = rng.permuted(np.tile(weights, (size, 1)), axis=1).astype(np.float32)
        count += int((((shuffled @ gram) * shuffled).sum(1) >= edge).sum())
    return MMDTest(found, (1 + count) / (1 + permutations), float(h))


def checked_sample(values: ArrayLike, name: str) -> FloatArray:
    """(n, d) float64 of at least two rows. Raises InputError for others."""
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 2 or len(found) < 2:
        raise InputError(
            f"{name} has shape {found.shape}, expected (n, d) with n >= 2 rows"
        )
    if not np.isfinite(found).all():
        rows = int((~np.isfinite(found)).any(1).sum())
        raise InputError(
            f"{name} has NaN or infinite numbers in {rows} rows; leave these rows out, and say so"
        )
    return found


def _squares(rows: FloatArray) -> FloatArray:
    """(N, N) squared distances; centred first, so that no digits are lost."""
    centred = rows - rows.mean(0)
    size = (centred**2).sum(1)
    squares: FloatArray = centred @ centred.T
    squares *= -2
    squares += size[:, None]
    squares += size
    return np.maximum(squares, 0.0, out=squares)


def _median(squares: FloatArray, rng: np.random.Generator) -> float:
    """The median distance of different rows; 1 where most are equal.

    Of many rows some are drawn whatever their sample: the first ones would be those of the
    reference, and h must not know which sample a row is of.
    """
    part = squares
    if len(squares) > _MOST_ROWS:
        rows = rng.choice(len(squares), _MOST_ROWS, replace=False)
        part = squares[np.ix_(rows, rows)]
    middle = float(np.median(part[np.triu_indices(len(part), 1)]))
    return float(np.sqrt(middle)) if middle > 0 else 1.0
