"""How far above the true lambda are upper bounds from the weights of a network?

Bounds of lambda_max(F) (certify/fisher) beside FIMScore's exact lambda at n images, in powers of
ten: for every input (attention and LayerNorm have none), at each of the images with its own
probabilities, and what the paper's formulas say (Table 2 with Theorem 3, not a bound). On VGG16,
ResNet18, DenseNet121 and ViT-B/16 with random weights and random images of 224 pixels, and on small
siblings of the same classes, at the start and after training on scikit-learn's digits (digits of
the test split). Seconds are of the process (one thread), for one call with a point, which gives
both bounds. A case that the record already has with the same n is not run again.

Run: OMP_NUM_THREADS=1 python benchmarks/fisher_bounds.py [--n 100] [--n-large 2] [--only small]
"""

from __future__ import annotations

import argparse
import math
import resource
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import record
import torch
from bound_nets import LARGE, SMALL, large, small
from torch import Tensor, nn

from torchattacks_ext import FIMScore, ReliabilityWarning
from torchattacks_ext.certify.fisher import fim_upper_bound, paper_bounds
from torchattacks_ext.data.digits import load_digits
from torchattacks_ext.results.base.facts import versions

POINTS = 10
"""Digits at which the bound of a point is taken; one image of the large networks."""


def log10(value: float) -> float:
    """From a natural logarithm."""
    return value / math.log(10)


def truths(net: nn.Module, images: Tensor) -> list[float]:
    """log10 of FIMScore's lambda at every image; Lanczos for 1,000 classes, to 1e-3."""
    probe = FIMScore(net, kl=False, batch_size=16 if images.shape[-1] < 64 else 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        found = probe.measure(images, ids=list(range(len(images))))
    return [log10(float(one)) for one in found.log_lam]


def case(net: nn.Module, images: Tensor, n_points: int) -> dict[str, Any]:
    """Everything about one network; the bound of a point at the first `n_points` images."""
    shape = tuple(images.shape[1:])
    exact = truths(net, images)
    started = time.process_time()
    found = [fim_upper_bound(net, shape, point=images[0])]
    seconds = time.process_time() - started
    found += [fim_upper_bound(net, shape, point=x) for x in images[1:n_points]]
    whole = {form.name: form for form in found[0].forms}["pairs"]
    everywhere = log10(whole.log_value) if whole.scope == "global" else None
    gaps = [one.log10 - true for one, true in zip(found, exact)]
    largest = max(exact)
    paper = log10(paper_bounds(net).log_lambda)
    return {
        "parameters": sum(p.numel() for p in net.parameters()),
        "pixels": images[0].numel(),
        "classes": found[0].n_classes,
        "images": len(images),
        "lambda": {"median": statistics.median(exact), "largest": largest},
        "global": everywhere,
        "above_largest": None if everywhere is None else everywhere - largest,
        "points": len(found),
        "at_point": statistics.median(one.log10 for one in found),
        "above_at_point": {"median": statistics.median(gaps), "least": min(gaps)},
        "paper": paper,
        "paper_above_largest": paper - largest,
        "violations": sum(gap < 0 for gap in gaps)
        + sum(everywhere is not None and everywhere < true for true in exact),
        "seconds": round(seconds, 2),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def cases(n: int, n_large: int, only: str | None) -> Any:
    """(name, how many images, a function that measures it), one after the other."""
    digits = load_digits("test")[0][:n]

    def of_small(name: str, trained: bool) -> dict[str, Any]:
        net, accuracy = small(name, trained)
        return case(net, digits, POINTS) | {"accuracy": round(accuracy, 4)}

    def of_large(name: str) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(1)
        images = torch.rand(n_large, 3, 224, 224, generator=generator)
        return case(large(name), images, 1)

    if only != "large":
        for name in SMALL:
            yield f"{name}, digits, untrained", n, lambda: of_small(name, False)
            yield f"{name}, digits, trained", n, lambda: of_small(name, True)
    if only != "small":
        for name in LARGE:
            yield f"{name}, random weights", n_large, lambda: of_large(name)


def main() -> None:
    """Measure what is missing and write the record after each case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=100, help="digits")
    parser.add_argument("--n-large", type=int, default=2, help="images of 224 pixels")
    parser.add_argument("--only", choices=("small", "large"))
    parser.add_argument(
        "--out", type=Path, default=record.RESULTS / "fisher_bounds.json"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    done = record.read(args.out).get("cases", {})
    for name, n, measure in cases(args.n, args.n_large, args.only):
        if done.get(name, {}).get("images") != n:
            done[name] = measure()
            sys.stdout.write(f"{name}: {done[name]}\n")
            record.write(
                args.out,
                {
                    "question": "upper bounds of lambda_max(F) beside the true lambda, log10",
                    "machine": record.machine(),
                    "versions": versions(),
                    "cases": done,
                },
            )


if __name__ == "__main__":
    main()
