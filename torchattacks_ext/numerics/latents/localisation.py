"""In how small a set does a Gaussian class lie, and how much of another class? Corrected.

S_k = {d_M <= r_k} holds the share 1 - delta of class k for r_k^2 = chi^2_{d, 1 - delta}; its volume
is what "localised" speaks of (Pal, Sulam & Vidal 2023). In the theorems of arXiv:2605.25352 the
sign of delta is reversed (3.1), and the share of another class is computed as if both covariances
were one (3.2), which can be too small; here it is bounded from above for any two.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from ...errors import ConfigError
from ..arguments import check_probabilities, parse_number, parse_seed, parse_whole
from ..rates.binomial import upper_bound

FloatArray = NDArray[np.float64]


class Localisation(NamedTuple):
    """Mahalanobis radius of a set that holds 1 - delta of a class, and the log of its volume."""

    radius: float
    log_volume: float


def localised(d: int, delta: float, log_det: float = 0.0) -> Localisation:
    """The ellipsoid of a Gaussian class in d dimensions that holds the share 1 - delta.

    log_det: of the covariance. log volume = (d/2) ln pi - ln Gamma(d/2 + 1) + d ln r + log_det / 2.

    >>> [round(number, 6) for number in localised(128, 0.05)]
    [12.466143, 191.040613]
    """
    d = parse_whole(d, "d", 1)
    check_probabilities(delta=delta)
    radius = math.sqrt(float(stats.chi2.isf(delta, d)))
    return Localisation(radius, log_volume(d, radius, log_det))


def log_volume(d: int, radius: float, log_det: float = 0.0) -> float:
    """ln of the volume of {d_M <= radius} in d dimensions.

    >>> round(log_volume(2, 2.0), 6)
    2.531024
    """
    ball = 0.5 * d * math.log(math.pi) - float(special.gammaln(d / 2 + 1))
    return ball + d * math.log(radius) + 0.5 * log_det


def delta_of(d: int, radius: float) -> float:
    """The share of a Gaussian class outside {d_M <= radius}: the right sign of Theorem 3.1.

    >>> round(delta_of(2, 2.0), 4)
    0.1353
    """
    return float(stats.chi2.sf(parse_number(radius, "radius") ** 2, d))


def overlap_bound(
    mean_i: ArrayLike,
    cov_i: ArrayLike,
    mean_j: ArrayLike,
    cov_j: ArrayLike,
    radius: float,
) -> float:
    """At least the share of class i in {Mahalanobis distance to class j <= radius}.

    F(radius^2 / l), F the noncentral chi^2 law with d degrees and noncentrality D^T S_i^-1 D, D =
    mu_i - mu_j, l the least eigenvalue of S_j^(-1/2) S_i S_j^(-1/2): exact where S_i = l S_j, else
    an upper bound that may be loose. Raises ConfigError for covariances that are not positive
    definite.

    >>> round(overlap_bound([4, 0], 4 * np.eye(2), [0, 0], np.eye(2), 3.0), 6)
    0.209232
    """
    gap = np.asarray(mean_i, np.float64) - np.asarray(mean_j, np.float64)
    s_i, root_j = _double(cov_i), _root(cov_j)
    _root(cov_i)  # says so, where it is no covariance
    inner = np.linalg.solve(root_j, s_i)
    inner = np.linalg.solve(root_j, inner.T)
    least = float(np.linalg.eigvalsh((inner + inner.T) / 2)[0])
    far = float(gap @ np.linalg.solve(s_i, gap))
    return (
        float(stats.ncx2.cdf(radius**2 / least, len(gap), far))
        if far
        else float(stats.chi2.cdf(radius**2 / least, len(gap)))
    )


def overlap_sampled(
    mean_i: ArrayLike,
    cov_i: ArrayLike,
    mean_j: ArrayLike,
    cov_j: ArrayLike,
    radius: float,
    *,
    n: int = 100_000,
    significance: float = 0.001,
    seed: int = 0,
) -> float:
    """As :func:`overlap_bound`, by n draws of class i: Clopper-Pearson's upper bound.

    Below the true share with probability at most `significance`.

    >>> far = overlap_sampled([4, 0], np.diag([4, 0.25]), [0, 0], np.eye(2), 3.0)
    >>> 0.3009 <= far < 0.31
    True
    """
    rng = np.random.default_rng(parse_seed(seed))
    gap = np.asarray(mean_i, np.float64) - np.asarray(mean_j, np.float64)
    draws = rng.standard_normal((n, len(gap))) @ _root(cov_i).T + gap
    inside = np.linalg.solve(_root(cov_j), draws.T)
    hits = int(((inside**2).sum(0) <= radius**2).sum())
    return float(upper_bound(hits, n, significance))


def _double(matrix: ArrayLike) -> FloatArray:
    return np.asarray(matrix, np.float64)


def _root(matrix: ArrayLike) -> FloatArray:
    try:
        return np.asarray(np.linalg.cholesky(_double(matrix)), np.float64)
    except np.linalg.LinAlgError:
        raise ConfigError(
            "a covariance is not positive definite; shrink it, or drop directions without variance"
        ) from None
