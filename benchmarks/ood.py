"""Do the scores of two real models tell CIFAR-10 images from others?

Stage `ood` on the first n lossless test images: near, JPEG copies of other test images (of the same
classes: what is told is the compression); far, MNIST and chest X-rays as RGB pictures of 32 x 32;
noise, uniform and Gaussian. Four scores of the model, none of them fitted.

Run: python benchmarks/ood.py [--n 300]
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import record
import tax_data
import torch

from torchattacks_ext import ReliabilityWarning, evaluate
from torchattacks_ext.results import OODScores
from torchattacks_ext.results.base.facts import versions

MODELS = ("cifar10_resnet2b_at2", "cifar10_resnet20_std")


def measure(name: str, n: int) -> OODScores:
    """The scores of one model."""
    mnist, _ = tax_data.test_images("mnist", n)
    stage = {
        "name": "ood",
        "near": {"JPEG copies of others": tax_data.jpeg_images(1017, 1017 + n)[0]},
        "far": {"MNIST": mnist, "chest X-rays": tax_data.xray_images(n)[0]},
        "noise": ["uniform", "gaussian"],
        "n": n,
        "adapt": True,
    }
    plan = {"eps": "2/255", "batch_size": 50, "stages": [stage]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        data = tax_data.test_images("cifar10", n)
        report = evaluate(tax_data.model(name), data, plan, name=name)
    result = report["ood"].result
    assert isinstance(result, OODScores), report["ood"].error
    return result


def describe(result: OODScores) -> dict[str, Any]:
    """The numbers of one model."""
    return {
        **result.summary(),
        "clean_accuracy": float((result.clean_correct == 1).double().mean()),
        "forward_row_passes": result.cost.forward,
        "backward_row_passes": result.cost.backward,
        "seconds": round(result.cost.seconds, 1),
        "flags": [flag.message for flag in result.flags],
        "digest": result.digest(),
    }


def main() -> None:
    """Measure each model and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=300, help="images of each set")
    parser.add_argument("--out", type=Path, default=record.RESULTS / "ood.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cases = {name: describe(measure(name, args.n)) for name in MODELS}
    record.write(
        args.out,
        {
            "command": f"python benchmarks/ood.py --n {args.n}",
            "machine": record.machine() | {"threads": 1},
            "versions": versions(),
            "models": {
                name: tax_data.sha256("models", f"{name}.pt") for name in MODELS
            },
            "cases": cases,
        },
    )


if __name__ == "__main__":
    main()
