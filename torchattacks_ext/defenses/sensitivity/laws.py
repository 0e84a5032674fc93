"""What is the law of an angle? A Gaussian cut to [0, pi] for each kind of class, fitted from data.

arXiv:2606.01746, eq. 12-13: the angles between features and rows of a head have two components,
one for the row's own class and one for the others. A component is (weight, mean, deviation), mean
and deviation in radians, of the Gaussian before it is cut.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from ...errors import ConfigError, InputError

FloatArray = NDArray[np.float64]
Component = tuple[float, float, float]
_NODES = 48
"""Of the quadrature, in each panel."""
_LEAST, _MOST = 1e-6, 10 * math.pi
"""Deviations of a fit lie between: below, all angles are equal; above, the law is flat."""


def fit_truncated(angles: ArrayLike) -> tuple[float, float]:
    """(mean, deviation) of the Gaussian cut to [0, pi] of greatest likelihood; angles (N >= 2,).

    Raises InputError for fewer than two, and for what lies outside [0, pi].

    >>> mean, deviation = fit_truncated([1.4, 1.5, 1.6])
    >>> round(mean, 6), round(deviation, 6)
    (1.5, 0.08165)
    """
    found = np.asarray(angles, dtype=np.float64)
    if found.ndim != 1 or len(found) < 2 or not ((found >= 0) & (found <= np.pi)).all():
        raise InputError(
            f"angles {found.shape} must be (N,), at least two, in radians of [0, pi]"
        )
    # two moments are all that the likelihood depends on
    mean, width = float(found.mean()), max(float(found.std()), _LEAST)
    if 8 * width < min(mean, math.pi - mean):
        return mean, width  # nothing is cut off

    def loss(at: FloatArray) -> float:
        centre, spread = float(at[0]), math.exp(float(at[1]))
        squares = (mean - centre) ** 2 + width**2
        return _log_mass(centre, spread) + float(at[1]) + squares / (2 * spread**2)

    box = [(-math.pi, 2 * math.pi), (math.log(_LEAST), math.log(_MOST))]
    best = optimize.minimize(loss, [mean, math.log(width)], bounds=box)
    return float(best.x[0]), math.exp(float(best.x[1]))


def _log_mass(mean: float, deviation: float) -> float:
    """log P(0 <= X <= pi) of the Gaussian that is not cut."""
    low, high = -mean / deviation, (math.pi - mean) / deviation
    if low > 0:  # the upper tail is the lower one of its mirror image
        low, high = -high, -low
    top, below = float(special.log_ndtr(high)), float(special.log_ndtr(low))
    return top + math.log1p(-math.exp(below - top))


def _ends(mean: float, deviation: float) -> tuple[float, float, float, float]:
    """Arguments of scipy's truncated normal; a frozen law costs more than its values."""
    return -mean / deviation, (math.pi - mean) / deviation, mean, deviation


def _share_below(at: FloatArray, mean: float, deviation: float) -> FloatArray:
    return np.asarray(stats.truncnorm.cdf(at, *_ends(mean, deviation)))


def largest_gap(angles: ArrayLike, mean: float, deviation: float) -> float:
    """The largest difference between the shares of the angles (N,) and of the law (Kolmogorov).

    >>> round(largest_gap([1.5], 1.5, 0.1), 6)
    0.5
    """
    found = np.sort(np.asarray(angles, dtype=np.float64))
    law = _share_below(found, mean, deviation)
    steps = np.arange(len(law) + 1) / len(law)
    return float(max((steps[1:] - law).max(), (law - steps[:-1]).max()))


def empirical_probability(
    feature: Sequence[Component],
    centroid: Sequence[Component],
    step: Sequence[Component],
) -> float:
    """P(|cos t_c| / |sin t_d| <= |cos g|), eq. 8, for independent angles of these mixtures.

    feature: of t_c, a feature and a row of the linear head; centroid: of t_d, a feature and a
    centroid; step: of g, the feature's change and the row. Weights of each add up to 1. A
    quadrature in the quantiles, to about 1e-5. Raises ConfigError for other weights.

    >>> right = [(1.0, 1.5708, 0.02)]
    >>> empirical_probability(right, right, [(1.0, 0.3, 0.02)]) > 0.999
    True
    """
    for name, parts in (("feature", feature), ("centroid", centroid), ("step", step)):
        if not math.isclose(sum(part[0] for part in parts), 1.0, rel_tol=1e-9):
            raise ConfigError(f"weights of {name} in {parts!r} must add up to 1")
    total = 0.0
    for one, sines in _nodes(centroid, np.sin):
        for other, cosines in _nodes(step, np.cos):
            reach = np.abs(np.outer(sines, cosines))
            away = np.arccos(np.minimum(reach, 1.0))
            inside = np.zeros_like(away)
            for weight, mean, deviation in feature:
                ends = np.stack([np.pi - away, away])
                high, low = _share_below(ends, mean, deviation)
                inside += weight * (high - low)
            total += float(one @ inside @ other)
    return min(max(total, 0.0), 1.0)


def _nodes(
    parts: Sequence[Component], of: np.ufunc
) -> list[tuple[FloatArray, FloatArray]]:
    """(weights, values) of the quadrature over each component, in its quantiles."""
    at, share = np.polynomial.legendre.leggauss(_NODES)
    found = []
    for weight, mean, deviation in parts:
        # |cos| has a corner at the right angle: a panel on each side of it
        corner = float(_share_below(np.array(np.pi / 2), mean, deviation))
        for low, high in ((0.0, corner), (corner, 1.0)):
            if high - low > 0:
                u = low + (high - low) * (at + 1) / 2
                found.append(
                    (
                        weight * share * (high - low) / 2,
                        of(stats.truncnorm.ppf(u, *_ends(mean, deviation))),
                    )
                )
    return found
