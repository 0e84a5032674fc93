"""Does version "autoattack" find what its authors published? mnist_trades at Linf .3.

Every tenth MNIST test image (1,000 of them); published robust accuracy on all 10,000: 92.81 %
(AutoAttack, table of its repository). The sampling error of 1,000 images is about 1.6 points.

Run: python benchmarks/msa_anchor.py [--n 1000] [--device cuda]
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

import record
import tax_data
import torch

from torchattacks_ext import ReliabilityWarning
from torchattacks_ext.attacks.msa.msa import MSA
from torchattacks_ext.results.base.facts import versions

PUBLISHED = 0.9281


def main() -> None:
    """Attack the images and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=1000, help="images, every tenth one")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=record.RESULTS / "msa_anchor.json")
    args = parser.parse_args()
    images, labels = (
        part[::10][: args.n] for part in tax_data.test_images("mnist", 10_000)
    )
    model = tax_data.model("mnist_trades").to(args.device)
    probe = MSA(model, eps=0.3, version="autoattack", batch_size=500)
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        found = probe.measure(images, labels, ids=list(range(0, 10 * len(images), 10)))
    device = "cpu" if args.device == "cpu" else torch.cuda.get_device_name()
    facts = found.summary()
    sys.stdout.write(f"{facts}\n")
    record.write(
        args.out,
        {
            "question": "version autoattack against the published number, mnist_trades at .3",
            "machine": record.machine() | {"device": device},
            "versions": versions(),
            "n": len(images),
            "published": PUBLISHED,
            **{k: facts[k] for k in ("clean_accuracy", "robust_accuracy")},
            "robust_accuracy_interval": facts["robust_accuracy_interval"],
            "breakdown": found.breakdown,
            "forward": found.cost.forward,
            "backward": found.cost.backward,
            "seconds": round(time.perf_counter() - started, 1),
        },
    )


if __name__ == "__main__":
    main()
