"""Do held-out latents of each class look like its Gaussian? Diagnostics; they prove nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ...numerics.drift.kernels import mmd_test
from ...numerics.latents.gaussian import distance_test, fit_divergence, mardia
from ...numerics.latents.localisation import Localisation, localised, overlap_bound
from .fitted import Fitted, FloatArray

MOST_ROWS = 2000
"""Rows of a class that Mardia's tests look at: they need a matrix of all pairs."""
MMD_ROWS, RELABELLINGS = 300, 199
"""Rows of a class that are held against as many draws, and relabellings of the two."""


@dataclass(frozen=True)
class ClassFacts:
    """One Gaussian of the fit, and held-out latents of its class.

    n: held-out rows. distance_p, skewness_p, kurtosis_p, mmd_p: p-values of "Gaussian"; nan where
    there are too few rows. mmd: squared mean discrepancy of whitened rows and draws of N(0, I).
    localised: of the share 1 - delta. overlap: at most the share of all other classes in that set,
    summed. fit_kl: what the divergence of a fit to n rows is in the ideal case.
    """

    n: int
    distance_p: float
    skewness_p: float
    kurtosis_p: float
    mmd: float
    mmd_p: float
    localised: Localisation
    overlap: float
    fit_kl: float


def class_facts(
    law: Fitted, latents: Tensor, labels: Tensor, delta: float, seed: int
) -> Iterator[ClassFacts]:
    """Facts of each class in order; latents (N, d) float64 on the CPU, labels (N,).

    MMD: an exact permutation test of whitened rows against draws of the fitted Gaussian, at most
    300 of each.
    """
    z, y = latents.numpy(), labels.numpy()
    d, factors = z.shape[1], law.factors
    for k in range(len(law.priors)):
        own = z[y == k]
        white = (own - law.means[k]) @ factors[k].T
        log_det = float(np.linalg.slogdet(law.covariances[k])[1])
        size = localised(d, delta, log_det)
        p_values = (math.nan,) * 3
        if len(own) > d + 1:
            whole = mardia(own[:MOST_ROWS])
            distance_p = distance_test(own, law.means[k], factors[k])
            p_values = distance_p, whole.skewness_p, whole.kurtosis_p
        ideal = fit_divergence(d, len(own)) if len(own) else math.inf
        overlap = _overlap(law, k, size.radius)
        yield ClassFacts(
            len(own), *p_values, *_mmd(white, seed + k), size, overlap, ideal
        )


def _mmd(white: FloatArray, seed: int) -> tuple[float, float]:
    rows = white[:MMD_ROWS]
    if len(rows) < 2:
        return math.nan, math.nan
    drawn = np.random.default_rng(seed).standard_normal(rows.shape)
    found = mmd_test(drawn, rows, permutations=RELABELLINGS, seed=seed)
    return found.statistic, found.p_value


def _overlap(law: Fitted, k: int, radius: float) -> float:
    others = (
        overlap_bound(
            law.means[i], law.covariances[i], law.means[k], law.covariances[k], radius
        )
        for i in range(len(law.priors))
        if i != k
    )
    return min(1.0, sum(others))
