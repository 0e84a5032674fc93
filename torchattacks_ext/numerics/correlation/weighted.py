"""Which coefficient has a resample, told only how often each of its rows was drawn?

Weights c_i >= 0 are whole numbers with sum n: row i stands c_i times. Then the midrank of a value
is (weight below it) + (its own weight + 1) / 2, means and moments are weighted sums, and

    tau-b = sum_ij c_i c_j s_ij / sqrt((n^2 - sum_g u_g^2)(n^2 - sum_h v_h^2)),

s_ij = sign(x_i - x_j) sign(y_i - y_j), u and v the weights of the distinct values of x and y
(Kendall 1945, both sums over ordered pairs). All resamples of a chunk are done at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..incbeta import FloatArray
from ..resampling import IntArray, resamples

_FLAT = 1e-13
"""A spread below this share of the mean is rounding: scipy's own limit."""
_PAIRS = 2**21
"""Pairs of rows held at a time: 8 MiB in float32."""


def resampled(
    predictors: list[FloatArray],
    outcome: FloatArray,
    coefficient: str,
    n_resamples: int,
    seed: int,
) -> list[FloatArray]:
    """Return (n_resamples,) coefficients of each predictor (N,) with the outcome (N,), paired.

    coefficient: "spearman", "kendall" or "pearson". nan where a column is constant in a resample.

    >>> x = np.array([1.0, 2, 3])
    >>> len(resampled([x], x, "spearman", 40, seed=0)[0])
    40
    """
    every = [*predictors, outcome]
    if coefficient == "pearson":
        every = [scaled(values) for values in every]
    classes = [np.unique(values, return_inverse=True)[1] for values in every]
    found: list[list[FloatArray]] = [[] for _ in predictors]
    for drawn in resamples(len(outcome), n_resamples, seed):
        counts = counts_of(drawn)
        for out, values, ranks in zip(found, every, classes):
            if coefficient == "kendall":
                out.append(weighted_kendall(ranks, classes[-1], counts))
            elif coefficient == "spearman":
                pair = [weighted_midranks(r, counts) for r in (ranks, classes[-1])]
                out.append(weighted_pearson(pair[0], pair[1], counts))
            else:
                out.append(weighted_pearson(values, every[-1], counts))
    return [np.concatenate(parts) for parts in found]


def scaled(values: FloatArray) -> FloatArray:
    """Return values of at most 1 in size: no square overflows, and the coefficient stays.

    >>> scaled(np.array([2.0, -4.0]))
    array([ 0.5, -1. ])
    """
    return np.asarray(values / (np.abs(values).max() or 1.0))


def counts_of(drawn: IntArray) -> FloatArray:
    """Return (R, n) how often each row number in [0, n) stands in each row of (R, n) numbers.

    >>> counts_of(np.array([[0, 0, 2]]))
    array([[2., 0., 1.]])
    """
    size, n = drawn.shape
    places = drawn + np.arange(size)[:, None] * n
    counts = np.bincount(places.ravel(), minlength=size * n)
    return counts.reshape(size, n).astype(np.float64)


def weighted_midranks(classes: IntArray, counts: FloatArray) -> FloatArray:
    """Return (R, N) the midranks of the rows in each resample; meaningless where a count is 0.

    classes: (N,) place of each row's value among the distinct ones, each of 0 .. G-1 used.
    counts: (R, N) how often each row stands in each resample.

    >>> weighted_midranks(np.array([1, 0, 1]), np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 1.0]]))
    array([[2.5, 1. , 2.5],
           [2. , 0.5, 2. ]])
    """
    own = _by_class(classes, counts)
    return np.asarray((np.cumsum(own, axis=1) - (own - 1) / 2)[:, classes])


def weighted_pearson(x: FloatArray, y: FloatArray, counts: FloatArray) -> FloatArray:
    """Return (R,) correlation of x and y in each resample, in [-1, 1]; nan where one is constant.

    x, y: (N,) or (R, N), of a size whose squares are finite. counts: (R, N).

    >>> weighted_pearson(np.array([0.0, 1, 2]), np.array([0.0, 1, 0]), np.array([[1.0, 2, 0]]))
    array([1.])
    """
    (dx, x_squares), (dy, y_squares) = (_centred(values, counts) for values in (x, y))
    # one root of the product: a column with itself gives exactly 1
    product = np.sqrt(x_squares * y_squares)
    known = product > 0
    shared = np.einsum("rn,rn->r", counts * dx, dy)
    found = np.full(len(counts), np.nan)
    np.divide(shared, product, out=found, where=known)
    return np.asarray(np.clip(found, -1.0, 1.0))


def weighted_kendall(
    x_classes: IntArray, y_classes: IntArray, counts: FloatArray
) -> FloatArray:
    """Return (R,) tau-b in each resample; nan where x or y is constant there.

    x_classes, y_classes: (N,) as in :func:`weighted_midranks`. counts: (R, N), sums below 2^24.
    Cost: R N^2; the signs are held a block of rows at a time.

    >>> ranks = np.array([0, 1, 2])
    >>> weighted_kendall(ranks, np.array([0, 2, 1]), np.array([[1.0, 1.0, 1.0]])).round(4)
    array([0.3333])
    """
    n = len(x_classes)
    # Sums of whole numbers below 2^24: float32 has every one of them exactly.
    narrow, total = counts.astype(np.float32), np.zeros(len(counts))
    step = max(1, _PAIRS // n)
    for start in range(0, n, step):
        part = slice(start, start + step)
        signs = _signs(x_classes, part)
        signs *= _signs(y_classes, part)
        total += np.einsum("rb,rb->r", counts[:, part], narrow @ signs)
    squares = counts.sum(axis=1) ** 2
    x_pairs = squares - (_by_class(x_classes, counts) ** 2).sum(axis=1)
    y_pairs = squares - (_by_class(y_classes, counts) ** 2).sum(axis=1)
    found = np.full(len(counts), np.nan)
    known = (x_pairs > 0) & (y_pairs > 0)
    np.divide(total, np.sqrt(x_pairs * y_pairs), out=found, where=known)
    return np.asarray(np.clip(found, -1.0, 1.0))


def _signs(classes: IntArray, part: slice) -> NDArray[np.float32]:
    """(N, B) sign of class i - class j, for the rows j of the block."""
    signs = np.sign(classes[:, None] - classes[None, part])
    return np.asarray(signs, dtype=np.float32)


def _by_class(classes: IntArray, counts: FloatArray) -> FloatArray:
    """(R, G) weight of each distinct value."""
    order = np.argsort(classes, kind="stable")
    starts = np.searchsorted(classes[order], np.arange(classes.max() + 1))
    return np.asarray(np.add.reduceat(counts[:, order], starts, axis=1))


def _centred(values: FloatArray, counts: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(R, N) distance from the mean of each resample; (R,) its squares, 0 where all is rounding."""
    mean = (counts * values).sum(axis=1) / counts.sum(axis=1)
    # Two passes: the one-pass formula loses a small spread beside a large value not drawn.
    away = values - mean[:, None]
    squares = np.einsum("rn,rn->r", counts * away, away)
    return away, np.where(np.sqrt(squares) <= _FLAT * np.abs(mean), 0.0, squares)
