"""How much accuracy is lost on a second test set?

CIFAR-10.1 (v6), by the published predictions of 30 models: other images, not paired. And JPEG
copies of the first n test images against the lossless ones, by stage `shift`: paired.

Run: python benchmarks/shift.py [--n 1000]
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import record
import tax_data
import torch

from torchattacks_ext import ReliabilityWarning, evaluate
from torchattacks_ext.results import Shift
from torchattacks_ext.results.base.facts import versions

MODELS = ("cifar10_resnet2b_at2", "cifar10_resnet20_std")
FACTS = (
    "accuracy",
    "other_accuracy",
    "drop",
    "drop_interval",
    "paired",
    "n",
    "other_n",
    "only_here",
    "only_there",
    "p_value",
)


def published() -> dict[str, Shift]:
    """Name -> accuracies of its published predictions on CIFAR-10 and CIFAR-10.1 v6."""
    path = tax_data.folder() / "cifar10_predictions" / "predictions30.npz"
    with np.load(path, allow_pickle=False) as data:
        sides = [
            torch.from_numpy(data[f"pred_{name}"] == data[f"labels_{name}"])
            for name in ("cifar10", "v6")
        ]
        names = data["names"].tolist()
    return {
        str(name): Shift.of(sides[0][i], sides[1][i]) for i, name in enumerate(names)
    }


def compressed(name: str, n: int) -> Shift:
    """Lossless images against their JPEG copies."""
    stage = {"name": "shift", "other": tax_data.jpeg_images(0, n), "paired": "rows"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        data = tax_data.test_images("cifar10", n)
        plan = {"eps": 0, "stages": [stage]}
        report = evaluate(tax_data.model(name), data, plan, name=name)
    result = report["shift"].result
    assert isinstance(result, Shift), report["shift"].error
    return result


def describe(result: Shift) -> dict[str, Any]:
    """The numbers of one model."""
    said = result.summary()
    return {name: said[name] for name in FACTS if name in said}


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=1000, help="images with a copy")
    parser.add_argument("--out", type=Path, default=record.RESULTS / "shift.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {name: describe(result) for name, result in published().items()}
    record.write(
        args.out,
        {
            "command": f"python benchmarks/shift.py --n {args.n}",
            "machine": record.machine() | {"threads": 1},
            "versions": versions(),
            "cifar10_1": found,
            "jpeg": {name: describe(compressed(name, args.n)) for name in MODELS},
        },
    )


if __name__ == "__main__":
    main()
