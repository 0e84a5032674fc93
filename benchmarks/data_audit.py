"""Does the audit of data find known copies, and does it take different images for copies?

Exact: PneumoniaMNIST and MNIST. Near: each lossless CIFAR-10 image against all 10,000 JPEG ones;
200 MNIST digits, moved by a pixel or lighter and darker by 5 %, against all 10,000 test digits; and
what is near among 10,000 digits themselves, over a range of thresholds.
"""

from __future__ import annotations

import argparse
import io
import time
from typing import Any

import numpy as np
import torch
from PIL import Image
from record import RESULTS, machine, write
from tax_data import folder, pixels, sha256
from torch import Tensor

from torchattacks_ext import data_audit
from torchattacks_ext.data.loaders.npz import npz_splits
from torchattacks_ext.numerics.likeness.pairs import THRESHOLD, Portraits, near_pairs
from torchattacks_ext.results.base.facts import versions

THRESHOLDS = (0.97, 0.98, 0.985, 0.99, 0.995)
FILES = (
    ("pneumoniamnist", "pneumoniamnist28.npz"),
    ("mnist", "test10000.npz"),
    ("mnist", "train_first10000.npz"),
    ("cifar10", "test_first1017.npz"),
    ("cifar10", "test_jpeg10000.npz"),
)


def main() -> None:
    """Measure all cases and write the record."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    torch.set_num_threads(1)
    digits = mnist("test10000.npz")
    sets = {
        "pneumoniamnist": npz_splits(folder() / "pneumoniamnist" / FILES[0][1]),
        "mnist": {"train": mnist("train_first10000.npz"), "test": digits},
    }
    record = {
        "machine": machine(),
        "versions": versions(),
        "sha256": {"/".join(parts): sha256(*parts) for parts in FILES},
        "threshold": THRESHOLD,
        "audits": {name: audited(splits) for name, splits in sets.items()},
        "near": [cifar(), *moved(pixels(digits[0]))],
        "thresholds": among(pixels(digits[0])),
    }
    write(RESULTS / "data_audit.json", record)


def mnist(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of one file."""
    with np.load(folder() / "mnist" / name, allow_pickle=False) as data:
        return data["images"], data["labels"]


def audited(splits: dict[str, Any]) -> dict[str, Any]:
    """The counts of an audit, and what it took."""
    start = time.process_time()
    audit = data_audit(**splits)
    seconds = time.process_time() - start
    pairs = [
        {"split": one.split, "other": one.other, "exact": one.exact, "near": one.near}
        for one in audit.overlaps
    ]
    images = sum(one.n for one in audit.splits)
    clashes = audit.label_clashes
    return {"images": images, "pairs": pairs, "clashes": clashes, "seconds": seconds}


def found(ours: Portraits, theirs: Portraits | None, threshold: float) -> np.ndarray:
    """(2, P) near pairs."""
    parts = near_pairs(ours, theirs, threshold)
    rows = [torch.stack([a, b]).numpy() for a, b, _ in parts]
    return np.concatenate([np.zeros((2, 0), dtype=np.int64), *rows], axis=1)


def case(name: str, ours: Portraits, theirs: Portraits) -> dict[str, Any]:
    """Own copies found, and pairs that are none: row i of ours shows row i of theirs."""
    start = time.process_time()
    rows, of = found(ours, theirs, THRESHOLD)
    return {
        "case": name,
        "n": len(ours),
        "against": len(theirs),
        "own": int((rows == of).sum()),
        "others": int((rows != of).sum()),
        "seconds": time.process_time() - start,
    }


def cifar() -> dict[str, Any]:
    """Lossless images against lossy ones."""
    with np.load(folder() / "cifar10" / "test_first1017.npz") as data:
        lossless = pixels(data["images"])
    with np.load(folder() / "cifar10" / "test_jpeg10000.npz") as data:
        raw, cuts = data["jpeg"].tobytes(), data["offsets"].tolist()
    opened = (Image.open(io.BytesIO(raw[a:b])) for a, b in zip(cuts, cuts[1:]))
    lossy = pixels(np.stack([np.asarray(one.convert("RGB")) for one in opened]))
    size = (32, 32)
    sides = Portraits.of(lossless, size), Portraits.of(lossy, size)
    return case("CIFAR-10, lossless against JPEG", *sides)


def moved(digits: Tensor) -> list[dict[str, Any]]:
    """200 digits, changed, against all."""
    few, size = digits[:200], (28, 28)
    changes = {
        "one pixel right": few.roll(1, 3),
        "one pixel up": few.roll(-1, 2),
        "one pixel up and right": few.roll((-1, 1), (2, 3)),
        "brightness times 1.05": (few * 1.05).clamp(max=1),
        "brightness times 0.95": few * 0.95,
        "brightness plus 0.05": (few + 0.05).clamp(max=1),
        "brightness minus 0.05": (few - 0.05).clamp(min=0),
    }
    whole = Portraits.of(digits, size)
    return [
        case(f"MNIST, {name}", Portraits.of(images, size), whole)
        for name, images in changes.items()
    ]


def among(digits: Tensor) -> list[dict[str, Any]]:
    """Different digits that are taken for copies, by threshold."""
    whole = Portraits.of(digits, (28, 28))
    lines = []
    for threshold in THRESHOLDS:
        rows, of = found(whole, None, threshold)
        images = len(np.unique(np.concatenate([rows, of])))
        lines.append({"threshold": threshold, "pairs": len(rows), "images": images})
    return lines


if __name__ == "__main__":
    main()
