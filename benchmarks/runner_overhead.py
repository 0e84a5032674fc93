"""What does `evaluate` add to the attack it runs? Time, row-passes, memory.

Time and passes: PGD on the first images of CIFAR-10 at 8/255, with a state: the seconds outside the
attack's own calls as a share of the run, the median of several runs since other work on the
machine moves it by half, beside it how much of the run the model's other passes alone take (clean
images and candidates, as many as they are, timed by themselves), and how much of it is beyond
torchattacks alone on the same correct rows, what goes on inside the calls included; its row-passes
beside those of that bare loop, and all others. Memory: the peak of a process that attacks
1,000 and 10,000 images of the same tensor (MNIST), so that only what the runner keeps may grow.
`--n 500 --steps 50 --repeats 5` takes about a minute of one core.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from typing import Any

import record
import tax_data
import torch
import torchattacks
from torch import Tensor, nn

from torchattacks_ext import ReliabilityWarning, evaluate
from torchattacks_ext.results.evaluation import EvaluationReport

OUT = record.RESULTS / "runner_overhead.json"
EPS, GROUP = 8 / 255, 100


class Counting(nn.Module):
    """A model that counts rows forward and backward."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.forward_rows, self.backward_rows = net, 0, 0

    def forward(self, images: Tensor) -> Tensor:
        """Logits, counted."""
        self.forward_rows += len(images)
        out = self.net(images)
        if out.requires_grad:
            out.register_hook(self._back)
        return out

    def _back(self, gradient: Tensor) -> None:
        self.backward_rows += len(gradient)


def main() -> None:
    """Measure, and write benchmarks/results/runner_overhead.json."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--memory", type=int, help="attack so many, print the peak in MB"
    )
    parser.add_argument("--anew", action="store_true", help="the memory again as well")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ReliabilityWarning)
    if asked.memory is not None:
        print(_peak(asked.memory))
        return
    found = record.read(OUT)
    found |= {"machine": record.machine()}
    if "memory" not in found or asked.anew:
        record.write(OUT, found | {"memory": _memory()})
        found = record.read(OUT)
    took = _time(asked.n, asked.steps, asked.repeats)
    record.write(OUT, found | {"time": took})
    print(json.dumps(record.read(OUT), indent=1))


def _time(n: int, steps: int, repeats: int) -> dict[str, Any]:
    net = tax_data.model("cifar10_resnet2b_at2")
    images, labels = tax_data.test_images("cifar10", n)
    stage = {"name": "PGD", "steps": steps, "alpha": EPS / 4, "random_start": True}
    plan = {"eps": EPS, "batch_size": GROUP, "group_size": GROUP, "stages": [stage]}
    with tempfile.TemporaryDirectory() as folder:  # what is imported once is no overhead
        short = plan | {"stages": [stage | {"steps": 1}]}
        evaluate(net, (images[:4], labels[:4]), short, state=folder)
    runs = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            report = evaluate(net, (images, labels), plan, state=folder)
            seconds = time.perf_counter() - started
        inside = report["PGD"].result.provenance["attack_calls"]
        others = report.cost.forward + report.cost.backward
        others -= inside["forward"] + inside["backward"]
        passes = _seconds(net, images, others)
        alone = _alone(net, images, labels, steps)
        shares = 1 - inside["seconds"] / seconds, passes / seconds, 1 - alone / seconds
        runs.append((*shares, seconds, inside["seconds"]))
    middle = [sorted(column)[len(runs) // 2] for column in zip(*runs)]
    outside, passes, over, seconds, within = middle
    bare = _bare(net, images, labels, steps)
    return {
        "model": "cifar10_resnet2b_at2",
        "n": n,
        "steps": steps,
        "state": True,
        "seconds": round(seconds, 2),
        "seconds_inside": round(within, 2),
        "runs": len(runs),
        "share_outside": round(outside, 4),
        "shares_of_all_runs": [round(run[0], 4) for run in sorted(runs)],
        "share_of_other_passes": round(passes, 4),
        "share_beyond_bare_loop": round(over, 4),
        "passes_inside": [inside["forward"], inside["backward"]],
        "passes_of_bare_loop": bare,
        "other_passes": others,
        "other_passes_allowed": 3 * n + 64,
        "robust_accuracy": report["PGD"].result.robust_accuracy,
    }


def _seconds(net: nn.Module, images: Tensor, passes: int) -> float:
    """What so many forward row-passes take in batches of one group."""
    with torch.no_grad():
        started = time.perf_counter()
        for part in images[:passes].split(GROUP):
            net(part)
        once = time.perf_counter() - started
    return once * passes / min(passes, len(images))


def _right(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        said = torch.cat([net(part).argmax(1) for part in images.split(GROUP)])
    return said == labels


def _alone(net: nn.Module, images: Tensor, labels: Tensor, steps: int) -> float:
    """Seconds of torchattacks alone on the correct rows, weights frozen."""
    right = _right(net, images, labels)
    attack, seconds = torchattacks.PGD(net, EPS, EPS / 4, steps), 0.0
    flags = [(weight, weight.requires_grad) for weight in net.parameters()]
    net.requires_grad_(False)
    for part, wanted, own in zip(
        images.split(GROUP), labels.split(GROUP), right.split(GROUP)
    ):
        started = time.perf_counter()
        attack(part[own], wanted[own])
        seconds += time.perf_counter() - started
    for weight, flag in flags:
        weight.requires_grad_(flag)
    return seconds


def _bare(net: nn.Module, images: Tensor, labels: Tensor, steps: int) -> list[int]:
    """Row-passes of torchattacks alone on the correct rows, of two steps: each step costs alike."""
    right = _right(net, images, labels)
    counted = []
    for few in (1, 2):
        victim = Counting(net)
        attack = torchattacks.PGD(victim, EPS, EPS / 4, few)
        for part, wanted, own in zip(
            images.split(GROUP), labels.split(GROUP), right.split(GROUP)
        ):
            attack(part[own], wanted[own])
        counted.append((victim.forward_rows, victim.backward_rows))
    (one, back), (two, again) = counted
    return [one + (steps - 1) * (two - one), back + (steps - 1) * (again - back)]


def _peak(n: int) -> float:
    """Peak of this process in MB after an evaluation of n of 10,000 images."""
    images, labels = tax_data.test_images("mnist", 10_000)
    net = tax_data.model("mnist_fast_pgd")
    plan = {"eps": 0.3, "stages": [{"name": "PGD", "steps": 1, "alpha": 0.3}]}
    report: EvaluationReport = evaluate(net, (images, labels), plan, n=n)
    assert len(report["PGD"].result or ()) == n
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _memory() -> dict[str, Any]:
    peaks = {}
    for n in (1_000, 10_000):
        call = [sys.executable, __file__, "--memory", str(n)]
        peaks[str(n)] = float(subprocess.check_output(call, text=True).split()[-1])
    few, many = peaks.values()
    return {"model": "mnist_fast_pgd", "peak_mb": peaks, "growth_mb": many - few}


if __name__ == "__main__":
    main()
