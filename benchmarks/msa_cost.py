"""What does one MSA cost beside five runs of AutoAttack, where the surrogates share one trunk?

Trunk: cifar10_resnet2b_at2 up to its last linear layer. Surrogates, heads on its features z: the
net's own last layer ("fc"), minus the distance to the class means of training features ("l2"),
the cosine to them ("cosine"), and two soft mixtures of fc and l2. Target: their hard mixture. Of
the two heads, scaled to one size, the one with the larger margin between its two best classes
answers alone: a one-hot argmax, which has no gradient, where the soft mixtures take a softmax with
temperature .3 or 1.

Side A: AutoAttack's own code (version standard) on each head apart, every output judged on the
target. Side B: MSA(version="standard") on the target, once. Rows that go through the trunk are
counted where they do so, forward and backward, on both sides.

Run: python benchmarks/msa_cost.py [--n 64] [--device cuda]
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import record
import tax_data
import torch
from torch import Tensor, nn
from torch.nn import functional

from torchattacks_ext import MSA, NormalizedModel, ReliabilityWarning
from torchattacks_ext.engines.autoattack.upstream import package
from torchattacks_ext.models import SharedTrunk
from torchattacks_ext.models.adapters.soft_assign import one_hot_argmax
from torchattacks_ext.results.base.facts import versions

NET, EPS, SEED = "cifar10_resnet2b_at2", 2 / 255, 0
N_TRAIN = 2_000
TEMPERATURES = (0.3, 1.0)


class Trunk(nn.Module):
    """Pixels to features; counts rows, forward and backward."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.forward_rows, self.backward_rows = net, 0, 0

    def forward(self, images: Tensor) -> Tensor:
        """Features (N, D)."""
        self.forward_rows += len(images)
        features: Tensor = self.net(images)
        if features.requires_grad:
            features.register_hook(self._back)  # type: ignore[no-untyped-call]
        return features

    def _back(self, gradient: Tensor) -> None:
        self.backward_rows += len(gradient)


class Distance(nn.Module):
    """Minus the squared distance to class means (K, D), in units of `scale`; or the cosine."""

    means: Tensor

    def __init__(self, means: Tensor, scale: float, cosine: bool = False) -> None:
        super().__init__()
        self.register_buffer("means", means)
        self.scale, self.cosine = scale, cosine

    def forward(self, z: Tensor) -> Tensor:
        """Logits (N, K)."""
        if self.cosine:
            sides = (functional.normalize(side, dim=1) for side in (z, self.means))
            one, two = sides
            return one @ two.T / self.scale
        return -((z[:, None] - self.means) ** 2).sum(2) / self.scale


class Scaled(nn.Module):
    """A head in other units."""

    def __init__(self, head: nn.Module, scale: float) -> None:
        super().__init__()
        self.head, self.scale = head, scale

    def forward(self, z: Tensor) -> Tensor:
        """Logits (N, K)."""
        logits: Tensor = self.head(z) / self.scale
        return logits


class Mixture(nn.Module):
    """Two heads weighted by their margins: softmax(margins / tau), or the larger one alone."""

    def __init__(self, one: nn.Module, two: nn.Module, tau: float | None) -> None:
        super().__init__()
        self.one, self.two, self.tau = one, two, tau

    def forward(self, z: Tensor) -> Tensor:
        """Logits (N, K)."""
        both = torch.stack([self.one(z), self.two(z)], 1)
        best = both.topk(2, dim=2).values
        sure = best[:, :, 0] - best[:, :, 1]
        hard = self.tau is None
        weight = one_hot_argmax(sure) if hard else (sure / self.tau).softmax(1)
        return (weight[:, :, None] * both).sum(1)


def features_of(net: nn.Module) -> tuple[Tensor, Tensor]:
    """Features and labels of the first training images of the data folder."""
    place = tax_data.folder() / "cifar10" / "train_subset5085.npz"
    with np.load(place, allow_pickle=False) as data:
        images = tax_data.pixels(data["images"][:N_TRAIN])
        labels = torch.from_numpy(data["labels"][:N_TRAIN].astype(np.int64))
    with torch.no_grad():
        return torch.cat([net(part) for part in images.split(512)]), labels


def spread(logits: Tensor) -> float:
    """The unit of a head: standard deviation of its logits about the mean of each row."""
    return float((logits - logits.mean(1, keepdim=True)).std())


