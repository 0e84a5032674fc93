"""What does the own engine find beside AutoAttack, and at what price?

For each model AutoAttack's own code (version standard, its seed 0) attacks the first images once;
its flags and row-passes stay in the record. Then the plans of engine="own", each with several
seeds. "missed": rows that AutoAttack breaks and the plan does not, with the part before which they
stopped (or None, where they went through all) and their smallest margin as a share of the clean
one; "beyond": the reverse, with the part that broke them. Row-passes, forward and backward, are
counted alike on both sides: rows of each call of the model. The record is written after each cell,
and cells that are there are not run again.

Run: python benchmarks/own_vs_autoattack.py [--n 128] [--models a,b] [--seeds 0,1,2]
"""

from __future__ import annotations

import argparse
import importlib
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

MODELS = {
    # name[ norm]: radius
    "cifar10_resnet2b_at2": "2/255",
    "mnist_fast_pgd": ".3",
    "mnist_mmr_universal": "51/255",
    "mnist_wide_kw": "51/255",
    "mnist_cnna_adv": ".3",
    "cifar10_sri_resnet_a": "4/255",
    "cifar10_vit_pgd": "2/255",
    "cifar10_cnna_mix": "4/255",
    "cifar10_marabou_medium": "2/255",
    "cifar10_base_kw": "8/255",
    "cifar10_resnet4b_at2": "2/255",
    "mnist_mlp_trades": "20/255",
    "cifar10_cvx_l2_stage0": "6/255",
    "cifar10_mmr_universal": "2/255",
    "mnist_cvx_linf01": "20/255",
    "cifar10_wide_madry8": "8/255",
    "cifar10_resnet2b_at2 L2": ".25",
    "mnist_fast_pgd L2": "1.5",
    "cifar10_vit_pgd L2": ".25",
    "mnist_mmr_universal L2": "1.5",
    "cifar10_resnet2b_at2 L1": "1.5",
    "mnist_wide_kw L1": "5",
    "mnist_mlp_trades L1": "5",
    "mnist_mmr_universal L1": "4",
}
TUNED = (
    *tuple(MODELS)[:6],
    "cifar10_wide_madry8",
    "mnist_fast_pgd L2",
    "mnist_mmr_universal L1",
    "cifar10_resnet2b_at2 L1",
)
"""Models whose rows had a say in the gates of the plan of that norm (own_gates.py: L2 and L1)."""
TWICE = ("mnist_wide_kw", "mnist_mmr_universal", "mnist_fast_pgd")
"""Models on which AutoAttack runs with a second seed, too."""
PLANS = ("standard", "fast")


def radius(text: str) -> float:
    """A fraction as a number."""
    above, _, below = text.partition("/")
    return float(above) / float(below or 1)


class Counted(nn.Module):
    """A model that counts the rows that pass through it, forward and backward."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.forward_rows, self.backward_rows = net, 0, 0

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K)."""
        self.forward_rows += len(images)
        logits: Tensor = self.net(images)
        if logits.requires_grad:
            logits.register_hook(self._back)  # type: ignore[no-untyped-call]
        return logits

    def _back(self, gradient: Tensor) -> None:
        self.backward_rows += len(gradient)


def spent(model: Counted, started: tuple[float, float]) -> dict[str, Any]:
    """Row-passes of the model, wall and processor seconds since `started`."""
    return {
        "forward": model.forward_rows,
        "backward": model.backward_rows,
        "seconds": round(time.perf_counter() - started[0], 2),
        "cpu_seconds": round(time.process_time() - started[1], 2),
    }


def autoattack(
    net: nn.Module, images: Tensor, labels: Tensor, ball: tuple[float, Any], seed: int
) -> dict[str, Any]:
    """Flags and cost of AutoAttack's own code, all images as one batch."""
    model = Counted(net)
    kind = importlib.import_module(package()).AutoAttack
    with torch.no_grad():
        right = net(images).argmax(1) == labels
    started = time.perf_counter(), time.process_time()
    run = kind(model, norm=ball[1], eps=ball[0], seed=seed, device="cpu")
    found, _ = run.run_standard_evaluation(images, labels, batch_size=len(images))
    cost = spent(model, started)
    with torch.no_grad():
        broken = right & (net(found).argmax(1) != labels)
    return {"clean": int(right.sum()), "broken": _numbers(broken), **cost}


