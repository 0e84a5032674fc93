"""How accurate are two real models under the corruptions of CIFAR-10-C?

Stage `stress` of an evaluation, severities 1 to 5, on the first n lossless test images of CIFAR-10:
a net that was trained on the images alone, and one that was trained against attacks (Linf, 2/255).
Fourteen corruptions by their published definitions are in the mean; frost is of a made-up texture
(`frost_procedural`) and beside it. Drawn here, not read from the published files.
Resumable: finished chunks are kept as reports.

Run: python benchmarks/stress.py [--n 500]
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import record
import tax_data
import torch

from torchattacks_ext import EvaluationReport, ReliabilityWarning, Stress, evaluate
from torchattacks_ext.results.base.facts import versions

MODELS = ("cifar10_resnet20_std", "cifar10_resnet2b_at2")
CHUNK = 50


def measure(name: str, n: int, kept: Path) -> Stress:
    """The table of the first n images, chunk by chunk; finished chunks are read from `kept`."""
    images, labels = tax_data.test_images("cifar10", n)
    model, parts = tax_data.model(name), []
    plan = {
        "eps": "2/255",
        "batch_size": CHUNK,
        "stages": ["stress"],
    }
    for start in range(0, n, CHUNK):
        path = kept / f"{name}-{start}-{min(start + CHUNK, n)}.json"
        if path.is_file():
            report = EvaluationReport.from_json(path)
        else:
            rows = slice(start, min(start + CHUNK, n))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ReliabilityWarning)
                report = evaluate(model, (images[rows], labels[rows]), plan, name=name)
            kept.mkdir(parents=True, exist_ok=True)
            report.to_json(path)
        result = report["stress"].result
        assert isinstance(result, Stress), report["stress"].error
        parts.append(result)
    return Stress.concat(parts)


def describe(result: Stress) -> dict[str, Any]:
    """The numbers of one model."""
    right = int((result.clean_correct == 1).sum())
    return {
        **result.summary(),
        "clean_accuracy": right / len(result),
        "intervals": {
            name: [list(result.share(name, s)[3:]) for s in result.severities]
            for name in result.corruptions
        },
        "parameters": result.settings["parameters"],
        "forward_row_passes": result.cost.forward,
        "seconds": round(result.cost.seconds, 1),
        "flags": [flag.message for flag in result.flags],
        "digest": result.digest(),
    }


def main() -> None:
    """Measure both models and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=500, help="images a model")
    parser.add_argument("--kept", type=Path, default=Path("stress_parts"))
    parser.add_argument("--out", type=Path, default=record.RESULTS / "stress.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cases = {name: describe(measure(name, args.n, args.kept)) for name in MODELS}
    record.write(
        args.out,
        {
            "command": f"python benchmarks/stress.py --n {args.n}",
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
