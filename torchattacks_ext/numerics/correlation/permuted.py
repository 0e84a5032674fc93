"""What coefficients would two columns have by chance alone, where one of them is nearly constant?

Of a column that has one value in all rows but k, a permutation is told by the places of those k. So
a resample costs k operations, whatever n:

    r      = sum_a X(p_a) (Y_a - Y_0) / (n sd(X) sd(Y)),            X centred, Y_0 the common value;
    tau-b  : S = sum_a s_a (G(p_a) - sum_b sgn(x(p_a) - x(p_b))) + sum_(a<b) sgn sgn,

with G(i) = sum_j sgn(x_i - x_j) and s_a = sgn(Y_a - Y_0). The permutation law is exact where the
columns are independent, for any n and k (Fisher 1935): that is where the percentile interval fails.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy import stats

from ..incbeta import FloatArray
from ..resampling import IntArray, percentiles
from ..streams import uniform

RARE = 20
"""A column with fewer rows than this apart from its most frequent value has a rare outcome."""
_CHUNK = 2**20


def rows_apart(values: FloatArray) -> int:
    """How many rows have another value than the most frequent one.

    >>> rows_apart(np.array([0.0, 0, 1, 0, 2]))
    2
    """
    return len(values) - int(np.unique(values, return_counts=True)[1].max(initial=0))


def is_rare(values: FloatArray) -> bool:
    """Whether most rows share one value and fewer than 20 have another one.

    >>> is_rare(np.array([0.0] * 50 + [1] * 3)), is_rare(np.arange(50.0))
    (True, False)
    """
    apart = rows_apart(values)
    return 0 < apart < min(RARE, len(values) / 2)


def permuted(
    x: FloatArray, rare: FloatArray, coefficient: str, n_resamples: int, seed: int
) -> FloatArray:
    """(n_resamples,) coefficients of `x` (N,) with `rare` (N,) in random order; N distinct seeds.

    coefficient: "spearman", "kendall" or "pearson". Neither column may be constant.

    >>> rare = np.array([1.0, 0, 0, 0, 0])
    >>> sorted({round(v, 2) for v in permuted(np.arange(5.0), rare, "spearman", 99, 0).tolist()})
    [-0.71, -0.35, 0.0, 0.35, 0.71]
    """
    values, counts = np.unique(rare, return_counts=True)
    common = values[counts.argmax()]
    if coefficient == "kendall":
        return _kendall(x, rare, common, n_resamples, seed)
    if coefficient == "spearman":
        x, ranks = stats.rankdata(x), stats.rankdata(rare)
        common, rare = ranks[rare == common][0], ranks
    centred = x - x.mean()
    step = rare[rare != common] - common
    scale = len(x) * x.std() * rare.std()
    parts = [
        (centred[places] * step).sum(axis=1) / scale
        for places in _places(len(x), len(step), n_resamples, seed)
    ]
    return np.concatenate(parts)


def by_chance(
    predictors: list[FloatArray],
    outcome: FloatArray,
    rare: list[FloatArray],
    coefficient: str,
    n_resamples: int,
    seed: int,
) -> FloatArray:
    """What a random order of a rare column gives: of the coefficient, or of a difference of two.

    rare: which of the columns are rare, the outcome last. Of two columns that both are, each is put
    in order once, so that they may change places.
    """
    size = (n_resamples, seed)
    if rare[-1] is not outcome:
        return permuted(outcome, rare[-1], coefficient, *size)
    if len(predictors) == 1 and len(rare) == 2:
        pairs = ((predictors[0], outcome), (outcome, predictors[0]))
        return np.concatenate([permuted(*pair, coefficient, *size) for pair in pairs])
    drawn = [permuted(x, outcome, coefficient, *size) for x in predictors]
    return drawn[0] if len(drawn) == 1 else drawn[0] - drawn[1]


def widened(
    ends: tuple[float, float], value: float, drawn: FloatArray, confidence: float
) -> dict[str, float]:
    """The interval `ends` and the permutation interval around the value as one, by name.

    >>> widened((0.1, 0.3), 0.25, np.linspace(-0.5, 0.5, 101), 0.5)
    {'low': 0.0, 'high': 0.5}
    """
    low, high = percentiles(drawn, confidence)
    most = max(1.0, *map(abs, ends))  # a coefficient; a difference may reach 2
    return {
        "low": min(ends[0], max(value - high, -most)),
        "high": max(ends[1], min(value - low, most)),
    }


def _kendall(
    x: FloatArray, rare: FloatArray, common: float, n_resamples: int, seed: int
) -> FloatArray:
    step = rare[rare != common] - common
    sign, k = np.sign(step), len(step)
    among = np.sign(step[:, None] - step[None, :])
    order = np.sort(x)
    below = np.searchsorted(order, x, "left")
    above = len(x) - np.searchsorted(order, x, "right")
    against_all = (below - above).astype(np.float64)
    scale = np.sqrt(_untied(x) * _untied(rare))
    parts = []
    for places in _places(len(x), k, n_resamples, seed):
        drawn = x[places]
        pairs = np.sign(drawn[:, :, None] - drawn[:, None, :])
        rest = against_all[places] - pairs.sum(axis=2)
        inside = (pairs * among).sum(axis=(1, 2)) / 2
        parts.append(((sign * rest).sum(axis=1) + inside) / scale)
    return np.concatenate(parts)


def _untied(values: FloatArray) -> float:
    """Pairs of rows with two values."""
    counts = np.unique(values, return_counts=True)[1].astype(np.float64)
    n = float(len(values))
    return (n * n - float((counts**2).sum())) / 2


def _places(n: int, k: int, n_resamples: int, seed: int) -> Iterator[IntArray]:
    """(R, k) distinct row numbers in [0, n), R resamples at a time."""
    step = max(1, _CHUNK // n)
    for start in range(0, n_resamples, step):
        ids = torch.arange(start, min(start + step, n_resamples))
        drawn = uniform(seed, ids, "permutation", 0, n).numpy()
        yield drawn.argsort(axis=1, kind="stable")[:, :k]
