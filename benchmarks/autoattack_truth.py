"""Which of the first test images does AutoAttack break? Flags of whole runs, as truth for others.

AutoAttack's own code (version standard, its seed 0), images in chunks of 128 as they come, each
one batch of it. The record is written after each chunk; chunks that are there are not run again.

Run: python benchmarks/autoattack_truth.py [--models a,b] [--out FILE]
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path
from typing import Any

import record
import tax_data
import torch
from own_vs_autoattack import Counted, radius, spent
from torch import Tensor

from torchattacks_ext.engines.autoattack.upstream import package
from torchattacks_ext.results.base.facts import versions

MODELS = {
    "cifar10_resnet2b_at2": ("2/255", 1017),
    "mnist_fast_pgd": (".3", 1000),
    "mnist_wide_kw": ("51/255", 1000),
    "cifar10_cnna_mix": ("4/255", 1017),
}
"""Radius (Linf) and number of images."""
CHUNK = 128


def chunk(model: Counted, eps: float, images: Tensor, labels: Tensor) -> list[Tensor]:
    """Which rows are right, and which of them AutoAttack breaks."""
    with torch.no_grad():
        right = model.net(images).argmax(1) == labels
    kind = importlib.import_module(package()).AutoAttack
    run = kind(model, norm="Linf", eps=eps, seed=0, device="cpu")
    found, _ = run.run_standard_evaluation(images, labels, batch_size=len(images))
    with torch.no_grad():
        return [right, right & (model.net(found).argmax(1) != labels)]


def fresh(name: str) -> dict[str, Any]:
    """The entry of a model before its first chunk."""
    eps, n = MODELS[name]
    counts: dict[str, Any] = dict.fromkeys(("forward", "backward", "cpu_seconds"), 0)
    return {"n": n, "done": 0, "eps": radius(eps), "clean": [], "broken": []} | counts


def main() -> None:
    """Run the chunks that are not there yet, and write the record after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", default=",".join(MODELS))
    out = record.RESULTS / "autoattack_truth.json"
    parser.add_argument("--out", type=Path, default=out)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = record.read(args.out)
    found |= {
        "question": (__doc__ or "").splitlines()[0],
        "machine": record.machine(),
        "versions": versions(),
    }
    models = found.setdefault("models", {})
    for name in args.models.split(","):
        entry = models.setdefault(name, fresh(name))
        images, labels = tax_data.test_images(name.partition("_")[0], entry["n"])
        net = tax_data.model(name).requires_grad_(False)
        while entry.get("done", entry["n"]) < entry["n"]:
            start, model = entry["done"], Counted(net)
            rows = slice(start, start + CHUNK)
            began = time.perf_counter(), time.process_time()
            flags = chunk(model, entry["eps"], images[rows], labels[rows])
            cost = spent(model, began)
            for key, flag in zip(("clean", "broken"), flags):
                entry[key] += (flag.nonzero().flatten() + start).tolist()
            for key in ("forward", "backward", "cpu_seconds"):
                entry[key] = round(entry[key] + cost[key], 2)
            entry["done"] = min(start + CHUNK, entry["n"])
            record.write(args.out, found)
            sys.stdout.write(f"{name} {entry['done']}: {len(entry['broken'])} broken\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
