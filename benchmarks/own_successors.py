"""What do AutoAttack's successors find and cost, run by the same driver as our plans?

Each is a plan of AttackSpec on the target: rows leave when they are broken, and row-passes are
counted alike. "torchattacks": its own APGD-CE, APGD-T, FAB-T and Square at AutoAttack's settings.
"MALT + APGD-T": targeted APGD of DLR, 100 steps, at the nine classes in MALT's order
(2407.02240), from the image. "PM": APGD with the margin of probabilities as published
(2411.15210), 100 steps; "PM then APGD-T" puts the nine targets by logits behind it, as PMA+ does
(not its schedule of steps). "adv-lib": APGD-T of that package, which drops rows between its
targets only; it runs in an environment that has it. AutoAttack's flags and our own plans stand in
own_vs_autoattack.json.

Run: python benchmarks/own_successors.py [--n 128] [--models a,b] [--plans a,b]
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import sys
import time
import types
import warnings
from pathlib import Path
from typing import Any

import record
import tax_data
import torch
from own_vs_autoattack import MODELS, Counted, radius, spent
from torch import Tensor, nn

from torchattacks_ext import MSA, ReliabilityWarning
from torchattacks_ext.engines.judge.spec import AttackSpec
from torchattacks_ext.results.base.facts import versions

CHOSEN = (
    "cifar10_resnet2b_at2",
    "mnist_fast_pgd",
    "mnist_wide_kw",
    "cifar10_sri_resnet_a",
    "cifar10_base_kw",
)
_T = AttackSpec("apgd-t", on="target", steps=100)
PLANS: dict[str, tuple[str, tuple[AttackSpec, ...]]] = {
    # name: (engine, lines)
    "PM": ("own", (AttackSpec("apgd", on="target", loss="pm", steps=100),)),
    "MALT + APGD-T": (
        "own",
        (AttackSpec("malt", on="target", loss="dlr", steps=100, targets=9),),
    ),
    "PM then APGD-T": (
        "own",
        (AttackSpec("apgd", on="target", loss="pm", steps=100), _T),
    ),
    "torchattacks": (
        "torchattacks",
        (
            AttackSpec("apgd", on="target", loss="ce", steps=100),
            _T,
            AttackSpec("fab-t", on="target", steps=100),
            AttackSpec("square", on="target", steps=5000),
        ),
    ),
}
FOREIGN = "adv-lib"


def by_plan(
    net: nn.Module, images: Tensor, labels: Tensor, eps: float, name: str
) -> dict[str, Any]:
    """Flags, parts and cost of one plan, all images as one batch."""
    engine, lines = PLANS[name]
    model = Counted(net)
    settings: dict[str, Any] = {"version": "custom", "plan": lines, "engine": engine}
    probe = MSA(model, eps=eps, batch_size=len(images), seed=0, **settings)
    started = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        found = probe.measure(images, labels, ids=list(range(len(images))))
    books = found.breakdown.items()
    return {
        "broken": (found.first_breaker >= 0).nonzero().flatten().tolist(),
        "parts": {
            part: {k: book[k] for k in ("tried", "broken", "forward", "backward")}
            for part, book in books
        },
        **spent(model, started),
    }


def by_adv_lib(
    net: nn.Module, images: Tensor, labels: Tensor, eps: float
) -> dict[str, Any]:
    """The same of adv-lib's APGD-T, on the rows that are right; judged by the model itself."""
    sys.modules.setdefault("visdom", types.ModuleType("visdom"))  # it only draws
    sys.modules["visdom"].Visdom = object  # type: ignore[attr-defined]
    attack = importlib.import_module("adv_lib.attacks.auto_pgd").apgd_targeted
    model = Counted(net)
    started = time.perf_counter(), time.process_time()
    torch.manual_seed(0)
    with torch.no_grad():
        right = (model(images).argmax(1) == labels).nonzero().flatten()
    x, y = images[right], labels[right]
    found = attack(model, x, y, eps, float("inf"), n_iter=100, num_targets=9)
    inside = torch.clamp(found, x - eps, x + eps).clamp(0, 1)
    with torch.no_grad():
        wrong = model(inside).argmax(1) != y
    return {
        "broken": right[wrong].tolist(),
        **spent(model, started),
    }


def beside(name: str) -> dict[str, Any]:
    """What AutoAttack and our plans did on this model, seed 0."""
    known = record.read(record.RESULTS / "own_vs_autoattack.json")["models"][name]
    cells = {
        key: {k: known[f"{key}/0"][k] for k in ("broken", "forward", "backward")}
        for key in ("autoattack", "fast", "standard")
    }
    return {"truth": cells.pop("autoattack"), "ours": cells}


def main() -> None:
    """Run the cells that are not there yet, and write the record after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=128, help="first test images")
    parser.add_argument("--models", default=",".join(CHOSEN))
    parser.add_argument("--plans", default=",".join(PLANS))
    out = record.RESULTS / "own_successors.json"
    parser.add_argument("--out", type=Path, default=out)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = record.read(args.out)
    found |= {
        "question": (__doc__ or "").splitlines()[0],
        "machine": record.machine() | {"threads": 1},
        "versions": versions(),
        "n": args.n,
    }
    models = found.setdefault("models", {})
    for plan in args.plans.split(","):
        for name in args.models.split(","):
            entry = models.setdefault(name, beside(name))
            if plan in entry:
                continue
            images, labels = tax_data.test_images(name.partition("_")[0], args.n)
            net = tax_data.model(name).requires_grad_(False)
            eps = radius(MODELS[name])
            if plan == FOREIGN:
                entry[plan] = by_adv_lib(net, images, labels, eps)
                found["adv_lib"] = importlib.metadata.version("adv-lib")
            else:
                entry[plan] = by_plan(net, images, labels, eps, plan)
            record.write(args.out, found)
            sys.stdout.write(f"{name} {plan}: {len(entry[plan]['broken'])} broken\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
