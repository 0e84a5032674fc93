"""Which features have moved? Kolmogorov-Smirnov of each, with Holm over all of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ...errors import InputError
from ..populations.multiplicity import adjust
from .kernels import checked_sample

FloatArray = NDArray[np.float64]


class KSTests(NamedTuple):
    """Of each feature: distance of the two distribution functions, its p-value, adjusted."""

    distance: FloatArray
    p_value: FloatArray
    adjusted: FloatArray


def ks_by_feature(reference: ArrayLike, batch: ArrayLike) -> KSTests:
    """Two-sample tests (d,) of every feature, p-values of scipy, adjusted by Holm.

    reference (m, d), batch (n, d). "adjusted <= level" for any feature happens with probability at
    most the level where both have one law, however the features depend on each other. Raises
    InputError for other shapes.

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
    seen = [stats.ks_2samp(x[:, j], y[:, j]) for j in range(x.shape[1])]
    p = np.array([one.pvalue for one in seen])
    distance = np.array([one.statistic for one in seen])
    return KSTests(distance, p, adjust(p, "holm"))
