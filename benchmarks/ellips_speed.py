"""What does a radius of a Gaussian-mixture classifier cost, and what does pruning save?

`random`: a full head with d = 128 and K = 10 on its own draws, in batches of 256, one thread, the
rounding slack included, decompositions made before; asked: `exact` without pruning in at most
1.5 ms a point. `mnist`: full heads (10 % shrinkage) on 64 and 128 principal components of 10,000
training images; 1,000 test images in one call; asked: at most 4.5 of 9 rivals solved, twice as fast
as without pruning, the same radii to 1e-12. `speed_up` is that of the whole call, `_solving` that
without what both need first (scores and gradients: what `pairwise` takes). Times are least process
times over alternations (the machine is shared), of one thread. `many`: K = 100 on 256
points (asked: 1 GB in all) and K = 1,000 on 200 points, d = 128, each in a process of its own;
memory is the largest resident size of the whole process, Python and torch included.

Run: python benchmarks/ellips_speed.py [--n 15] [--only random mnist many]
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import record
import tax_data
import torch
from torch import Tensor

from torchattacks_ext.certify import EllipsHead
from torchattacks_ext.numerics.certificates.mixture import Mixture
from torchattacks_ext.results.base.facts import versions

DIM, BATCH = 128, 256
ASKED = {"exact_ms": 1.5, "solved": 4.5, "speed_up": 2.0, "gigabytes": 1.0}
MANY = {100: 256, 1000: 200}
"""Classes -> points."""


def drawn(k: int, n: int) -> tuple[Mixture, Tensor]:
    """A random full mixture of k classes in DIM dimensions, and n latents of it."""
    source = torch.Generator().manual_seed(0)
    means = 0.6 * torch.randn(k, DIM, generator=source, dtype=torch.float64)
    factors = torch.randn(k, DIM, DIM, generator=source, dtype=torch.float64)
    factors.mul_(0.5 / math.sqrt(DIM)).diagonal(dim1=1, dim2=2).add_(1)
    biases = torch.stack([2 * torch.linalg.slogdet(a)[1] for a in factors])
    edge = torch.full((k,), math.inf, dtype=torch.float64)
    y = torch.randint(k, (n,), generator=source)
    noise = torch.randn(n, DIM, generator=source, dtype=torch.float64)
    steps = [torch.linalg.solve(factors[c], e) for c, e in zip(y.tolist(), noise)]
    mixture = Mixture(means, factors, biases, torch.arange(k), edge)
    return mixture, means[y] + torch.stack(steps)


def least(calls: dict[str, Callable[[], object]], n: int) -> dict[str, float]:
    """Least process time in seconds of each call, over n alternations."""
    found = dict.fromkeys(calls, math.inf)
    for _ in range(n):
        for name, call in calls.items():
            started = time.process_time()
            call()
            found[name] = min(found[name], time.process_time() - started)
    return found


def compared(head: EllipsHead, z: Tensor, n: int) -> dict[str, Any]:
    """Times of the methods on latents z in one call, and what pruning leaves."""
    started = time.process_time()
    pruned = head.radii(z)
    first = time.process_time() - started
    whole = head.radii(z, prune=False)
    times = least(
        {
            "exact_unpruned": lambda: head.radii(z, prune=False),
            "exact": lambda: head.radii(z),
            "pairwise": lambda: head.radii(z, "pairwise"),
            "paper": lambda: head.radii(z, "paper"),
        },
        n,
    )
    some = whole.radius > 0
    apart = (pruned.radius - whole.radius).abs()[some] / whole.radius[some]
    ratios = {
        method: float((head.radius(z, method)[some] / whole.radius[some]).median())
        for method in ("paper", "pairwise")
    }
    return {
        "classes": head.n_classes,
        "dim": head.dim,
        "points": len(z),
        "ms_a_point": {k: round(1e3 * t / len(z), 4) for k, t in times.items()},
        "first_call_seconds": round(first, 3),
        "speed_up": round(times["exact_unpruned"] / times["exact"], 3),
        "speed_up_solving": round(
            (times["exact_unpruned"] - times["pairwise"])
            / (times["exact"] - times["pairwise"]),
            3,
        ),
        "solved": float(pruned.solved.double().mean()),
        "of": int(whole.solved.max()),
        "largest_difference": float(apart.max()),
        "median_ratio_to_exact": ratios,
    }


def random_head(n: int) -> dict[str, Any]:
    """d = 128, K = 10, a batch of 256."""
    mixture, z = drawn(10, BATCH)
    return compared(EllipsHead(mixture), z, n)


def mnist_head(d: int) -> tuple[EllipsHead, Tensor, Tensor]:
    """A full head on the first d principal components, and test latents with labels."""
    file = tax_data.folder() / "mnist" / "train_first10000.npz"
    with np.load(file, allow_pickle=False) as data:
        images = tax_data.pixels(data["images"]).double().flatten(1)
        labels = torch.from_numpy(data["labels"].astype(np.int64))
    mean = images.mean(0)
    axes = torch.linalg.svd(images - mean, full_matrices=False)[2][:d].T
    head = EllipsHead.fit((images - mean) @ axes, labels, "full", shrinkage=0.1)
    test, y = tax_data.test_images("mnist", 1000)
    return head, (test.double().flatten(1) - mean) @ axes, y


def mnist(n: int) -> list[dict[str, Any]]:
    """Pruning on real latents."""
    found = []
    for d in (64, 128):
        head, z, y = mnist_head(d)
        radii = head.radii(z)
        shares = [
            float(((radii.label == y) & (radii.radius > eps)).double().mean())
            for eps in (0, 0.25, 0.5, 1)
        ]
        found.append(compared(head, z, n) | {"certified_at_0_.25_.5_1": shares})
    return found


def many(k: int) -> dict[str, Any]:
    """K classes in a process of its own: seconds, decompositions, memory."""
    line = [sys.executable, __file__, "--classes", str(k)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def one_of_many(k: int) -> dict[str, Any]:
    """What :func:`many` says, in this process."""
    gigabytes = {"imports": resident()}
    mixture, z = drawn(k, MANY[k])
    head = EllipsHead(mixture)
    del mixture
    gigabytes["head"] = resident()
    started = time.process_time()
    found = head.radii(z)
    seconds = time.process_time() - started
    gigabytes["radii"] = resident()
    return {
        "classes": k,
        "points": len(z),
        "dim": DIM,
        "gigabytes": gigabytes,
        "ms_a_point": round(1e3 * seconds / len(z), 2),
        "decompositions": head.pairs.n_decompositions,
        "pairs": k * (k - 1) // 2,
        "cache_bytes": head.cache_bytes,
        "solved": float(found.solved.double().mean()),
        "median_radius": float(found.radius.median()),
    }


def resident() -> float:
    """Largest resident size of this process so far, in 1e9 bytes.

    From /proc where there is one: getrusage counts what the parent held when it forked.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        lines = status.read_text(encoding="ascii").splitlines()
        (peak,) = [line.split()[1] for line in lines if line.startswith("VmHWM")]
        return round(int(peak) * 1024 / 1e9, 3)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 3)


def main() -> None:
    """Run the parts that are asked for, keep the others, write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=15, help="alternations of each time")
    parser.add_argument("--only", nargs="*", default=["random", "mnist", "many"])
    parser.add_argument("--classes", type=int, help="only this many, to stdout")
    parser.add_argument(
        "--out", type=Path, default=record.RESULTS / "ellips_speed.json"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.classes:
        sys.stdout.write(json.dumps(one_of_many(args.classes)))
        return
    parts = record.read(args.out).get("parts", {})
    runs: dict[str, Callable[[], Any]] = {
        "random": lambda: random_head(args.n),
        "mnist": lambda: mnist(args.n),
        "many": lambda: [many(k) for k in MANY],
    }
    for name in args.only:
        parts[name] = runs[name]()
        sys.stdout.write(f"{name}: {json.dumps(parts[name], indent=1)}\n")
    record.write(
        args.out,
        {
            "question": "cost of a radius of a Gaussian-mixture classifier, and of pruning",
            "machine": record.machine(),
            "versions": versions(),
            "n": args.n,
            "asked": ASKED,
            "parts": parts,
        },
    )


if __name__ == "__main__":
    main()
