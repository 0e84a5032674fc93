"""Do the paper's measures of sensitivity, and fair ones, favour a head by distances? Static nets.

Three trained nets with their own linear head ("fc"), the prototypes of their training images ("l2")
and those mixed with the batch of all test images, by halves ("hpm"); nothing is trained on top.

Run: python benchmarks/hpm_sensitivity.py [--n 400] [--device cuda]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import record
import tax_data
import torch
from torch import Tensor, nn

from torchattacks_ext.data.digits import load_digits
from torchattacks_ext.defenses import HPMModel, sensitivity_report
from torchattacks_ext.evaluation.demo import KINDS, train_demo
from torchattacks_ext.reports.heads import render_heads
from torchattacks_ext.results.base.facts import versions

Pairs = tuple[Tensor, Tensor]
CIFAR = "cifar10_resnet2b_at2"


def nets(n: int) -> Iterator[tuple[str, nn.Module, Pairs, Pairs, float]]:
    """(name, net, training pairs, test pairs, eps)."""
    for kind in KINDS:
        train, test = load_digits("train"), load_digits("test")
        net = train_demo(kind, *train)
        yield f"digits, {kind} training", net, train, (test[0][:n], test[1][:n]), 0.1
    place = tax_data.folder() / "cifar10" / "train_subset5085.npz"
    with np.load(place, allow_pickle=False) as data:
        images = tax_data.pixels(data["images"])
        labels = torch.from_numpy(data["labels"].astype(np.int64))
    test = tax_data.test_images("cifar10", n)
    yield CIFAR, tax_data.model(CIFAR), (images, labels), test, 2 / 255


def measure(
    net: nn.Module, train: Pairs, test: Pairs, eps: float, device: str
) -> dict[str, Any]:
    """The report of one net."""
    started = time.perf_counter()
    hpm = HPMModel.from_classifier(net, images=test[0][:2]).to(device).eval()
    batches = zip(torch.split(train[0], 500), torch.split(train[1], 500))
    hpm.fit_prototypes(batches)
    images, labels = (side.to(device) for side in test)
    found = sensitivity_report(hpm, images, labels, eps=eps)
    print(render_heads(found), flush=True)
    return {
        "n_train": len(train[1]),
        "seconds": round(time.perf_counter() - started, 1),
        "answers": {pair.distance: pair.answers() for pair in found.pairs},
        "report": found.to_dict(),
    }


def main() -> None:
    """Measure every net and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=400)
    parser.add_argument("--device", default="cpu")
    out = record.RESULTS / "hpm_sensitivity.json"
    parser.add_argument("--out", type=Path, default=out)
    args = parser.parse_args()
    cases = {
        name: measure(net, train, test, eps, args.device)
        for name, net, train, test, eps in nets(args.n)
    }
    device = "cpu"
    if args.device != "cpu":
        device = torch.cuda.get_device_name(args.device)
    record.write(
        args.out,
        {
            "question": "the paper's measures of sensitivity beside fair ones",
            "machine": record.machine() | {"device": device},
            "versions": versions(),
            "cases": cases,
        },
    )


if __name__ == "__main__":
    main()
