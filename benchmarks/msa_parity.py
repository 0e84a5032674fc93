"""Are the robust flags of version "autoattack" those of AutoAttack itself, and at what cost?

Real nets, the same seed and batch size on both sides; row-passes of both are counted where they
go through the net. Without surrogates. Resumable: finished cases are kept.

Run: python benchmarks/msa_parity.py [--n 200] [--device cuda]
"""

from __future__ import annotations

import argparse
import importlib
import json
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
from torchattacks_ext.engines.autoattack.upstream import package
from torchattacks_ext.results.base.facts import versions

CASES = (
    ("mnist_fast_pgd", "mnist", "Linf", 0.3),
    ("cifar10_resnet2b_at2", "cifar10", "Linf", 2 / 255),
    ("cifar10_resnet2b_at2", "cifar10", "L2", 0.25),
)
SEED = 0
ENGINES = ("autoattack", "torchattacks")
"""Whose components MSA drives: the first must give AutoAttack's own flags."""


class Counted(nn.Module):
    """A net that counts the rows that go through it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.rows = net, 0

    def forward(self, images: Tensor) -> Tensor:
        """The net's logits."""
        self.rows += len(images)
        logits: Tensor = self.net(images)
        return logits


def compare(
    name: str, dataset: str, norm: Any, eps: float, n: int, device: str
) -> dict[str, Any]:
    """Flags and forward row-passes of both sides."""
    images, labels = (side.to(device) for side in tax_data.test_images(dataset, n))
    net = Counted(tax_data.model(name).to(device).requires_grad_(False))
    kind = importlib.import_module(package()).AutoAttack
    started = time.perf_counter()
    adversary = kind(net, norm=norm, eps=eps, seed=SEED, device=device)
    found, _ = adversary.run_standard_evaluation(images, labels, batch_size=n)
    theirs, seconds = net.rows, time.perf_counter() - started
    with torch.no_grad():
        robust = (net(found).argmax(1) == labels).cpu()
    found_by = {
        engine: measure(net, images, labels, norm, eps, engine) for engine in ENGINES
    }
    return {
        "model": name,
        "norm": norm,
        "eps": eps,
        "n": n,
        "autoattack": {
            "robust": int(robust.sum()),
            "forward": theirs,
            "seconds": round(seconds, 1),
        },
        "engines": {
            engine: {
                "robust": int(flags.sum()),
                "flags_differ": int((robust != flags).sum()),
                "forward": rows,
                "ratio": round(rows / theirs, 4),
                "seconds": round(spent, 1),
            }
            for engine, (flags, rows, spent) in found_by.items()
        },
    }


def measure(
    net: Counted, images: Tensor, labels: Tensor, norm: Any, eps: float, engine: Any
) -> tuple[Tensor, int, float]:
    """Robust flags (n,), forward row-passes and seconds of MSA with one engine."""
    net.rows, started = 0, time.perf_counter()
    attack = MSA(
        net,
        eps=eps,
        norm=norm,
        version="autoattack",
        engine=engine,
        seed=SEED,
        batch_size=len(images),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        found = attack.measure(images, labels, ids=list(range(len(images))))
    return found.robust, net.rows, time.perf_counter() - started


def main() -> None:
    """Compare every case and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--kept", type=Path, default=Path("msa_parity_parts"))
    parser.add_argument("--out", type=Path, default=record.RESULTS / "msa_parity.json")
    args = parser.parse_args()
    cases = []
    for name, dataset, norm, eps in CASES:
        path = args.kept / f"{name}-{norm}-{args.n}.json"
        if not path.is_file():
            args.kept.mkdir(parents=True, exist_ok=True)
            found = compare(name, dataset, norm, eps, args.n, args.device)
            record.write(path, found)
        cases.append(json.loads(path.read_text(encoding="utf-8")))
        sys.stdout.write(f"{cases[-1]}\n")
        sys.stdout.flush()
    device = "cpu" if args.device == "cpu" else torch.cuda.get_device_name()
    record.write(
        args.out,
        {
            "question": "version autoattack against AutoAttack's own code, same seed and batch",
            "machine": record.machine() | {"device": device},
            "versions": versions(),
            "seed": SEED,
            "cases": cases,
        },
    )


if __name__ == "__main__":
    main()
