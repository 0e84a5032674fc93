"""Does the black-box score meet the exact one with 201 queries, on a real ResNet-18?

pyautoattack's own ResNet-18 (CIFAR-10, not robust), the first test images: 80 directions with the
check of the step are exactly 201 queries. Ratio to the exact value (K - 1 gradients), its relative
standard deviation, and how often the 95 % interval covers. The paper's black box beside it, with
100 directions and 201 queries. Resumable: finished batches are kept.

Run: python benchmarks/fim_blackbox.py [--n 60] [--device cuda]
"""

from __future__ import annotations

import argparse
import importlib
import json
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

from torchattacks_ext import FIMScore, ReliabilityWarning
from torchattacks_ext.engines.autoattack.upstream import package
from torchattacks_ext.results.base.facts import versions

BATCH, DIRECTIONS = 10, 80


def resnet18() -> nn.Module:
    """The net that pyautoattack ships as an example; it takes pixels."""
    place = Path(importlib.import_module(package()).__file__ or "").parent / "examples"
    definition = importlib.import_module(f"{package()}.examples.resnet")
    net: nn.Module = definition.ResNet18()
    state = torch.load(place / "model_test.pt", map_location="cpu", weights_only=True)
    net.load_state_dict(state)
    return net.eval().requires_grad_(False)


def compare(net: nn.Module, images: Tensor, first: int) -> dict[str, Any]:
    """Columns of one batch of images, by the exact score and by both black boxes."""
    ids, started = list(range(first, first + len(images))), time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        exact = FIMScore(net, method="gram", batch_size=BATCH).measure(images, ids=ids)
        ours = FIMScore(net, method="blackbox", n_directions=DIRECTIONS)
        found = ours.measure(images, ids=ids)
        theirs = FIMScore(net, method="srp_blackbox").measure(images, ids=ids)
    names = ("log_lam", "log_low", "log_high")
    return {
        "exact": exact.log_lam.tolist(),
        **{name: getattr(found, name).tolist() for name in names},
        "queries": found.n_queries.tolist(),
        "theirs": theirs.log_lam.tolist(),
        "step_checks": found.provenance["step_checks"],
        "seconds": round(time.perf_counter() - started, 1),
    }


def summary(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Ratios over all images."""

    def column(name: str) -> Any:
        return np.concatenate([np.array(part[name], dtype=float) for part in parts])

    exact, low, high = column("exact"), column("log_low"), column("log_high")
    ratio, theirs = (np.exp(column(k) - exact) for k in ("log_lam", "theirs"))
    return {
        "n": len(exact),
        "queries": sorted(set(column("queries").astype(int).tolist())),
        "mean_ratio": float(ratio.mean()),
        "relative_sd": float(ratio.std(ddof=1) / ratio.mean()),
        "coverage": float(((low <= exact) & (exact <= high)).mean()),
        "theirs_mean_ratio": float(theirs.mean()),
    }


def main() -> None:
    """Score what is not kept yet and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=60)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--kept", type=Path, default=Path("fim_blackbox_parts"))
    parser.add_argument(
        "--out", type=Path, default=record.RESULTS / "fim_blackbox.json"
    )
    args = parser.parse_args()
    net, parts = resnet18().to(args.device), []
    images, _ = tax_data.test_images("cifar10", args.n)
    for first in range(0, args.n, BATCH):
        path = args.kept / f"{first}.json"
        if not path.is_file():
            args.kept.mkdir(parents=True, exist_ok=True)
            shown = images[first : first + BATCH].to(args.device)
            record.write(path, compare(net, shown, first))
        parts.append(json.loads(path.read_text(encoding="utf-8")))
        sys.stdout.write(f"{first}: {summary(parts)}\n")
        sys.stdout.flush()
    device = "cpu" if args.device == "cpu" else torch.cuda.get_device_name()
    record.write(
        args.out,
        {
            "question": "the black-box score against the exact one, 201 queries",
            "machine": record.machine() | {"device": device},
            "versions": versions(),
            "summary": summary(parts),
            "parts": parts,
        },
    )


if __name__ == "__main__":
    main()
