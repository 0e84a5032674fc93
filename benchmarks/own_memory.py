"""How much memory does the own engine need at its peak, beside AutoAttack's code?

A process each: imports, the model, one forward of one image; then the attack. Memory is the peak
of the process (ru_maxrss) less its peak before the attack. Every part of the plan runs on the whole
batch, but for few steps, which need no more memory than many: gates are left out, and the radius is
so small that no row leaves. Of lines of one kind the one with most targets, or the widest noise,
stands for all. AutoAttack runs its four parts alike. Batches in which all rows stay are the worst
case. glibc is told to give memory back as soon as it is freed: by itself it keeps some or not, and
peaks of one program differ by 15 %. The least of some runs is taken. Asked: at most 1.1.

Run: python benchmarks/own_memory.py [--n 3]
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import warnings
from typing import Any

import record
import tax_data
import torch
from fast_models import resnet18_cifar
from torch import Tensor, nn

from torchattacks_ext import MSA
from torchattacks_ext.engines.autoattack.upstream import package
from torchattacks_ext.engines.judge.spec import AttackSpec
from torchattacks_ext.engines.own.plans import PLANS
from torchattacks_ext.results.base.facts import versions

CASES = {"cifar10_resnet2b_at2": 128, "ResNet-18 for CIFAR, random weights": 32}
SIDES = ("autoattack", "own")
EPS, ASKED = 1e-6, 1.1
GLIBC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
KINDS = {"apgd": 1, "malt": 3, "smooth": 1, "warm": 1, "square": 1}
"""Kinds of lines of the plan standard, and the targets of the line that stands for its kind."""
STEPS, QUERIES, TARGETS = 2, 4, 2


def case(name: str) -> tuple[nn.Module, Tensor]:
    """A net, frozen, and its batch."""
    if name.startswith("cifar10_"):
        net = tax_data.model(name)
        images = tax_data.test_images("cifar10", CASES[name])[0]
    else:
        net, images = resnet18_cifar()
    return net.eval().requires_grad_(False), images[: CASES[name]]


def autoattack(net: nn.Module, images: Tensor, labels: Tensor) -> None:
    """AutoAttack's standard version, few steps."""
    kind = importlib.import_module(package()).AutoAttack
    run = kind(net, norm="Linf", eps=EPS, seed=0, device="cpu")
    for part in (run.apgd, run.apgd_targeted, run.fab):
        part.n_iter = STEPS
    run.apgd_targeted.n_target_classes = run.fab.n_target_classes = TARGETS
    run.square.n_queries = QUERIES
    run.run_standard_evaluation(images, labels, batch_size=len(images))


def own(net: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Every kind of line of the plan standard, few steps."""
    lines = [
        AttackSpec(
            kind,
            on="target",
            loss="pm-t" if kind in ("apgd", "malt", "warm") else "ce",
            steps=QUERIES if kind == "square" else STEPS,
            targets=targets,
        )
        for kind, targets in KINDS.items()
    ]
    assert {line.kind for line in PLANS["standard"]} == set(KINDS)
    settings: dict[str, Any] = {"version": "custom", "plan": lines, "engine": "own"}
    probe = MSA(net, eps=EPS, batch_size=len(images), **settings)
    found = probe.measure(images, labels)
    assert bool((found.first_breaker < 0).all())  # each part saw the whole batch


def peak() -> int:
    """KiB, the most that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def one(name: str, side: str) -> int:
    """KiB that the attack adds to the peak of this process."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    net, images = case(name)
    with torch.no_grad():
        net(images[:1])
        labels = torch.cat([net(image[None]).argmax(1) for image in images])
    before = peak()
    (autoattack if side == "autoattack" else own)(net, images, labels)
    return peak() - before


def in_a_process(name: str, side: str) -> float:
    """MiB of :func:`one`, in a process with the memory of glibc set up."""
    line = [sys.executable, __file__, "--one", name, side]
    told = os.environ | GLIBC
    run = subprocess.run(line, env=told, stdout=subprocess.PIPE, text=True, check=True)
    return round(int(run.stdout.splitlines()[-1]) / 1024, 1)


def main() -> None:
    """Each case and side in processes of their own, one after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=3, help="runs of each")
    parser.add_argument("--one", nargs=2, help="case and side, in this process")
    args = parser.parse_args()
    if args.one:
        sys.stdout.write(json.dumps(one(*args.one)) + "\n")
        return
    found: dict[str, Any] = {
        "question": (__doc__ or "").splitlines()[0],
        "machine": record.machine() | {"threads": 1},
        "versions": versions(),
        "asked": ASKED,
        "cases": {},
    }
    for name, batch in CASES.items():
        entry: dict[str, Any] = {"batch": batch}
        for side in SIDES:
            entry[side] = sorted(in_a_process(name, side) for _ in range(args.n))
        entry["ratio"] = round(entry["own"][0] / entry["autoattack"][0], 3)
        found["cases"][name] = entry
        sys.stdout.write(f"{name} {entry}\n")
        sys.stdout.flush()
    record.write(record.RESULTS / "own_memory.json", found)


if __name__ == "__main__":
    main()
