"""How far does a smoothed number stay on one side of a value? Latents under Gaussian noise.

For g with values in [0, 1], Phi^-1(E g(x + N(0, sigma^2 I))) is 1/sigma-Lipschitz in x (Salman et
al. 2019, arXiv:1906.04584, Lemma 2). With the projection u = a^T f / |a| of an encoder |f| <= B, in
[-B, B], and a threshold tau, the mean of u stays above tau within

    sigma (Phi^-1((B + mean) / 2B) - Phi^-1((B + tau) / 2B)).

`vector_radius` is the coarser statement about the whole latent: the mean moves by at most
2 B (2 Phi(|d| / 2 sigma) - 1) (total variation of two Gaussians). Means are known from draws only:
`hoeffding_shift` and `bernstein_lower` bound one number, `mean_distance` a vector.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ...errors import ConfigError
from ..arguments import check_probabilities, parse_number
from .cohen import INWARD, check_draws, check_sigma

FloatArray = NDArray[np.float64]


def functional_radius(
    mean: ArrayLike, tau: ArrayLike, sigma: float, bound: float = 1.0
) -> FloatArray:
    """L2 radius within which the smoothed projection stays above tau; 0 where mean <= tau.

    mean: (a lower bound of) E u, in [-bound, bound]; tau: any number, broadcast. inf where tau <=
    -bound (nothing lies below); 0 where tau >= bound. Raises ConfigError for sigma or bound outside
    their domains.

    >>> functional_radius([0.9, 0.5, 0.99], [0.0, 0.0, 0.2], 0.5).round(5)
    array([0.82243, 0.33724, 1.16124])
    """
    sigma, bound = check_sigma(sigma), _check_bound(bound)
    mean, tau = np.asarray(mean, np.float64), np.asarray(tau, np.float64)
    inside = np.clip(mean, -bound, bound)
    high = special.ndtri((bound + inside) / (2 * bound))
    low = special.ndtri(np.clip((bound + tau) / (2 * bound), 0, 1))
    with np.errstate(invalid="ignore"):  # inf - inf where neither side is inside
        gap = sigma * (high - low) * INWARD
    found = np.where(tau <= -bound, np.inf, np.maximum(gap, 0.0))
    return np.where((mean <= tau) | (tau >= bound), 0.0, found)


def vector_radius(rho: ArrayLike, sigma: float, bound: float = 1.0) -> FloatArray:
    """L2 radius within which the mean latent moves by less than rho (>= 0): the coarser form.

    2 sigma Phi^-1((1 + rho / 2B) / 2); inf for rho >= 2B.

    >>> vector_radius([0.3, 1.0, 2.0], 0.25).round(5)
    array([0.09456, 0.33724,     inf])
    """
    sigma, bound = check_sigma(sigma), _check_bound(bound)
    share = np.maximum(np.asarray(rho, np.float64), 0) / (2 * bound)
    inner = special.ndtri((1 + np.minimum(share, 1.0)) / 2)
    return np.where(share >= 1, np.inf, 2 * sigma * inner * INWARD)


def smoothed_lipschitz(sigma: float, bound: float = 1.0) -> float:
    """B sqrt(2 / pi) / sigma, an L2 Lipschitz constant of the mean latent (Pautov et al. 2022).

    >>> round(smoothed_lipschitz(0.25), 5)
    3.19154
    """
    return _check_bound(bound) * math.sqrt(2 / math.pi) / check_sigma(sigma)


def mean_distance(n: int, significance: float, bound: float = 1.0) -> float:
    """What the mean of n latents |f| <= B is from E f with probability at least 1 - significance.

    (B / sqrt(n)) (1 + sqrt(2 ln(1 / significance))): E|mean - E f| <= B / sqrt(n), and McDiarmid
    with differences 2B / n.

    >>> round(mean_distance(10_000, 0.001), 4)
    0.0472
    """
    check_probabilities(significance=significance)
    n = check_draws("n", n)
    return (
        _check_bound(bound)
        / math.sqrt(n)
        * (1 + math.sqrt(2 * math.log(1 / significance)))
    )


def hoeffding_shift(n: int, significance: float, bound: float = 1.0) -> float:
    """What the mean of n numbers in [-B, B] exceeds E by with probability <= significance at most.

    B sqrt(2 ln(1 / significance) / n) (Hoeffding 1963).

    >>> round(hoeffding_shift(10_000, 0.001), 5)
    0.03717
    """
    check_probabilities(significance=significance)
    n = check_draws("n", n)
    return _check_bound(bound) * math.sqrt(2 * math.log(1 / significance) / n)


def bernstein_lower(
    mean: ArrayLike,
    variance: ArrayLike,
    n: int,
    significance: float,
    bound: float = 1.0,
) -> FloatArray:
    """A lower bound of E from n >= 2 numbers in [-B, B] with that mean and sample variance.

    mean - sqrt(2 V ln(2/a) / n) - 2B 7 ln(2/a) / (3 (n - 1)) (Maurer & Pontil 2009,
    arXiv:0907.3740, Theorem 4; V with n - 1). Better than Hoeffding's where the variance is small.
    Raises ConfigError for n < 2.

    >>> bernstein_lower(0.9, [0.0, 0.01], 10_000, 0.001).round(5)
    array([0.89645, 0.89255])
    """
    check_probabilities(significance=significance)
    if check_draws("n", n) < 2:
        raise ConfigError(f"n={n}: a sample variance needs 2 draws or more")
    level = math.log(2 / significance)
    spread = np.sqrt(2 * np.asarray(variance, np.float64) * level / n)
    wide = 2 * _check_bound(bound) * 7 * level / (3 * (n - 1))
    return np.asarray(mean, np.float64) - spread - wide


def _check_bound(bound: float) -> float:
    found = parse_number(bound, "bound")
    if not 0 < found < math.inf:
        raise ConfigError(
            f"bound={bound!r} must be a finite number > 0: the largest norm of a latent"
        )
    return found
