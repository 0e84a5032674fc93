"""What does a folded copy save an attack? Forward and input gradient of models and of their copies.

Copies are those that `models.accelerate` tries: folded in contiguous memory, in channels-last
memory, and there in bf16 where the CPU has instructions for it. Nets: ResNet-18 of torchvision
(random weights, normalisations with random statistics), the one that is usual for 32 x 32 pixels
(stride 1 at its start, no pool; random as well), and trained nets of the data folder. Calls of all
copies alternate. A time is the least CPU time (user and system) of one thread over all
alternations: the machine is shared, and a clock on the wall would measure its other work. The
interval of a ratio of minima is that of 2,000 resamples of the alternations, in which pairs stay
together. `kept`: glibc keeps memory that was freed (MALLOC_*_THRESHOLD_), so that no call pays for
fresh pages; `default`: glibc as it is. Asked: ratio 1.4 or more for ResNet-18 in batches of 48.

Run: python benchmarks/fast_models.py [--n 20] [--only NAME ...] [--memory kept default] [--shares]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import record
import tax_data
import torch
from torch import Tensor, nn

from torchattacks_ext.models.fast.agreement import answer
from torchattacks_ext.models.fast.copied import FastModel, Form
from torchattacks_ext.models.fast.graph import read
from torchattacks_ext.models.fast.processor import refusal_of_precision
from torchattacks_ext.models.fast.scene import Scene, copied
from torchattacks_ext.results.base.facts import versions

BATCH, ASKED = 48, 1.4
ENOUGH = str(2**32 - 1)
MEMORY = {
    "kept": {"MALLOC_MMAP_THRESHOLD_": ENOUGH, "MALLOC_TRIM_THRESHOLD_": ENOUGH},
    "default": {},
}
ORIGINAL = "original"


def random_net(net: nn.Module) -> nn.Module:
    """Normalisations with statistics, scales and shifts as after training."""
    source = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                for tensor, low, high in (
                    (module.running_mean, -0.2, 0.2),
                    (module.running_var, 0.5, 1.5),
                    (module.weight, 0.5, 1.5),
                    (module.bias, -0.2, 0.2),
                ):
                    assert tensor is not None
                    draw = torch.rand(tensor.shape, generator=source)
                    tensor.copy_(low + (high - low) * draw)
    return net.eval()


def resnet18(size: int) -> tuple[nn.Module, Tensor]:
    """That of torchvision, and images."""
    from torchvision.models import resnet18 as made

    torch.manual_seed(0)
    source = torch.Generator().manual_seed(1)
    images = torch.rand(BATCH, 3, size, size, generator=source)
    return random_net(made(num_classes=10)), images


def resnet18_cifar() -> tuple[nn.Module, Tensor]:
    """The one for 32 x 32 pixels: the same blocks, no stride and no pool before them."""
    net, images = resnet18(32)
    changed: Any = net
    changed.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    changed.maxpool = nn.Identity()
    return net, images


def trained(name: str) -> tuple[nn.Module, Tensor]:
    """A net of the data folder on test images."""
    return tax_data.model(name), tax_data.test_images("cifar10", BATCH)[0]


CASES: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "ResNet-18, 32 x 32": lambda: resnet18(32),
    "ResNet-18, 64 x 64": lambda: resnet18(64),
    "ResNet-18 for CIFAR, 32 x 32": resnet18_cifar,
    "cifar10_resnet20_std": lambda: trained("cifar10_resnet20_std"),
    "cifar10_branchdense_std": lambda: trained("cifar10_branchdense_std"),
}


def copies(scene: Scene) -> tuple[dict[str, FastModel], str | None]:
    """The model as a view and its copies, by name, and why there is none in bf16."""
    folds = read(copied(scene.model), scene.images[:2])
    lying = Form("channels_last")
    found = {
        ORIGINAL: scene.view(copied(scene.model), Form()),
        "folded": scene.built(folds, Form()),
        "channels_last": scene.built(folds, lying),
    }
    why = refusal_of_precision("bf16", scene.images.device)
    if why is None:
        short = Form("channels_last", torch.bfloat16)
        found["bf16"] = scene.built(folds, short)
    return found, why


def measured(name: str, n: int) -> dict[str, Any]:
    """Times of the copies of one case, and how they differ from the model."""
    torch.set_num_threads(1)
    net, images = CASES[name]()
    scene = Scene(net, images)
    models, why = copies(scene)
    told = scene.reference().answer
    seen = {k: scene.agreement(m, told) for k, m in models.items() if k != ORIGINAL}
    for model in models.values():
        answer(model, images)
    cpu = {k: np.zeros(n) for k in models}
    wall = {k: np.zeros(n) for k in models}
    for i in range(n):
        for key, model in models.items():
            started = time.perf_counter(), time.process_time()
            answer(model, images)
            wall[key][i] = time.perf_counter() - started[0]
            cpu[key][i] = time.process_time() - started[1]
    folds = read(copied(net), images[:2])
    return {
        "batch": BATCH,
        "shape": list(images.shape[1:]),
        "alternations": n,
        "folded": len(folds.norms),
        "stay": len(folds.kept),
        "no_bf16": why,
        "seconds": {k: round(float(x.min()), 5) for k, x in cpu.items()},
        "wall_seconds": {k: round(float(x.min()), 5) for k, x in wall.items()},
        "ratios": {k: ratio(cpu[ORIGINAL], cpu[k]) for k in seen},
        "differences": {
            k: {
                "max_logit_difference": found.difference,
                "largest_logit": found.largest,
                "changed_decisions": found.changed,
                "equal_gradient_signs": found.signs,
            }
            for k, found in seen.items()
        },
    }


def ratio(before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """Ratio of minima with its interval, and the median of the ratios of pairs."""
    chosen = np.random.default_rng(0).integers(0, len(before), (2000, len(before)))
    drawn = before[chosen].min(1) / after[chosen].min(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {
        "of_minima": round(float(before.min() / after.min()), 4),
        "interval": [round(float(low), 4), round(float(high), 4)],
        "median_of_pairs": round(float(np.median(before / after)), 4),
    }


def share(name: str) -> float:
    """The part of the time of the model itself that convolutions take: no fold can save of that."""
    torch.set_num_threads(1)
    net, images = CASES[name]()
    model = Scene(net, images).view(copied(net), Form())
    answer(model, images)
    cpu = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=cpu) as seen:
        for _ in range(3):
            answer(model, images)
    events = seen.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    conv = sum(e.self_cpu_time_total for e in events if "convolution" in e.key)
    return round(conv / total, 4)


def in_a_process(name: str, memory: str, n: int) -> dict[str, Any]:
    """A case with the memory of glibc set up, which it reads when a process begins."""
    line = [sys.executable, __file__, "--one", name, "--n", str(n)]
    plain = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    done = subprocess.run(
        line, env=plain | MEMORY[memory], stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def keep(path: Path, cases: dict[str, Any]) -> None:
    """Write what is known so far."""
    record.write(
        path,
        {
            "question": "what a folded copy saves forward and input gradient",
            "machine": record.machine(),
            "versions": versions(),
            "threads": 1,
            "asked": ASKED,
            "cases": cases,
        },
    )


def main() -> None:
    """Run the cases that are asked for, keep the others, write the record after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=20, help="alternations")
    parser.add_argument("--only", nargs="*", default=list(CASES))
    parser.add_argument("--memory", nargs="*", default=list(MEMORY))
    parser.add_argument("--shares", action="store_true", help="of convolutions only")
    parser.add_argument("--one", help="this case, in this process, to stdout")
    parser.add_argument("--out", type=Path, default=record.RESULTS / "fast_models.json")
    args = parser.parse_args()
    if args.one:
        sys.stdout.write(json.dumps(measured(args.one, args.n)) + "\n")
        return
    cases = record.read(args.out).get("cases", {})
    if args.shares:
        for name in args.only:
            cases.setdefault(name, {})["convolution_share"] = share(name)
        keep(args.out, cases)
        return
    for memory in args.memory:
        for name in args.only:
            found = in_a_process(name, memory, args.n)
            cases.setdefault(name, {})[memory] = found
            sys.stdout.write(f"{name}, {memory}: {json.dumps(found['ratios'])}\n")
            sys.stdout.flush()
            keep(args.out, cases)


if __name__ == "__main__":
    main()
