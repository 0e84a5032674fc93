"""Which share of the time is not the model's own? Profiles of the own engine, PRTest and FIMScore.

One thread, processor time. "forward": inside calls of the model, forward-mode derivatives with
them; "backward": inside torch.autograd.grad; "outside": the rest, that which a faster loop could
save. Shares are medians over some runs, the first left out. `calls` are calls of the model and of
autograd, `rows` the rows of a call. `top`: what takes most time of its own in a further run under
cProfile, which makes small functions look dearer than they are; entries are shares of the whole.

Run: python benchmarks/profiles.py [--n 3] [--only NAME ...]
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import record
import tax_data
import torch
from own_vs_autoattack import MODELS, radius
from torch import Tensor, nn

from torchattacks_ext import MSA, FIMScore, PRTest
from torchattacks_ext.results.base.facts import versions

Work = Callable[[nn.Module, Tensor, Tensor], Any]
GRAD = torch.autograd.grad
SHOWN = 6


def own(version: str, eps: float) -> Work:
    """A plan of the own engine."""

    def work(net: nn.Module, images: Tensor, labels: Tensor) -> None:
        size = len(images)
        MSA(net, eps=eps, version=version, engine="own", batch_size=size).measure(
            images, labels
        )

    return work


def prtest(eps: float) -> Work:
    """PRTest as it stands, in batches of 256."""

    def work(net: nn.Module, images: Tensor, labels: Tensor) -> None:
        PRTest(net, eps=eps, batch_size=256).measure(images, labels)

    return work


def fim(method: Any, kl: bool) -> Work:
    """FIMScore; kl: with what the Linf value asks for."""

    def work(net: nn.Module, images: Tensor, labels: Tensor) -> None:
        FIMScore(net, method=method, kl=kl, batch_size=len(images)).measure(images)

    return work


R, F, V = "cifar10_resnet2b_at2", "mnist_fast_pgd", "mnist_mlp_trades"
CASES: dict[str, tuple[str, int, Work]] = {
    # name: (model, images, what)
    "own standard, R": (R, 64, own("standard", radius(MODELS[R]))),
    "own standard, F": (F, 64, own("standard", radius(MODELS[F]))),
    "own fast, R": (R, 128, own("fast", radius(MODELS[R]))),
    "own fast, MLP": (V, 128, own("fast", radius(MODELS[V]))),
    "PRTest, R": (R, 16, prtest(2 / 255)),
    "PRTest, F": (F, 64, prtest(0.1)),
    "FIMScore gram, R": (R, 64, fim("gram", True)),
    "FIMScore gram without kl, R": (R, 64, fim("gram", False)),
    "FIMScore lanczos, R": (R, 64, fim("lanczos", True)),
    "FIMScore gram, F": (F, 128, fim("gram", True)),
}


class Clocked(nn.Module):
    """A model, the time inside it, and its calls."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.start()

    def start(self) -> None:
        """Everything at nought."""
        self.calls, self.rows, self.inside = 0, 0, 0.0

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K)."""
        began = time.process_time()
        logits: Tensor = self.net(images)
        self.inside += time.process_time() - began
        self.calls, self.rows = self.calls + 1, self.rows + len(images)
        return logits


class Gradients:
    """torch.autograd.grad, and the time inside it."""

    def __init__(self) -> None:
        self.calls, self.inside = 0, 0.0

    def __call__(self, *args: Any, **options: Any) -> Any:
        began = time.process_time()
        found = GRAD(*args, **options)
        self.inside += time.process_time() - began
        self.calls += 1
        return found


def clocked(work: Work, net: Clocked, data: tuple[Tensor, Tensor]) -> dict[str, Any]:
    """One run, with the shares of its time."""
    net.start()
    gradients = Gradients()
    torch.autograd.grad = gradients
    began = time.process_time()
    try:
        work(net, *data)
    finally:
        torch.autograd.grad = GRAD
    total = time.process_time() - began
    return {
        "seconds": round(total, 3),
        "forward": net.inside / total,
        "backward": gradients.inside / total,
        "outside": 1 - (net.inside + gradients.inside) / total,
        "calls": [net.calls, gradients.calls],
        "rows": round(net.rows / max(net.calls, 1), 1),
    }


def top(work: Work, net: nn.Module, data: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Functions by the time of their own, those inside the model and autograd with them."""
    profile = cProfile.Profile(time.process_time)
    profile.runcall(work, net, *data)
    stats: Any = pstats.Stats(profile)
    found = sorted(stats.stats.items(), key=lambda item: -item[1][2])[:SHOWN]
    return {_name(key): round(row[2] / stats.total_tt, 3) for key, row in found}


def _name(key: tuple[str, int, str]) -> str:
    file, line, function = key
    if file == "~":
        return function.strip("<>")
    return f"{Path(file).stem}.{function}"


def measured(name: str, n: int) -> dict[str, Any]:
    """The profile of one case."""
    model, size, work = CASES[name]
    data = tax_data.test_images(model.partition("_")[0], size)
    net = Clocked(tax_data.model(model).requires_grad_(False))
    runs = [clocked(work, net, data) for _ in range(n + 1)][1:]
    entry = {
        key: round(statistics.median(run[key] for run in runs), 3)
        for key in ("forward", "backward", "outside")
    }
    entry |= {"seconds": min(run["seconds"] for run in runs)}
    entry |= {key: runs[0][key] for key in ("calls", "rows")}
    return {"model": model, "images": size, **entry, "top": top(work, net, data)}


def main() -> None:
    """Run the cases that are asked for, keep the others, write the record after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=3, help="runs of each")
    parser.add_argument("--only", nargs="*", default=list(CASES))
    parser.add_argument("--out", type=Path, default=record.RESULTS / "profiles.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    found = record.read(args.out)
    found |= {
        "question": (__doc__ or "").splitlines()[0],
        "machine": record.machine() | {"threads": 1},
        "versions": versions(),
    }
    for name in args.only:
        found.setdefault("cases", {})[name] = entry = measured(name, args.n)
        record.write(args.out, found)
        sys.stdout.write(f"{name} {entry}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
