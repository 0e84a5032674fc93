"""Which of the first test images does AutoAttack break? Flags of whole runs, as truth for others.

AutoAttack's own code (version standard, its seed 0), images in chunks of 128 as they come, each
one batch of it. The record is written after each chunk; chunks that are there are not run again.
Beside it, of a finished model, what cheap attacks in front of AutoAttack would say: margins after
PGD with 20 steps, of the right rows in their order, and smallest margins of the own engine's
version fast on what PGD left, with the row-passes of both. --take adds models of other records.

Run: python benchmarks/autoattack_truth.py [--models a,b] [--out FILE] [--take FILE,FILE]
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
import torchattacks
from own_vs_autoattack import Counted, radius, spent
from torch import Tensor, nn

from torchattacks_ext import MSA, ReliabilityWarning
from torchattacks_ext.engines.autoattack.upstream import package
from torchattacks_ext.results.base.facts import versions

MODELS = {
    "cifar10_resnet2b_at2": ("2/255", 1017),
    "mnist_fast_pgd": (".3", 1000),
    "mnist_wide_kw": ("51/255", 1000),
    "cifar10_cnna_mix": ("4/255", 1017),
}
"""Radius (Linf) and number of images."""
CHUNK = 128


def chunk(model: Counted, eps: float, images: Tensor, labels: Tensor) -> list[Tensor]:
    """Which rows are right, and which of them AutoAttack breaks."""
    with torch.no_grad():
        right = model.net(images).argmax(1) == labels
    kind = importlib.import_module(package()).AutoAttack
    run = kind(model, norm="Linf", eps=eps, seed=0, device="cpu")
    found, _ = run.run_standard_evaluation(images, labels, batch_size=len(images))
    with torch.no_grad():
        return [right, right & (model.net(found).argmax(1) != labels)]


def fresh(name: str) -> dict[str, Any]:
    """The entry of a model before its first chunk."""
    eps, n = MODELS[name]
    counts: dict[str, Any] = dict.fromkeys(("forward", "backward", "cpu_seconds"), 0)
    return {"n": n, "done": 0, "eps": radius(eps), "clean": [], "broken": []} | counts


def margins(net: nn.Module, eps: float, images: Tensor, labels: Tensor) -> list[float]:
    """Margins after PGD with 20 steps of a quarter of the radius, drawn with seed 0."""
    attack, found = torchattacks.PGD(net, eps=eps, alpha=eps / 4, steps=20), []
    torch.manual_seed(0)
    for part in torch.arange(len(images)).split(CHUNK):
        moved = attack(images[part], labels[part])
        with torch.no_grad():
            logits = net(moved)
        own = logits.gather(1, labels[part, None])[:, 0]
        logits.scatter_(1, labels[part, None], -torch.inf)
        found += (own - logits.amax(1)).tolist()
    return [round(value, 5) for value in found]


def fast(net: nn.Module, eps: float, images: Tensor, labels: Tensor) -> list[float]:
    """Smallest margins of the own engine's version fast; what it breaks is below 0."""
    probe = MSA(net, eps=eps, engine="own", version="fast", batch_size=CHUNK)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        found = probe.measure(images, labels, ids=list(range(len(images))))
    return [round(value, 5) for value in found.margin.tolist()]


def cheap(entry: dict[str, Any], net: nn.Module, data: tuple[Tensor, Tensor]) -> None:
    """Margins of the cheap attacks into the entry of a model."""
    counted, eps = Counted(net), entry["eps"]
    right = torch.tensor(entry["clean"])
    entry["margin"] = margins(counted, eps, *(side[right] for side in data))
    left = right[torch.tensor(entry["margin"]) > 0]
    passes = [counted.forward_rows + counted.backward_rows]
    entry["left"] = left.tolist()
    entry["left_margin"] = fast(counted, eps, *(side[left] for side in data))
    passes.append(counted.forward_rows + counted.backward_rows - passes[0])
    entry |= {"cheap_passes": passes, "cheap_done": entry["done"]}


def take(found: dict[str, Any], files: str) -> None:
    """Add the models of other records, where they are further."""
    for file in filter(None, files.split(",")):
        for name, entry in record.read(Path(file))["models"].items():
            mine = found["models"].get(name)
            if mine is None or mine["done"] < entry["done"]:
                found["models"][name] = entry


def main() -> None:
    """Run the chunks that are not there yet, and write the record after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", default=",".join(MODELS))
    out = record.RESULTS / "autoattack_truth.json"
    parser.add_argument("--out", type=Path, default=out)
    parser.add_argument("--take", default="", help="records of the same form")
    words = (
        "no more chunks of AutoAttack, only what cheap attacks say of those there are"
    )
    parser.add_argument("--cheap", action="store_true", help=words)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = record.read(args.out)
    found |= {
        "question": (__doc__ or "").splitlines()[0],
        "machine": record.machine(),
        "versions": versions(),
    }
    models = found.setdefault("models", {})
    take(found, args.take)
    record.write(args.out, found)
    for name in args.models.split(","):
        entry = models.setdefault(name, fresh(name))
        images, labels = tax_data.test_images(name.partition("_")[0], entry["n"])
        net = tax_data.model(name).requires_grad_(False)
        while entry["done"] < entry["n"] and not args.cheap:
            start, model = entry["done"], Counted(net)
            rows = slice(start, start + CHUNK)
            began = time.perf_counter(), time.process_time()
            flags = chunk(model, entry["eps"], images[rows], labels[rows])
            cost = spent(model, began)
            for key, flag in zip(("clean", "broken"), flags):
                entry[key] += (flag.nonzero().flatten() + start).tolist()
            for key in ("forward", "backward", "cpu_seconds"):
                entry[key] = round(entry[key] + cost[key], 2)
            entry["done"] = min(start + CHUNK, entry["n"])
            record.write(args.out, found)
            sys.stdout.write(f"{name} {entry['done']}: {len(entry['broken'])} broken\n")
            sys.stdout.flush()
        if entry.get("cheap_done") != entry["done"]:
            cheap(entry, net, (images, labels))
            record.write(args.out, found)


if __name__ == "__main__":
    main()
