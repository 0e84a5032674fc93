"""What do three radii certify on the synthetic classes of the Gaussian-mixture paper?

K Gaussians in the plane, their means on a circle of radius R at angles 2 pi k / K, equal priors;
covariances of two kinds: the identity for all, and principal variances 1.5 (along the radius) and
.5, turned with the class, so that no two are equal. The classifier is the true one (no fit).
Certified accuracy at eps = 0, .25, .., 2 of n draws for the paper's radius (arXiv:2605.25352,
Theorem 4.1), its formula a pair, and the exact distance. The draws are the same for all three; a
share has a standard error of at most .5 / sqrt(n). `largest` is the largest difference to the
reference values for the identity, K = 3 and 5, R = 2, of 400,000 other draws.

Run: python benchmarks/ellips_synthetic.py [--n 100000]
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from typing import Any

import record
import torch
from torch import Tensor

from torchattacks_ext.certify import EllipsHead
from torchattacks_ext.numerics.certificates.radii import METHODS
from torchattacks_ext.results.base.facts import versions

COUNTS, SIZES = (2, 3, 5, 10), (2.0, 4.0, 6.0)
GRID = [x / 4 for x in range(9)]
KNOWN = {
    ("identity", 3, "exact"): (0.92616353, 0.81866869, 0.64385799),
    ("identity", 5, "exact"): (0.76490864, 0.53402542, 0.27635267),
    ("identity", 5, "paper"): (0.76490864, 0.37090775, 0.06873280),
}
"""Shares at eps = 0, .5, 1 for R = 2."""


def classes(kind: str, k: int, size: float) -> tuple[Tensor, Tensor]:
    """Means (K, 2) on the circle and covariances (K, 2, 2)."""
    angles = 2 * math.pi * torch.arange(k, dtype=torch.float64) / k
    out = torch.stack([angles.cos(), angles.sin()], dim=1)
    if kind == "identity":
        return size * out, torch.eye(2, dtype=torch.float64).expand(k, 2, 2)
    across = torch.stack([-out[:, 1], out[:, 0]], dim=1)
    turn = torch.stack([out, across], dim=2)
    variances = torch.tensor([1.5, 0.5], dtype=torch.float64)
    return size * out, turn @ variances.diag() @ turn.mT


def case(kind: str, k: int, size: float, n: int) -> dict[str, Any]:
    """Certified accuracy on the grid by each method, and what a radius costs."""
    means, covariances = classes(kind, k, size)
    source = torch.Generator().manual_seed(1000 * k + int(size))
    y = torch.randint(k, (n,), generator=source)
    noise = torch.randn(n, 2, 1, generator=source, dtype=torch.float64)
    z = means[y] + (torch.linalg.cholesky(covariances)[y] @ noise)[..., 0]
    given = covariances[0] if kind == "identity" else covariances
    form = "shared" if kind == "identity" else "full"
    head = EllipsHead.from_parameters(means, given, covariance=form)
    found: dict[str, Any] = {"covariance": kind, "classes": k, "radius": size, "n": n}
    for method in METHODS:
        started = time.process_time()
        radii = head.radii(z, method)
        seconds = time.process_time() - started
        right = radii.label == y
        shares = [float((right & (radii.radius > e)).double().mean()) for e in GRID]
        found[method] = {
            "certified": shares,
            "median_radius": float(radii.radius.median()),
            "microseconds_a_point": round(1e6 * seconds / n, 2),
        }
    return found


def largest(cases: list[dict[str, Any]]) -> float:
    """The largest difference to the reference values."""
    at = [GRID.index(eps) for eps in (0, 0.5, 1)]
    return max(
        abs(one[method]["certified"][i] - value)
        for (kind, k, method), values in KNOWN.items()
        for one in cases
        if (one["covariance"], one["classes"], one["radius"]) == (kind, k, 2.0)
        for i, value in zip(at, values)
    )


def main() -> None:
    """All cases, and their record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=100_000, help="draws of each case")
    parser.add_argument(
        "--out", type=Path, default=record.RESULTS / "ellips_synthetic.json"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    cases = []
    for kind in ("identity", "turned"):
        for k in COUNTS:
            for size in SIZES:
                cases.append(case(kind, k, size, args.n))
                last = {m: cases[-1][m]["certified"][2] for m in METHODS}
                sys.stdout.write(f"{kind} K={k} R={size:g}: {last}\n")
    record.write(
        args.out,
        {
            "question": "certified accuracy of three radii on the paper's synthetic classes",
            "machine": record.machine(),
            "versions": versions(),
            "grid": GRID,
            "largest": largest(cases),
            "cases": cases,
        },
    )


if __name__ == "__main__":
    main()
