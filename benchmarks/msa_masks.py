"""What does the mix find where gradients are masked? Three masks on two nets, 100 images each.

Targets: quantised input (levels), logits so large that float32 cross-entropy has no gradient, and
a head that stops gradients; made of nets whose own robustness is known. AutoAttack alone
(version "autoattack") against MSA (version "standard") with the plain net as surrogate, the same
target. Then what is harvested of attacks on the plain net: what AutoAttack returns (final outputs),
what each run ends with (probe_every 0), each fifth query on the way, or every query.

Resumable: finished runs are kept.

Run: python benchmarks/msa_masks.py [--n 100] [--device cuda]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import record
import tax_data
import torch
from torch import nn

from torchattacks_ext import ReliabilityWarning
from torchattacks_ext.attacks.msa.msa import MSA
from torchattacks_ext.results.base.facts import versions
from torchattacks_ext.testing import GradientKiller
from torchattacks_ext.testing.masked import Quantised, SaturatedLogits

NETS = (("mnist_fast_pgd", "mnist", 0.3), ("cifar10_resnet2b_at2", "cifar10", 2 / 255))

ATTACKS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("autoattack", {"version": "autoattack"}),
    ("msa, probe_every 5", {"probe_every": 5}),
    ("msa, final outputs", {"version": "autoattack"}),
    ("msa, probe_every 0", {"probe_every": 0}),
    ("msa, probe_every 1", {"probe_every": 1}),
)
"""(label, options); "final outputs": AutoAttack's own protocol on the plain net, then target."""


def masks(net: nn.Module, dataset: str) -> dict[str, nn.Module]:
    """The three targets; a grid of 255 levels leaves CIFAR's images as they are."""
    levels = 16 if dataset == "mnist" else 256
    return {
        "quantised input": Quantised(net, levels),
        "saturated logits": SaturatedLogits(net, 1e4),
        "stopped gradient": GradientKiller(net),
    }


def measure(probe: MSA, images: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
    """Accuracy and cost of one attack."""
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        found = probe.measure(images, labels, ids=list(range(len(images))))
    return {
        "clean_accuracy": found.clean_accuracy,
        "robust_accuracy": found.robust_accuracy,
        "flags": [flag.code for flag in found.flags],
        "forward": found.cost.forward,
        "backward": found.cost.backward,
        "seconds": round(time.perf_counter() - started, 1),
    }


def runs(n: int, device: str) -> Iterator[tuple[str, str, str, Callable[[], Any]]]:
    """(net, mask, attack, run) in the order of their worth: the comparison, then the ablation."""

    def call(target: nn.Module, eps: float, dataset: str, **options: Any) -> Any:
        images, labels = tax_data.test_images(dataset, n)
        return measure(MSA(target, eps=eps, **options), images, labels)

    for label, options in ATTACKS:
        for name, dataset, eps in NETS:
            net = tax_data.model(name).to(device)
            alone = label == "autoattack"
            targets = ({"none": net} if alone else {}) | masks(net, dataset)
            more = {} if alone else {"surrogates": {"plain": net}}
            for mask, target in targets.items():
                settings = options | more
                yield name, mask, label, partial(call, target, eps, dataset, **settings)


def main() -> None:
    """Run what is not kept yet, and write a record of all that is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="then stop")
    parser.add_argument("--net", default="", help="run this one only; kept ones count")
    parser.add_argument("--kept", type=Path, default=Path("msa_masks_parts"))
    parser.add_argument("--out", type=Path, default=record.RESULTS / "msa_masks.json")
    args = parser.parse_args()
    started, rows = time.perf_counter(), []
    device = "cpu" if args.device == "cpu" else torch.cuda.get_device_name()
    for name, mask, attack, run in runs(args.n, args.device):
        path = args.kept / f"{name}-{mask}-{attack}-{args.n}.json".replace(" ", "_")
        if not path.is_file():
            if time.perf_counter() - started > args.seconds or args.net not in (
                "",
                name,
            ):
                continue
            args.kept.mkdir(parents=True, exist_ok=True)
            case = {"net": name, "mask": mask, "attack": attack, "device": device}
            record.write(path, case | run())
        rows.append(json.loads(path.read_text(encoding="utf-8")))
        sys.stdout.write(f"{rows[-1]}\n")
        sys.stdout.flush()
    record.write(
        args.out,
        {
            "question": "masked gradients: AutoAttack alone against MSA with the plain net",
            "machine": record.machine() | {"device": "each row's own"},
            "versions": versions(),
            "n": args.n,
            "eps": {name: eps for name, _, eps in NETS},
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
