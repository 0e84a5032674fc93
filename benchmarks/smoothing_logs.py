"""How many noisy copies does one radius need, on the published logs of randomised smoothing?

The logs (`cohen10000` of the data folder, DATA.md: ResNet-110, all 10,000 CIFAR-10 test images,
n = 100,000, level .001) hold the radius of each image to three decimals. Of each image the failure
rate of its class is taken as the one that its radius says: the count whose Clopper-Pearson bound
gives it; .5 where the log abstains. Then `radius_test` draws at that rate until the one radius is
decided (claim at level .001, given up at .01, at most 100,000 draws). The record says how many
images are certified, right or wrong, beside those of the log, and how many forward row-passes an
image took, beside n0 + n. No net is run.

"largest": the largest radius of each log beside sigma Phi^-1(.001^(1/100,000)), all n of n.

Run: TAX_DATA=... python benchmarks/smoothing_logs.py   (ten seconds of one thread)
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import record
import tax_data
from numpy.typing import NDArray
from scipy import special

from torchattacks_ext.numerics.rates.binomial import lower_bound
from torchattacks_ext.numerics.rates.sequential import Boundaries
from torchattacks_ext.numerics.smoothing.cohen import smoothed_radius
from torchattacks_ext.numerics.smoothing.early import radius_test
from torchattacks_ext.results.base.facts import versions

N, N0, LEVEL, GIVE_UP, SEEDS = 100_000, 100, 0.001, 0.01, 5
SIGMAS = ("0.12", "0.25", "0.50", "1.00")
ASKED = (
    ("0.12", 0.25),
    ("0.25", 0.25),
    ("0.25", 0.5),
    ("0.50", 0.25),
    ("0.50", 0.5),
    ("0.50", 1.0),
    ("1.00", 1.0),
)


def logs(sigma: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Radii and abstentions of the 10,000 images."""
    file = tax_data.folder() / "smoothing_certify" / "cifar10_resnet110.npz"
    with np.load(file, allow_pickle=False) as data:
        rows = data[f"cohen10000_sigma{sigma}"].astype(np.float64)
    return rows[:, 3], rows[:, 2] < 0


def rates(sigma: str) -> NDArray[np.float64]:
    """Failure rate of the class of each image, as its radius says."""
    radius, abstained = logs(sigma)
    counts = np.arange(N // 2, N + 1)
    known = float(sigma) * special.ndtri(lower_bound(counts, N, LEVEL))
    hits = counts[np.searchsorted(known, radius).clip(0, len(counts) - 1)]
    return np.where(abstained, 0.5, 1 - hits / N)


def replay(
    table: Boundaries, p_fail: NDArray[np.float64], seed: int
) -> tuple[int, float]:
    """Images for which the radius is claimed, and mean draws of an image."""
    rng = np.random.default_rng(seed)
    misses, drawn = np.zeros((2, len(p_fail)), dtype=np.int64)
    proved, live = np.zeros(len(p_fail), bool), np.ones(len(p_fail), bool)
    before = 0
    for look, n in enumerate(table.looks.tolist()):
        misses[live] += rng.binomial(n - before, p_fail[live])
        drawn[live], before = n, n
        proved |= live & (table.decide(look, misses) == 1)
        live &= ~table.over(look, misses)
        if not live.any():
            break
    return int(proved.sum()), float(drawn.mean())


def case(sigma: str, eps: float) -> dict[str, Any]:
    """One radius of one log."""
    radius, _ = logs(sigma)
    table = radius_test(eps, float(sigma), LEVEL, N, GIVE_UP)
    runs = [replay(table, rates(sigma), seed) for seed in range(SEEDS)]
    passes = [draws + N0 for _, draws in runs]
    published = int((radius >= eps).sum())
    found = float(np.mean([k for k, _ in runs]))
    return {
        "sigma": float(sigma),
        "eps": eps,
        "images": len(radius),
        "published": published,
        "certified": [k for k, _ in runs],
        "difference": found / published - 1,
        "row_passes_an_image": float(np.mean(passes)),
        "times_fewer": [(N + N0) / one for one in passes],
    }


def main() -> None:
    """Every radius, and the largest radii."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=record.RESULTS / "smoothing_logs.json"
    )
    told = parser.parse_args()
    begun = time.process_time()
    data: dict[str, Any] = {
        "n": N,
        "n0": N0,
        "level": LEVEL,
        "give_up": GIVE_UP,
        "seeds": SEEDS,
        "sha256": tax_data.sha256("smoothing_certify", "cifar10_resnet110.npz"),
        "largest": {
            sigma: [
                round(float(logs(sigma)[0].max()), 3),
                float(smoothed_radius(N, N, LEVEL, float(sigma))),
            ]
            for sigma in SIGMAS
        },
        "cases": [case(*one) for one in ASKED],
        "versions": versions(),
        "machine": record.machine() | {"threads": 1},
    }
    data["cpu_seconds"] = time.process_time() - begun
    record.write(told.out, data)
    for one in data["cases"]:
        print(one)
    print(data["largest"], data["cpu_seconds"])


if __name__ == "__main__":
    main()
