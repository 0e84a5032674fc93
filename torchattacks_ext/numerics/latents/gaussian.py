"""Do latents look like the Gaussian that was fitted to them? Diagnostics, and what a fit costs.

None of this proves anything: a law that no test rejects may be far from Gaussian. The certificates
of the fitted classifier need none of it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from ...errors import InputError
from ..arguments import parse_whole

FloatArray = NDArray[np.float64]


class Mardia(NamedTuple):
    """Multivariate skewness b1 and kurtosis b2, and the p-values of "the law is Gaussian"."""

    skewness: float
    kurtosis: float
    skewness_p: float
    kurtosis_p: float


def mardia(z: ArrayLike) -> Mardia:
    """Mardia's tests (1970) of latents z (n, d), n > d + 1, of one class.

    b1 = mean_ij g_ij^3, b2 = mean_i g_ii^2, g_ij = (z_i - m)^T S^-1 (z_j - m), S with 1/n;
    n b1 / 6 ~ chi^2 with d (d + 1) (d + 2) / 6 degrees, (b2 - d (d + 2)) / sqrt(8 d (d + 2) / n) ~
    N(0, 1), two-sided; both in the limit of many rows. Raises InputError for too few rows or a
    singular covariance. Memory: n^2 numbers.

    >>> rng = np.random.default_rng(0)
    >>> mardia(rng.exponential(size=(500, 2))).skewness_p < 1e-20
    True
    """
    z = _checked(z)
    n, d = z.shape
    gram = _gram(z)
    skewness = float((gram**3).mean())
    kurtosis = float((np.diag(gram) ** 2).mean())
    degrees = d * (d + 1) * (d + 2) / 6
    shift = (kurtosis - d * (d + 2)) / math.sqrt(8 * d * (d + 2) / n)
    return Mardia(
        skewness,
        kurtosis,
        float(stats.chi2.sf(n * skewness / 6, degrees)),
        float(2 * special.ndtr(-abs(shift))),
    )


def distance_test(z: ArrayLike, mean: ArrayLike, factor: ArrayLike) -> float:
    """p-value of "squared Mahalanobis distances are chi^2 with d degrees" (Kolmogorov-Smirnov).

    z (n, d) held-out latents of one class; mean (d,) and factor A (d, d) of the fit, P = A^T A:
    they must not be fitted on z.

    >>> z = np.random.default_rng(0).normal(size=(400, 3))
    >>> distance_test(z, np.zeros(3), np.eye(3)) > 1e-3
    True
    """
    z = np.asarray(z, np.float64)
    gap = (z - np.asarray(mean, np.float64)) @ np.asarray(factor, np.float64).T
    return float(stats.kstest((gap**2).sum(1), "chi2", args=(z.shape[1],)).pvalue)


def fit_divergence(d: int, n: int) -> float:
    """E KL(truth | fit) in nats of a Gaussian in d dimensions fitted to n of its own draws.

    Mean and covariance (1/n) estimated, exact by the Wishart law: (1/2) [d (n + 1) / (n - d - 2) -
    d + sum_i psi((n - i) / 2) + d ln(2 / n)], i = 1 .. d; about d (d + 3) / (4n). inf for n <= d +
    2. What a divergence from the truth is at the very least, in the ideal case.

    >>> round(fit_divergence(128, 1300), 2), round(fit_divergence(128, 5000), 3)
    (3.83, 0.876)
    """
    d, n = parse_whole(d, "d", 1), parse_whole(n, "n", 1)
    if n <= d + 2:
        return math.inf
    psi = float(special.digamma((n - np.arange(1, d + 1)) / 2).sum())
    return 0.5 * (d * (n + 1) / (n - d - 2) - d + psi + d * math.log(2 / n))


def pooled_divergence(d: int, n_class: int, n: int) -> float:
    """About what :func:`fit_divergence` is where K classes share one covariance of n rows in all.

    d / (2 n_class) + d (d + 1) / (4 n): of the mean of a class and of the pooled covariance.

    >>> round(pooled_divergence(128, 5000, 50_000), 3)
    0.095
    """
    return d / (2 * n_class) + d * (d + 1) / (4 * n)


def _checked(z: ArrayLike) -> FloatArray:
    found = np.asarray(z, np.float64)
    if found.ndim != 2 or len(found) <= found.shape[1] + 1:
        raise InputError(
            f"latents have shape {found.shape}, expected (n, d) with n > d + 1 rows of one class"
        )
    if not np.isfinite(found).all():
        raise InputError("latents hold NaN or infinite numbers; leave these rows out")
    return found


def _gram(z: FloatArray) -> FloatArray:
    """(n, n) inner products of centred rows in the metric of their own covariance."""
    centred = z - z.mean(0)
    _, sizes, rows = np.linalg.svd(centred, full_matrices=False)
    if sizes[-1] <= sizes[0] * 1e-12:
        raise InputError(
            "the latents lie in a plane of fewer dimensions: they have no density there; drop "
            "directions without variance"
        )
    white = centred @ rows.T / sizes * math.sqrt(len(z))
    return np.asarray(white @ white.T)