def own(
    net: nn.Module,
    images: Tensor,
    labels: Tensor,
    ball: tuple[float, Any],
    plan: str,
    seed: int,
    ids: list[int] | None = None,
    batch_size: int | None = None,
) -> dict[str, Any]:
    """Flags, parts and cost of one plan; ids: of the rows, their positions when None.

    batch_size: None takes all images as one batch.
    """
    model = Counted(net)
    settings = {"eps": ball[0], "norm": ball[1], "engine": "own", "seed": seed}
    size = batch_size or len(images)
    probe = MSA(model, batch_size=size, version=plan, **settings)
    started = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        found = probe.measure(images, labels, ids=ids or list(range(len(images))))
    cost = spent(model, started)
    names = [*found.sources, None]
    rows = {}
    for row in range(len(images)):
        part = names[int(found.first_breaker[row])]
        stop = names[int(found.stopped_by[row])]
        rows[row] = (part or stop, round(float(found.rel[row]), 3))
    parts = {
        name: {k: book[k] for k in ("tried", "broken", "forward", "backward")}
        for name, book in found.breakdown.items()
    }
    return {
        "plan": found.settings["plan"],
        "broken": _numbers(found.first_breaker >= 0),
        "rows": {str(k): v for k, v in rows.items()},
        "parts": parts,
        "flags": [flag.code for flag in found.flags],
        **cost,
    }


def _numbers(flags: Tensor) -> list[int]:
    return [int(i) for i in flags.nonzero().flatten()]


def compared(cell: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    """The cell with missed and beyond rows, and without what is known of the other rows."""
    own_rows, aa_rows = set(cell["broken"]), set(truth["broken"])
    told = cell.pop("rows")
    passes = truth["forward"] + truth["backward"]
    return cell | {
        "missed": {str(r): told[str(r)] for r in sorted(aa_rows - own_rows)},
        "beyond": {str(r): told[str(r)][0] for r in sorted(own_rows - aa_rows)},
        "cheaper": round(passes / (cell["forward"] + cell["backward"]), 2),
        "faster": round(truth["cpu_seconds"] / max(cell["cpu_seconds"], 1e-3), 2),
    }


def fall_again(
    net: nn.Module,
    images: Tensor,
    labels: Tensor,
    ball: tuple[float, Any],
    plan: str,
    rows: list[int],
) -> list[int]:
    """Of these rows those that the plan breaks by another seed; a row stands for itself."""
    place = torch.tensor(rows)
    cell = own(net, images[place], labels[place], ball, plan, 1, rows)
    return [rows[i] for i in cell["broken"]]


def cells(
    models: list[str], seeds: list[int], plans: list[str]
) -> list[tuple[str, str, int]]:
    """(model, what, seed), AutoAttack's first run before the plans, its second runs last."""
    found = []
    for name in models:
        found.append((name, "autoattack", 0))
        found += [(name, plan, seed) for plan in plans for seed in seeds]
    again = [(name, "autoattack", 1) for name in models if name in TWICE]
    return found + (again if len(seeds) > 1 else [])


def main() -> None:
    """Run the cells that are not there yet, and write the record after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=128, help="first test images")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--plans", default=",".join(PLANS))
    out = record.RESULTS / "own_vs_autoattack.json"
    parser.add_argument("--out", type=Path, default=out)
    args = parser.parse_args()
    found = record.read(args.out)
    found.setdefault("models", {})
    found |= {
        "question": (__doc__ or "").splitlines()[0],
        "machine": record.machine() | {"threads": torch.get_num_threads()},
        "versions": versions(),
    }
    seeds = [int(seed) for seed in args.seeds.split(",")]
    plans = [plan for plan in args.plans.split(",") if plan]
    for name, what, seed in cells(args.models.split(","), seeds, plans):
        entry = found["models"].setdefault(
            name, {"eps": MODELS[name], "n": args.n, "tuned": name in TUNED}
        )
        key = f"{what}/{seed}"
        if key in entry or entry["n"] != args.n:
            continue
        images, labels = tax_data.test_images(name.partition("_")[0], args.n)
        bare, _, norm = name.partition(" ")
        net = tax_data.model(bare).requires_grad_(False)
        ball = radius(MODELS[name]), norm or "Linf"
        if what == "autoattack":
            entry[key] = autoattack(net, images, labels, ball, seed)
        else:
            cell = own(net, images, labels, ball, what, seed)
            entry[key] = cell = compared(cell, entry["autoattack/0"])
            if len(seeds) == 1 and cell["missed"]:
                rows = [int(row) for row in cell["missed"]]
                cell["falls_to_seed_1"] = fall_again(
                    net, images, labels, ball, what, rows
                )
        record.write(args.out, found)
        sys.stdout.write(f"{name} {key} {len(entry[key]['broken'])} broken\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
