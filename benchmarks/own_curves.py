"""What does a curve over eight radii cost beside single runs, and does it say the same?

MSA.curve against one run of the same plan at each radius, the first test images. "ratio": passes of
the curve over those of the largest radius alone; "more robust": at each radius, rows that the curve
leaves and the single run breaks. "seconds": of one thread's CPU time, of the curve.

Run: python benchmarks/own_curves.py [--n 128] [--plans fast,standard] [--ranges training,other]
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import record
import tax_data
import torch
from torch import Tensor, nn

from torchattacks_ext import MSA, ReliabilityWarning
from torchattacks_ext.results.base.facts import versions

RANGES = {
    "training": {
        "cifar10_resnet2b_at2": [i / 4 / 255 for i in range(1, 9)],
        "mnist_fast_pgd": [0.3 * i / 8 for i in range(1, 9)],
    },
    "other": {
        "mnist_mmr_universal": [51 / 255 * i / 8 for i in range(1, 9)],
        "cifar10_resnet2b_at2": [i / 255 for i in range(1, 9)],
        "mnist_fast_pgd": [0.01 * i for i in range(1, 9)],
    },
}
"""Up to the radius of training, of the models that the narrow gates were set on; then others."""


def passes(cost: Any) -> int:
    """Row-passes, forward and backward."""
    return int(cost.forward + cost.backward)


def compare(
    model: nn.Module, images: Tensor, labels: Tensor, radii: list[float], plan: str
) -> dict[str, Any]:
    """The curve, then a run at each radius; the same ids, seed and batch."""
    settings: dict[str, Any] = {"engine": "own", "version": plan}
    ids = list(range(len(images)))
    probe = MSA(model, batch_size=len(images), **settings)
    started = time.process_time()
    curve = probe.curve(images, labels, radii, ids=ids)
    seconds = time.process_time() - started
    single, more = [], []
    for robust, eps in zip(curve.robust, radii):
        found = MSA(model, eps=eps, batch_size=len(images), **settings).measure(
            images, labels, ids=ids
        )
        single.append({"robust": int(found.robust.sum()), "passes": passes(found.cost)})
        more.append(int((robust & ~found.robust).sum()))
    whole = passes(curve.cost)
    return {
        "radii": [round(radius, 6) for radius in radii],
        "robust": [int(row.sum()) for row in curve.robust],
        "single": single,
        "more_robust": more,
        "passes": whole,
        "seconds": round(seconds, 1),
        "ratio": round(whole / single[-1]["passes"], 2),
        "ratio_to_all": round(whole / sum(one["passes"] for one in single), 2),
    }


def main() -> None:
    """Run the cases that are not there yet, and write the record after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=128, help="first test images")
    parser.add_argument("--plans", default="fast,standard")
    parser.add_argument("--ranges", default="training,other")
    parser.add_argument("--out", type=Path, default=record.RESULTS / "own_curves.json")
    args = parser.parse_args()
    found = record.read(args.out)
    found |= {"question": (__doc__ or "").splitlines()[0], "n": args.n}
    found |= {"machine": record.machine(), "versions": versions()}
    found.setdefault("cases", {})
    warnings.simplefilter("ignore", ReliabilityWarning)
    asked = [
        (p, kind) for p in args.plans.split(",") for kind in args.ranges.split(",")
    ]
    for plan, kind in asked:
        for name, radii in RANGES[kind].items():
            key = f"{name} {plan}" + " other" * (kind == "other")
            if key in found["cases"]:
                continue
            images, labels = tax_data.test_images(name.partition("_")[0], args.n)
            model = tax_data.model(name).requires_grad_(False)
            found["cases"][key] = compare(model, images, labels, radii, plan)
            record.write(args.out, found)
            sys.stdout.write(f"{key} {found['cases'][key]['ratio']}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
