"""What does a profile cost, and was that known before? Row-passes expected and spent, seconds.

The profile `fast` on 200 images of two models, and `standard` on 60 digits of a small net that is
trained here in seconds. "Guessed" assumes the usual shares of right images and of those that
withstand attacks; "looked" those of the clean and the PGD stage, as `--look` measures them.

Run: python benchmarks/profile_cost.py
"""

from __future__ import annotations

import sys
import time
import warnings
from typing import Any

import tax_data
import torch
from own_vs_autoattack import radius
from record import RESULTS, machine, read, write
from torch import Tensor, nn

from torchattacks_ext import ReliabilityWarning, evaluate
from torchattacks_ext.data.digits import load_digits
from torchattacks_ext.evaluation.demo import train_demo
from torchattacks_ext.evaluation.dry.costs import USUAL, Shares, expected_passes
from torchattacks_ext.evaluation.plan import check_plan
from torchattacks_ext.evaluation.plans.profiles import profile_stages
from torchattacks_ext.evaluation.stages import build_stages
from torchattacks_ext.results.base.facts import versions

CASES = (
    ("cifar10_resnet2b_at2", "2/255", "fast", 200),
    ("mnist_fast_pgd", ".3", "fast", 200),
    ("digits", ".15", "standard", 60),
)


def victim(name: str, n: int) -> tuple[nn.Module, Tensor, Tensor]:
    """A model with its first n test images and labels."""
    if name != "digits":
        images, labels = tax_data.test_images(name.partition("_")[0], n)
        return tax_data.model(name).requires_grad_(False), images, labels
    net = train_demo("standard", *load_digits("train")).eval().requires_grad_(False)
    images, labels = load_digits("test")
    return net, images[:n], labels[:n]


def case(name: str, eps: str, profile: str, n: int) -> dict[str, Any]:
    """One profile on one model."""
    net, images, labels = victim(name, n)
    ball = {"eps": radius(eps), "norm": "Linf"}
    plan = check_plan(ball | {"stages": profile_stages(profile, ball["eps"], "Linf")})
    began = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        report = evaluate(net, (images, labels), plan)
    seconds = time.perf_counter() - began[0], time.process_time() - began[1]
    right = int((report["clean"].result.clean_correct == 1).sum())  # type: ignore
    left = int(report["PGD"].result.robust.sum())  # type: ignore
    seen = Shares(right / n, left / max(right, 1), 10)
    stages = {}
    for stage, told in zip(build_stages(plan), report.stages):
        if told.result is not None:  # not of three channels
            stages[stage.label] = {
                "guessed": expected_passes(stage, n, USUAL),
                "looked": expected_passes(stage, n, seen),
                "spent": told.cost.forward + told.cost.backward,
            }
    total = {
        key: sum(one[key] or 0 for one in stages.values())
        for key in ("guessed", "looked", "spent")
    }
    return {
        "model": name,
        "eps": eps,
        "profile": profile,
        "n": n,
        "right": seen.right,
        "left": seen.left,
        "seconds": round(seconds[0], 1),
        "cpu_seconds": round(seconds[1], 1),
        "total": total,
        "stages": stages,
    }


def main() -> None:
    """Run the cases that are not there yet, and write the record after each."""
    torch.set_num_threads(1)
    path = RESULTS / "profile_cost.json"
    found = read(path)
    found |= {
        "question": (__doc__ or "").splitlines()[0],
        "machine": machine() | {"threads": 1},
        "versions": versions(),
    }
    cases = found.setdefault("cases", [])
    done = {(one["model"], one["profile"], one["n"]) for one in cases}
    for name, eps, profile, n in CASES:
        if (name, profile, n) not in done:
            cases.append(case(name, eps, profile, n))
            write(path, found)
            sys.stdout.write(f"{name} {profile}: {cases[-1]['total']}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
