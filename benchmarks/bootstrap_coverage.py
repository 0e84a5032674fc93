"""How often do the intervals of the package cover the truth, where tails or outcomes are bad?

Means of lognormal rows by the percentile bootstrap and by bootstrap-t, medians by percentiles;
Spearman's coefficient with an outcome of given rarity, as the package gives it ("given", widened by
a permutation interval where the outcome is rare) and by the percentile bootstrap alone. Each line
has the share of cases that cover, how many cases there were (a constant outcome has no
coefficient), and how many of them the package doubts. The nominal level is .95.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

import numpy as np
from record import RESULTS, machine, write
from scipy import stats

from torchattacks_ext.numerics.correlation.columns import correlate
from torchattacks_ext.numerics.correlation.weighted import resampled
from torchattacks_ext.numerics.resampling import (
    bootstrap,
    bootstrap_t,
    carried_by_few,
    carriers,
    percentiles,
)
from torchattacks_ext.results.base.facts import versions

LEVEL, N_RESAMPLES = 0.95, 1000
MEANS = ((0.5, 50), (1.0, 50), (1.0, 200), (1.5, 200), (2.0, 200), (3.0, 200))
OUTCOMES = ((0.01, 0.0), (0.01, 2.0), (0.03, 0.0), (0.1, 0.0), (0.3, 1.0))
N_OUTCOME = 200


def main() -> None:
    """Measure all cases and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=400)
    n_cases = parser.parse_args().cases
    record = {
        "machine": machine(),
        "versions": versions(),
        "confidence": LEVEL,
        "n_resamples": N_RESAMPLES,
        "mean_of_lognormal": [mean_case(*case, n_cases) for case in MEANS],
        "spearman": [outcome_case(*case, n_cases) for case in OUTCOMES],
    }
    write(RESULTS / "bootstrap_coverage.json", record)


def mean_case(sigma: float, n: int, n_cases: int) -> dict[str, Any]:
    """Coverage of the mean exp(sigma^2 / 2) and of the median 1."""
    rng = np.random.default_rng([int(10 * sigma), n])
    truth, hits, effective = math.exp(sigma**2 / 2), np.zeros(3), []
    doubted = 0
    for seed in range(n_cases):
        x = np.exp(sigma * rng.standard_normal(n))
        ends = (
            bootstrap(x, "mean", LEVEL, N_RESAMPLES, seed),
            bootstrap_t(x, LEVEL, N_RESAMPLES, seed),
            bootstrap(x, "median", LEVEL, N_RESAMPLES, seed),
        )
        wanted = (truth, truth, 1.0)
        hits += [low <= w <= high for (low, high), w in zip(ends, wanted)]
        effective.append(carriers(x))
        doubted += carried_by_few(x)
    percentile, t, median = (hits / n_cases).tolist()
    return {
        "sigma": sigma,
        "n": n,
        "cases": n_cases,
        "percentile": percentile,
        "bootstrap_t": t,
        "median": median,
        "median_carriers": float(np.median(effective)),
        "doubted": doubted / n_cases,
    }


def outcome_case(rate: float, shift: float, n_cases: int) -> dict[str, Any]:
    """Coverage of Spearman's coefficient of x ~ N(shift y, 1) with y ~ Bernoulli(rate)."""
    rng = np.random.default_rng([int(1000 * rate), int(10 * shift)])
    truth = spearman(rate, shift)
    hits, known, doubted = np.zeros(2), 0, 0
    for seed in range(n_cases):
        y = (rng.random(N_OUTCOME) < rate).astype(float)
        x = rng.standard_normal(N_OUTCOME) + shift * y
        found = correlate(x, y, confidence=LEVEL, n_resamples=N_RESAMPLES, seed=seed)
        if found.reason:
            continue
        (drawn,) = resampled([x], y, "spearman", N_RESAMPLES, seed)
        low, high = percentiles(drawn, LEVEL)
        hits += [found.low <= truth <= found.high, low <= truth <= high]
        known, doubted = known + 1, doubted + bool(found.doubt)
    given, percentile = (hits / known).tolist()
    return {
        "rate": rate,
        "shift": shift,
        "n": N_OUTCOME,
        "truth": truth,
        "cases": known,
        "given": given,
        "percentile": percentile,
        "doubted": doubted / known,
    }


def spearman(rate: float, shift: float) -> float:
    """The coefficient of the population: 2 P(x_1 > x_0) - 1 = 2 Phi(shift / sqrt 2) - 1 gives it.

    With U = F(x), cov(U, y) = rate (1 - rate) (A - 1/2), A = P(x_1 > x_0); var(U) = 1/12.
    """
    area = float(stats.norm.cdf(shift / math.sqrt(2)))
    return math.sqrt(12 * rate * (1 - rate)) * (area - 0.5)


if __name__ == "__main__":
    main()
