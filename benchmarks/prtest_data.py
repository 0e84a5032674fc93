"""How often do real models fail under uniform Linf noise, and what does it cost to know?

PRTest at tolerance .01 and significance .001 on the first n test images of two adversarially
trained models, at the radius they were trained for. Resumable: finished images are kept in the
JSON's folder as a result file and not measured again; the record says from how many images it
comes.

Run: python benchmarks/prtest_data.py [--n 500]
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import record
import tax_data
import torch

from torchattacks_ext import ProbRobustness, PRTest, ReliabilityWarning
from torchattacks_ext.results.base.facts import versions

CASES = (
    ("cifar10_resnet2b_at2", "cifar10", 2 / 255),
    ("mnist_fast_pgd", "mnist", 0.3),
)
CHUNK = 100


def measure(name: str, dataset: str, eps: float, n: int, kept: Path) -> ProbRobustness:
    """The result of the first n images, chunk by chunk; finished chunks are read from `kept`."""
    images, labels = tax_data.test_images(dataset, n)
    test = PRTest(tax_data.model(name), eps=eps, tolerance=0.01)
    parts = []
    for start in range(0, n, CHUNK):
        path = kept / f"{name}-{start}-{min(start + CHUNK, n)}.json"
        if path.is_file():
            parts.append(ProbRobustness.from_json(path))
            continue
        rows = slice(start, start + CHUNK)
        ids = [f"{dataset}-test-{i}" for i in range(n)[rows]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReliabilityWarning)
            part = test.measure(images[rows], labels[rows], ids=ids, progress=True)
        kept.mkdir(parents=True, exist_ok=True)
        part.to_json(path)
        parts.append(part)
    return ProbRobustness.concat(parts)


def describe(result: ProbRobustness, dataset: str, eps: float) -> dict[str, Any]:
    """The numbers of one case."""
    n = len(result)
    tested = result.n_samples > 0
    return {
        "dataset": dataset,
        "eps": eps,
        "n": n,
        **result.summary(),
        "clean_accuracy": float((result.clean_correct == 1).double().mean()),
        "images_with_a_failing_draw": int((result.n_failures > 0).sum()),
        "close_draws": int(result.n_close.sum()),
        "mean_samples_of_tested": float(result.n_samples[tested].double().mean()),
        "max_samples": int(result.n_samples.max()),
        "forward_row_passes": result.cost.forward,
        "seconds": round(result.cost.seconds, 1),
        "microseconds_per_row_pass": round(
            1e6 * result.cost.seconds / result.cost.forward, 1
        ),
        "flags": [flag.code for flag in result.flags],
        "digest": result.digest(),
    }


def main() -> None:
    """Measure both models and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=500, help="images a model")
    parser.add_argument("--kept", type=Path, default=Path("prtest_data_parts"))
    parser.add_argument("--out", type=Path, default=record.RESULTS / "prtest_data.json")
    args = parser.parse_args()
    cases = {
        name: describe(measure(name, dataset, eps, args.n, args.kept), dataset, eps)
        for name, dataset, eps in CASES
    }
    record.write(
        args.out,
        {
            "question": "PRTest on real models, first n test images, uniform Linf noise",
            "machine": record.machine() | {"threads": torch.get_num_threads()},
            "versions": versions(),
            "n": args.n,
            "cases": cases,
        },
    )


if __name__ == "__main__":
    main()
