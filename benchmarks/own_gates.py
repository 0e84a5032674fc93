"""How far from falling is a row that falls after all? What the gates of L2 and L1 were set by.

For some models AutoAttack's components (its version standard, seed 0) attack the first images one
after the other, each the rows that the ones before left: which of them breaks a row tells what a
plan must do for it. Then a plan of the own engine without gates: of each row that AutoAttack
breaks, or that the plan does, the smallest margin as a share of the clean one after each line, and
the line at which it fell. A gate may not lie below the share of a row that falls later. Only the
models named here had a say in gates; the others of own_vs_autoattack.py had none.

Run: python benchmarks/own_gates.py [--n 64] [--models "a L2,b L1"]
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import record
import tax_data
import torch
from torch import Tensor, nn

from torchattacks_ext.engines.autoattack.upstream import package
from torchattacks_ext.engines.judge.active import Judge
from torchattacks_ext.engines.judge.ledger import Ledger
from torchattacks_ext.engines.judge.spec import AttackSpec
from torchattacks_ext.engines.own.engine import OwnEngine
from torchattacks_ext.models import LogitsView, Meter
from torchattacks_ext.results.base.facts import versions

MODELS = {
    # name norm: radius
    "mnist_fast_pgd L2": 1.5,
    "mnist_cnna_adv L2": 1.5,
    "mnist_fast_pgd L1": 5.0,
    "mnist_cnna_adv L1": 5.0,
}
_FAB = AttackSpec("fab-t", on="target", steps=50, targets=1)
_WARM = AttackSpec("warm", on="target", loss="pm-t", steps=100)
LINES = {
    "L2": (
        AttackSpec("apgd", loss="pm-t", steps=20),
        AttackSpec("malt", loss="pm-t", steps=30, targets=1),
        _FAB,
        replace(_WARM, steps=50),
        AttackSpec("smooth", on="target", steps=100),
        AttackSpec("malt", loss="pm-t", steps=100, targets=3),
        replace(_FAB, steps=100, targets=9),
        _WARM,
        AttackSpec("square", on="target", steps=5000),
    ),
    "L1": (
        AttackSpec("apgd", loss="pm-t", steps=20),
        AttackSpec("malt", loss="pm-t", steps=30, targets=1),
        _FAB,
        replace(_WARM, steps=50),
        AttackSpec("smooth", on="target", steps=100, sigma=2),
        AttackSpec("smooth", on="target", steps=100, sigma=1),
        AttackSpec("malt", loss="pm-t", steps=100, targets=3, reach=3),
        replace(_FAB, steps=100, targets=9),
        _WARM,
        AttackSpec("square", on="target", steps=5000),
    ),
}
"""What is run without gates, in the order of a plan."""
COMPONENTS = ("apgd-ce", "apgd-t", "fab-t", "square")


def truth(
    net: nn.Module, images: Tensor, labels: Tensor, eps: float, norm: str
) -> dict[str, Any]:
    """Rows that each component of AutoAttack breaks first."""
    kind = importlib.import_module(package()).AutoAttack
    run = kind(net, norm=norm, eps=eps, seed=0, device="cpu", version="standard")
    with torch.no_grad():
        right = net(images).argmax(1) == labels
    rows, broken = right.nonzero().flatten(), {}
    started = time.process_time()
    for component in COMPONENTS:
        run.attacks_to_run = [component]
        found, _ = run.run_standard_evaluation(
            images[rows], labels[rows], batch_size=len(rows)
        )
        with torch.no_grad():
            falls = net(found).argmax(1) != labels[rows]
        broken[component] = rows[falls].tolist()
        rows = rows[~falls]
        if not len(rows):
            break
    spent = round(time.process_time() - started, 1)
    return {"clean": int(right.sum()), "broken": broken, "cpu_seconds": spent}


def lines(
    net: nn.Module, images: Tensor, labels: Tensor, eps: float, norm: str
) -> dict[str, Any]:
    """After each line: rows that fell, rel of those that did not, row-passes."""
    meter = Meter()
    view = LogitsView(net, meter=meter)
    judge = Judge(view, False, len(images))
    ledger = Ledger.open(judge, images, labels, eps, norm)  # type: ignore[arg-type]
    engine = OwnEngine({"target": view}, torch.arange(len(images)), 10, 0, meter)
    found: dict[str, Any] = {}
    for spec in LINES[norm]:
        alive, before = ledger.alive.clone(), meter.snapshot()
        engine.run("target", spec, ledger)
        left = ledger.alive.nonzero().flatten().tolist()
        rel = ledger.margin / ledger.clean_margin
        cost = meter.since(before, 0.0)
        found[spec.label] = {
            "tried": int(alive.sum()),
            "broken": (alive & ~ledger.alive).nonzero().flatten().tolist(),
            "rel": {str(row): round(float(rel[row]), 3) for row in left},
            "passes": cost.forward + cost.backward,
        }
    return found


def main() -> None:
    """Run what is not there yet, and write the record after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=64, help="first test images")
    parser.add_argument("--models", default=",".join(MODELS))
    out = record.RESULTS / "own_gates.json"
    parser.add_argument("--out", type=Path, default=out)
    args = parser.parse_args()
    found = record.read(args.out)
    found.setdefault("models", {})
    found |= {
        "question": (__doc__ or "").splitlines()[0],
        "machine": record.machine() | {"threads": torch.get_num_threads()},
        "versions": versions(),
    }
    for name in args.models.split(","):
        bare, _, norm = name.partition(" ")
        eps = MODELS[name]
        entry = found["models"].setdefault(name, {"eps": eps, "n": args.n})
        images, labels = tax_data.test_images(bare.partition("_")[0], entry["n"])
        net = tax_data.model(bare).requires_grad_(False)
        if "truth" not in entry:
            entry["truth"] = truth(net, images, labels, eps, norm)
            record.write(args.out, found)
            sys.stdout.write(f"{name} {entry['truth']}\n")
            sys.stdout.flush()
        if "lines" not in entry:
            entry["lines"] = lines(net, images, labels, eps, norm)
            record.write(args.out, found)
            for label, line in entry["lines"].items():
                sys.stdout.write(f"{name} {label} {line['passes']} {line['broken']}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
