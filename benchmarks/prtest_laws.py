"""How robust are trained models to random change of five kinds, at three tolerances?

Probabilistic robust accuracy (PRA: correct and certified by PRTest, significance .001) at
tolerance .1, .01 and .001 under uniform noise in the Linf and in the L2 ball, Gaussian noise,
rotation and brightness, for six models on the first n test images; beside it what PGD with 20
steps leaves in the same Linf ball. Resumable: a finished part (one model, law, tolerance and 50
images) is kept as a result file and not measured again. Another device or batch size may change
decisions only of images that had a draw close to the boundary (`n_close`).

Run: python benchmarks/prtest_laws.py [--n 200] [--device cuda]
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

import record
import tax_data
import torch

from torchattacks_ext import (
    Affine,
    Gaussian,
    L2Ball,
    LinfUniform,
    Photometric,
    ProbRobustness,
    PRTest,
    ReliabilityWarning,
    Sampler,
    evaluate,
)
from torchattacks_ext.results.base.facts import versions

MODELS = (
    "cifar10_resnet20_std",
    "cifar10_resnet2b_at2",
    "cifar10_vit_pgd",
    "cifar10_wide_kw",
    "mnist_convsmall_std",
    "mnist_fast_pgd",
)
TOLERANCES = {0.1: 20_000, 0.01: 20_000, 0.001: 50_000}
"""And the most draws an image at each."""
CHUNK = 50


def laws(dataset: str) -> dict[str, Sampler]:
    """The five laws; radii of the size that each data set is usually attacked with."""
    if dataset == "cifar10":
        return {
            "linf": LinfUniform(8 / 255),
            "l2": L2Ball(0.5),
            "gaussian": Gaussian(0.05),
            "rotation": Affine(rotation=15),
            "brightness": Photometric(brightness=0.2),
        }
    return {
        "linf": LinfUniform(0.3),
        "l2": L2Ball(2.0),
        "gaussian": Gaussian(0.2),
        "rotation": Affine(rotation=30),
        "brightness": Photometric(brightness=0.3),
    }


def pra(
    name: str, law: str, tolerance: float, n: int, device: str, kept: Path
) -> ProbRobustness:
    """One result; finished parts are read from `kept`."""
    dataset = name.partition("_")[0]
    images, labels = tax_data.test_images(dataset, n)
    sampler = laws(dataset)[law]
    ball = {"eps": sampler.eps, "norm": sampler.norm} if sampler.norm else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        test = PRTest(
            tax_data.model(name).to(device),
            sampler=sampler,
            tolerance=tolerance,
            n_max=TOLERANCES[tolerance],
            batch_size=256 if device == "cpu" else 8192,
            **ball,
        )
        parts = []
        for start in range(0, n, CHUNK):
            stop = min(start + CHUNK, n)
            path = kept / f"{name}-{law}-{tolerance:g}-{start}-{stop}.json"
            if not path.is_file():
                ids = [f"{dataset}-test-{i}" for i in range(start, stop)]
                part = test.measure(
                    images[start:stop], labels[start:stop], ids=ids, progress=True
                )
                kept.mkdir(parents=True, exist_ok=True)
                part.to_json(path)
            parts.append(ProbRobustness.from_json(path))
    return ProbRobustness.concat(parts)


def attack(name: str, n: int, device: str) -> dict[str, Any]:
    """Clean accuracy and what PGD leaves in the Linf ball of the table."""
    dataset = name.partition("_")[0]
    eps = laws(dataset)["linf"].eps
    assert eps is not None
    pgd = {"name": "PGD", "steps": 20, "alpha": eps / 4}
    model = tax_data.model(name).to(device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        report = evaluate(
            model, tax_data.test_images(dataset, n), {"eps": eps, "stages": [pgd]}
        )
    found = report.summary()
    return {
        "eps": eps,
        "clean_accuracy": found["clean"]["clean_accuracy"],
        "pgd_accuracy": found["PGD"]["robust_accuracy"],
    }


def case(name: str, n: int, device: str, kept: Path) -> dict[str, Any]:
    """The numbers of one model."""
    found = attack(name, n, device) | {"n": n, "laws": {}}
    for law in laws(name.partition("_")[0]):
        rows = {}
        for tolerance in TOLERANCES:
            result = pra(name, law, tolerance, n, device, kept)
            facts = result.summary()
            keys = ("robust", "not_robust", "undecided", "misclassified", "samples")
            rows[f"{tolerance:g}"] = {key: facts[key] for key in keys} | {
                "pra": facts["pra"],
                "pra_interval": facts["pra_interval"],
                "count_bound": facts["count_bound"],
                "digest": result.digest(),
                "seconds": round(result.cost.seconds, 1),
            }
            sys.stdout.write(f"{name} {law} {tolerance:g}: {facts['pra']:.3f}\n")
            sys.stdout.flush()
        found["laws"][law] = rows
    return found


def main() -> None:
    """Measure all models and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=200, help="images a model")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default="", help="models with this in their name")
    parser.add_argument("--kept", type=Path, default=Path("prtest_laws_parts"))
    parser.add_argument("--out", type=Path, default=record.RESULTS / "prtest_laws.json")
    args = parser.parse_args()
    names = [name for name in MODELS if args.only in name]
    cases = {name: case(name, args.n, args.device, args.kept) for name in names}
    described = {
        dataset: {law: sampler.settings() for law, sampler in laws(dataset).items()}
        for dataset in ("cifar10", "mnist")
    }
    device = "cpu"
    if args.device != "cpu":
        device = torch.cuda.get_device_name()
    record.write(
        args.out,
        {
            "question": "PRA under five laws at three tolerances, next to PGD accuracy",
            "machine": record.machine() | {"device": device},
            "versions": versions(),
            "n": args.n,
            "significance": 0.001,
            "n_max": {f"{k:g}": v for k, v in TOLERANCES.items()},
            "laws": described,
            "cases": cases,
        },
    )


if __name__ == "__main__":
    main()
