"""Does the plan "standard" find what AutoAttack found on a thousand images of two models?

AutoAttack's flags (version standard, seed 0, images in chunks of 128 that are one batch each) are
kept in tests/regression/autoattack_flags.json, with what they cost; autoattack_truth.py makes such
flags. The plan runs on the same images in batches of 128. "before Square": its row-passes but for
those of Square, as a share of AutoAttack's.

Run: python benchmarks/own_thousand.py [--only NAME ...] [--keep FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import record
import tax_data
import torch
from own_vs_autoattack import compared, own

from torchattacks_ext.results.base.facts import versions

FLAGS = record.ROOT / "tests" / "regression" / "autoattack_flags.json"
NAMES = ("cifar10_resnet2b_at2", "mnist_fast_pgd")
BATCH = 128


def keep(path: Path) -> None:
    """Flags of a record of autoattack_truth.py, on one line a list, as the regression file."""
    models = {}
    for name, entry in record.read(path)["models"].items():
        if name in NAMES and entry["done"] == entry["n"]:
            models[name] = {key: entry[key] for key in entry if key != "done"}
    lines = [
        f" {json.dumps(name)}: {json.dumps(entry)}" for name, entry in models.items()
    ]
    FLAGS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def measured(name: str, truth: dict[str, Any]) -> dict[str, Any]:
    """The plan on the images of these flags."""
    images, labels = tax_data.test_images(name.partition("_")[0], truth["n"])
    net = tax_data.model(name).requires_grad_(False)
    cell = own(
        net, images, labels, (truth["eps"], "Linf"), "standard", 0, batch_size=BATCH
    )
    square = [book for part, book in cell["parts"].items() if "square" in part]
    late = sum(book["forward"] + book["backward"] for book in square)
    total = truth["forward"] + truth["backward"]
    share = (cell["forward"] + cell["backward"] - late) / total
    return compared(cell, truth) | {
        "images": truth["n"],
        "autoattack_broken": len(truth["broken"]),
        "before_square": round(share, 4),
    }


def main() -> None:
    """Run the models that are asked for, and write the record after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(NAMES))
    parser.add_argument("--keep", type=Path, help="a record to take the flags from")
    out = record.RESULTS / "own_thousand.json"
    parser.add_argument("--out", type=Path, default=out)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.keep:
        keep(args.keep)
        return
    flags = record.read(FLAGS)
    found = record.read(args.out)
    found |= {
        "question": (__doc__ or "").splitlines()[0],
        "machine": record.machine() | {"threads": 1},
        "versions": versions(),
    }
    for name in args.only:
        found.setdefault("models", {})[name] = entry = measured(name, flags[name])
        record.write(args.out, found)
        sys.stdout.write(f"{name} {len(entry['broken'])} {entry['missed']}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
