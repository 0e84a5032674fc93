"""What does the own engine save on nets that fall at once?

Nets trained without an adversary, at a radius at which nearly all rows are broken: AutoAttack goes
all its first 100 steps with each of them, the cascade leaves a row at the first step that breaks
it: clean image, forward and backward there, and the point that one step leads to. Both counted in
row-passes, forward and backward alike. `cheaper_without_check`: the same without what a check of
the model costs before any attack, once a model and whatever the number of images.

Run: python benchmarks/own_easy.py [--n 48] [--models a,b]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import record
import tax_data
import torch
from own_vs_autoattack import autoattack, compared, own

from torchattacks_ext.models.checks import look_cost
from torchattacks_ext.results.base.facts import versions

MODELS = ("cifar10_wide_std", "cifar10_allconv8_std", "cifar10_resnet20_std")
EPS, ASKED = 8 / 255, 45


def main() -> None:
    """Run the cells that are not there yet, and write the record after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=48, help="first test images")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--out", type=Path, default=record.RESULTS / "own_easy.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = record.read(args.out)
    found.setdefault("models", {})
    found |= {
        "question": (__doc__ or "").splitlines()[0],
        "machine": record.machine() | {"threads": 1},
        "versions": versions(),
        "n": args.n,
        "eps": "8/255",
        "asked": ASKED,
        "check": look_cost(args.n),
    }
    for name in args.models.split(","):
        entry = found["models"].setdefault(name, {})
        images, labels = tax_data.test_images("cifar10", args.n)
        net, ball = tax_data.model(name).requires_grad_(False), (EPS, "Linf")
        if "autoattack/0" not in entry:
            entry["autoattack/0"] = autoattack(net, images, labels, ball, 0)
        if "standard/0" not in entry:
            cell = own(net, images, labels, ball, "standard", 0)
            entry["standard/0"] = compared(cell, entry["autoattack/0"])
            own_passes = cell["forward"] + cell["backward"] - found["check"]
            truth = entry["autoattack/0"]["forward"] + entry["autoattack/0"]["backward"]
            entry["cheaper_without_check"] = round(truth / own_passes, 2)
        record.write(args.out, found)
        sys.stdout.write(f"{name} {entry['standard/0']['cheaper']}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