def build(device: str) -> tuple[Trunk, dict[str, nn.Module], nn.Module]:
    """The trunk, the five surrogate heads and the target's head."""
    net, mean, std = tax_data.bare_model(NET)
    last: Any = net.linear2
    net.linear2 = nn.Identity()
    assert mean is not None and std is not None
    trunk = NormalizedModel(net, mean, std)
    z, labels = features_of(trunk)
    means = torch.stack([z[labels == k].mean(0) for k in range(10)])
    with torch.no_grad():
        fc = Scaled(last, spread(last(z)))
        l2 = Distance(means, spread(Distance(means, 1.0)(z)))
        cosine = Distance(means, spread(Distance(means, 1.0, True)(z)), True)
    heads: dict[str, nn.Module] = {"fc": fc, "l2": l2, "cosine": cosine}
    heads |= {f"soft {tau:g}": Mixture(fc, l2, tau) for tau in TEMPERATURES}
    counted = Trunk(trunk).to(device).eval().requires_grad_(False)
    for head in heads.values():
        head.to(device).eval().requires_grad_(False)
    return counted, heads, Mixture(fc, l2, None)


def now() -> tuple[float, float]:
    """Wall time and the process's own: on a shared machine the second is the fairer one."""
    return time.perf_counter(), time.process_time()


def spent(trunk: Trunk, started: tuple[float, float]) -> dict[str, Any]:
    """Row-passes since the counters were last read, and seconds since `started`."""
    wall, own = (two - one for one, two in zip(started, now()))
    found = {
        "forward": trunk.forward_rows,
        "backward": trunk.backward_rows,
        "seconds": round(wall, 2),
        "cpu_seconds": round(own, 2),
    }
    trunk.forward_rows = trunk.backward_rows = 0
    return found


def apart(
    trunk: Trunk,
    heads: dict[str, nn.Module],
    target: nn.Module,
    images: Tensor,
    labels: Tensor,
) -> tuple[Tensor, dict[str, Any]]:
    """Side A: robust (n,), and the cost of each head's run."""
    kind = importlib.import_module(package()).AutoAttack
    victim, costs = nn.Sequential(trunk, target), {}
    with torch.no_grad():
        robust = victim(images).argmax(1) == labels
    spent(trunk, now())
    for name, head in heads.items():
        started = now()
        model = nn.Sequential(trunk, head)
        run = kind(model, norm="Linf", eps=EPS, seed=SEED, device=str(images.device))
        found, _ = run.run_standard_evaluation(images, labels, batch_size=len(images))
        with torch.no_grad():
            robust &= victim(found).argmax(1) == labels
            own = int((model(found).argmax(1) == labels).sum())
        costs[name] = spent(trunk, started) | {"robust_on_itself": own}
    return robust, costs


def together(
    trunk: Trunk,
    heads: dict[str, nn.Module],
    target: nn.Module,
    images: Tensor,
    labels: Tensor,
) -> tuple[Tensor, dict[str, Any], dict[str, Any]]:
    """Side B: robust (n,), its cost, and the books of MSA."""
    shared = SharedTrunk(trunk, {**heads, "hard": target})
    surrogates = {name: shared.head(name) for name in heads}
    started = now()
    attack = MSA(shared.head("hard"), surrogates, eps=EPS, seed=SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        found = attack.measure(images, labels, ids=list(range(len(images))))
    cost = spent(trunk, started)
    cost["counted_by_msa"] = {
        "forward": found.cost.forward,
        "backward": found.cost.backward,
    }
    books = attack.facts()["breakdown"]
    return found.robust.to(images.device), cost, books


def main() -> None:
    """Run both sides and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=record.RESULTS / "msa_cost.json")
    args = parser.parse_args()
    trunk, heads, target = build(args.device)
    data = tax_data.test_images("cifar10", args.n)
    images, labels = (side.to(args.device) for side in data)
    with torch.no_grad():
        clean = {
            name: int((head(trunk(images)).argmax(1) == labels).sum())
            for name, head in {**heads, "target": target}.items()
        }
    spent(trunk, now())
    one, costs = apart(trunk, heads, target, images, labels)
    two, cost, books = together(trunk, heads, target, images, labels)
    keys = ("forward", "backward", "seconds", "cpu_seconds")
    total = {key: round(sum(part[key] for part in costs.values()), 2) for key in keys}
    passes = [side["forward"] + side["backward"] for side in (cost, total)]
    found = {
        "question": "one MSA against five runs of AutoAttack; surrogates share a trunk",
        "machine": record.machine()
        | {
            "device": ("cpu" if args.device == "cpu" else torch.cuda.get_device_name()),
            "threads": torch.get_num_threads(),
        },
        "versions": versions(),
        "net": NET,
        "eps": EPS,
        "n": args.n,
        "clean_correct": clean,
        "robust": {"apart": int(one.sum()), "msa": int(two.sum())},
        "robust_in_msa_alone": int((two & ~one).sum()),
        "apart": total,
        "msa": cost,
        "ratio": {"row_passes": round(passes[0] / passes[1], 4)}
        | {key: round(cost[key] / total[key], 4) for key in keys},
        "apart_by_head": costs,
        "msa_by_source": books,
    }
    record.write(args.out, found)
    shown = ("clean_correct", "robust", "robust_in_msa_alone", "apart", "msa", "ratio")
    sys.stdout.write("\n".join(f"{key}: {found[key]}" for key in shown) + "\n")


if __name__ == "__main__":
    main()
