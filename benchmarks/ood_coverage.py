"""How often do bootstrap intervals of AUROC, average precision and FPR95 hold the truth?

Scores of N inside and N outside images, normal with deviation 1 and means 0 and d: all four numbers
are known on paper. The share of samples whose 95 % interval holds them, and, beside it, that of the
plain percentile interval, without the image that is added on either side.

Run: python benchmarks/ood_coverage.py [--samples 400]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch
from scipy import stats

from torchattacks_ext.numerics.detection.intervals import separation
from torchattacks_ext.numerics.detection.ranking import auroc, gaussian_auroc
from torchattacks_ext.results.base.facts import versions

DISTANCES, SIZES, RESAMPLES = (0.0, 1.0, 2.0, 3.0, 5.0), (50, 200), 400


def truth(distance: float) -> dict[str, float]:
    """The four numbers of all images there are, as many inside as outside."""
    t = np.linspace(-12, 12 + distance, 200_001)
    recall, false = stats.norm.sf(t - distance), stats.norm.sf(t)
    precision = recall / np.maximum(recall + false, 1e-300)
    passed = float(stats.norm.cdf(stats.norm.ppf(0.95) - distance))
    return {
        "auroc": gaussian_auroc(distance),
        "average_precision": float(-np.trapezoid(precision, recall)),
        "fpr95_inside": passed,
        "fpr95_outside": passed,
    }


def plain(inside: np.ndarray, outside: np.ndarray, seed: int) -> tuple[float, float]:
    """The percentile interval of the AUROC, resample by resample."""
    draw = np.random.default_rng(seed)
    found = [
        auroc(draw.choice(inside, len(inside)), draw.choice(outside, len(outside)))
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def cover(distance: float, n: int, samples: int, seed: int) -> dict[str, Any]:
    """Shares of samples whose intervals hold the truth, and the mean length for the AUROC."""
    draw, known = np.random.default_rng(seed), truth(distance)
    held, length, bare = dict.fromkeys(known, 0), 0.0, 0
    for k in range(samples):
        inside, outside = draw.normal(size=n), draw.normal(distance, size=n)
        found = separation(inside, outside, n_resamples=RESAMPLES, seed=k)
        for name, value in known.items():
            ends = getattr(found, name)
            held[name] += ends.low <= value <= ends.high
        length += found.auroc.high - found.auroc.low
        low, high = plain(inside, outside, k)
        bare += low <= known["auroc"] <= high
    return {
        "truth": known,
        "coverage": {name: count / samples for name, count in held.items()},
        "plain_auroc": bare / samples,
        "mean_length_auroc": length / samples,
    }


def main() -> None:
    """Simulate every case and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument(
        "--out", type=Path, default=record.RESULTS / "ood_coverage.json"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    cases = [
        {"distance": d, "n": n} | cover(d, n, args.samples, 100 * i + n)
        for i, d in enumerate(DISTANCES)
        for n in SIZES
    ]
    record.write(
        args.out,
        {
            "command": f"python benchmarks/ood_coverage.py --samples {args.samples}",
            "machine": record.machine() | {"threads": 1},
            "versions": versions(),
            "samples": args.samples,
            "resamples": RESAMPLES,
            "cases": cases,
        },
    )


if __name__ == "__main__":
    main()
