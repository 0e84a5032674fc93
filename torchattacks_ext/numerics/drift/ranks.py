"""Has a score moved, or a feature? Two samples' distribution functions, Kolmogorov & Smirnov.

`ks_test`: one score, its p-value counted over relabellings, so that ties do no harm.
`ks_by_feature`: many features, p-values of scipy (too large where there are ties) with Holm over
all of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ...errors import InputError
from ..arguments import parse_seed, parse_whole
from ..populations.multiplicity import adjust
from .kernels import checked_sample
from .numbers import one_score

FloatArray = NDArray[np.float64]
Counts = NDArray[np.int64]
_BLOCK = 250
"""Relabellings at a time."""


class KSTests(NamedTuple):
    """Of each feature: distance of the two distribution functions, its p-value, adjusted."""

    distance: FloatArray
    p_value: FloatArray
    adjusted: FloatArray


class KSTest(NamedTuple):
    """Largest distance of the two distribution functions in [0, 1], and its p-value."""

    distance: float
    p_value: float


def ks_distance(reference: ArrayLike, batch: ArrayLike) -> float:
    """Largest distance of two distribution functions in [0, 1]; 0 where a sample is empty.

    >>> ks_distance([1, 2], [2, 2, 2])
    0.5
    """
    x, y = np.sort(np.asarray(reference, float)), np.sort(np.asarray(batch, float))
    if not len(x) or not len(y):
        return 0.0
    points = np.concatenate([x, y])
    shares = [np.searchsorted(one, points, "right") / len(one) for one in (x, y)]
    return float(np.abs(shares[0] - shares[1]).max())


def ks_test(
    reference: ArrayLike,
    batch: ArrayLike,
    *,
    permutations: int = 1000,
    seed: int = 0,
) -> KSTest:
    """Exact permutation test of "both samples of a score have one law"; any ties.

    reference (m,), batch (n,): finite numbers, m, n >= 1. permutations: relabellings beside the
    given one, which counts too: the least p-value is 1 / (permutations + 1). Raises InputError for
    other shapes or numbers. Cost: (m + n) permutations.

    >>> ks_test(range(40), range(20, 60), permutations=99)
    KSTest(distance=0.5, p_value=0.01)
    """
    permutations, seed = parse_whole(permutations, "permutations", 1), parse_seed(seed)
    x, y = (
        one_score(np.asarray(s, float), n)
        for s, n in ((reference, "reference"), (batch, "batch"))
    )
    if not len(x) or not len(y):
        raise InputError("a sample is empty; give at least one number each")
    steps, last = _walk(x[:, None], y[:, None])
    signs, places = steps[:, 0], np.flatnonzero(last[:, 0])
    found = np.abs(np.cumsum(signs)[places]).max()
    rng, count = np.random.default_rng(seed), 0
    for start in range(0, permutations, _BLOCK):
        size = min(_BLOCK, permutations - start)
        shuffled = rng.permuted(np.tile(signs, (size, 1)), axis=1)
        sums = np.abs(np.cumsum(shuffled, axis=1)[:, places])
        count += int((sums.max(1) >= found).sum())
    distance = float(found) / (len(x) * len(y))
    return KSTest(distance, (1 + count) / (1 + permutations))


def ks_by_feature(reference: ArrayLike, batch: ArrayLike) -> KSTests:
    """Two-sample tests (d,) of every feature, p-values of scipy, adjusted by Holm.

    reference (m, d), batch (n, d). "adjusted <= level" for any feature happens with probability at
    most the level where both have one law, however the features depend on each other. Raises
    InputError for other shapes. Cost: a sort of m + n numbers a feature.

    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(300, 4)), rng.normal(size=(100, 4))
    >>> y[:, 2] += 1
    >>> np.flatnonzero(ks_by_feature(x, y).adjusted < 0.001).tolist()
    [2]
    """
    x, y = checked_sample(reference, "reference"), checked_sample(batch, "batch")
    if x.shape[1] != y.shape[1]:
        raise InputError(
            f"the reference has {x.shape[1]} features, the batch {y.shape[1]}"
        )
    steps, last = _walk(x, y)
    found = np.where(last, np.abs(np.cumsum(steps, axis=0)), 0).max(0)
    # a p-value depends on the distance alone: one feature is asked for all of equal distance
    _, first, same = np.unique(found, return_index=True, return_inverse=True)
    asked = [stats.ks_2samp(x[:, j], y[:, j]).pvalue for j in first]
    p = np.array(asked)[same.reshape(-1)]
    return KSTests(found / (len(x) * len(y)), p, adjust(p, "holm"))


def _walk(x: FloatArray, y: FloatArray) -> tuple[Counts, NDArray[np.bool_]]:
    """Each feature's pooled numbers in order: n for one of x (m, d), -m for one of y (n, d), and
    whether it is the last of equal ones; sums behind those are m n times the distance, exactly.
    """
    pooled = np.concatenate([x, y])
    order = np.argsort(pooled, axis=0, kind="stable")
    ordered = np.take_along_axis(pooled, order, axis=0)
    last = np.ones(order.shape, dtype=bool)
    last[:-1] = ordered[1:] > ordered[:-1]
    return np.where(order < len(x), len(y), -len(x)), last
