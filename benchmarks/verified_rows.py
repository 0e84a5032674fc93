"""Does PRTest ever find a failure where a verifier proved that there is none? Any failure is a bug.

All rows of the verified instances with verdict "robust", each at its own radius rounded down
to 1e-6: PRTest at tolerance .01 and significance .001 draws at least 744 times an image.

Run: python benchmarks/verified_rows.py [--n 175]
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import record
import tax_data
import torch

from torchattacks_ext import ProbRobustness, PRTest, Verdict
from torchattacks_ext.results.base.facts import versions


def measure(rows: list[dict[str, Any]], **options: Any) -> list[dict[str, Any]]:
    """One entry a (model, eps): rows, samples, failures, certified, worst margin."""
    groups: dict[tuple[str, float], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["model"], row["eps"]].append(row)
    found = []
    for (name, eps), group in sorted(groups.items()):
        images = torch.stack([row["image"] for row in group])
        labels = torch.tensor([row["label"] for row in group])
        ids = [f"{row['dataset']}-{row['row']}" for row in group]
        test = PRTest(tax_data.model(name), eps=eps, **options)
        result: ProbRobustness = test.measure(images, labels, ids=ids)
        found.append(
            {
                "model": name,
                "eps": eps,
                "rows": len(group),
                "samples": int(result.n_samples.sum()),
                "failures": int(result.n_failures.sum()),
                "certified": result.count(Verdict.ROBUST),
                "misclassified": result.count(Verdict.MISCLASSIFIED),
                "worst_margin": float(result.worst_margin.min()),
                "forward_row_passes": result.cost.forward,
            }
        )
    return found


def main() -> None:
    """Measure all rows and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=175, help="rows, 175 are all")
    parser.add_argument(
        "--out", type=Path, default=record.RESULTS / "verified_rows.json"
    )
    args = parser.parse_args()
    rows = tax_data.verified_rows("robust")[: args.n]
    started = time.perf_counter()
    found = measure(rows, tolerance=0.01)
    total = {
        key: sum(entry[key] for entry in found)
        for key in ("rows", "samples", "failures", "certified", "misclassified")
    }
    record.write(
        args.out,
        {
            "question": "PRTest on rows that a verifier proved robust; any failure is a bug",
            "machine": record.machine() | {"threads": torch.get_num_threads()},
            "versions": versions(),
            "seconds": round(time.perf_counter() - started, 1),
            "total": total,
            "groups": found,
        },
    )


if __name__ == "__main__":
    main()
