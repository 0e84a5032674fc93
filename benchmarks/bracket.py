"""Do an attack, PRTest and formal verifiers agree on what is robust? One crossing is an error.

All 364 rows of the verified instances, each at its own radius rounded down to 1e-6: the verdict of
the verifiers as certificates ("claimed by another tool", closed balls of the recorded radius), what
MSA leaves (own engine, version "fast"), and PRTest at tolerance .01 beside them. Rows of one model
and radius make one bracket; the shares of a model are those of its brackets together. An image that
is certified and broken stops the run with exit code 2, both sides named; what was finished is kept.

`--plant` calls a falsified row of the last model robust, to see that it is caught.

Run: TAX_DATA=... python benchmarks/bracket.py [--only mnist_mlp_set] [--plant]
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import record
import tax_data
import torch
from torch import nn

from torchattacks_ext import MSA, PRTest, Verdict
from torchattacks_ext.certify import bracket, verdict_certificates
from torchattacks_ext.errors import ReliabilityWarning, StateError
from torchattacks_ext.results.base.facts import versions

VERDICTS = ("robust", "falsified", "unknown")
SUMS = ("n", "certified", "left", "open", "broken", "falsified", "falsified_broken")
SUMS = (*SUMS, "prtest_robust", "prtest_robust_of_broken", "cpu_seconds")


def grouped() -> dict[str, dict[float, list[dict[str, Any]]]]:
    """Rows by model and radius, each with its verdict."""
    found: dict[str, Any] = defaultdict(lambda: defaultdict(list))
    for verdict in VERDICTS:
        for row in tax_data.verified_rows(verdict):
            found[row["model"]][row["eps"]].append(row | {"verdict": verdict})
    return found


def one(model: nn.Module, eps: float, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The bracket of some rows at one radius. Raises StateError at a crossing."""
    began = time.process_time()
    images = torch.stack([row["image"] for row in rows])
    labels = torch.tensor([row["label"] for row in rows])
    ids = [f"{row['dataset']}-{row['row']}" for row in rows]
    said = [
        {
            "id": name,
            "verdict": row["verdict"],
            "proved": row["verdict"] == "robust",
            "verifier": "VNN-COMP verifiers",
        }
        for name, row in zip(ids, rows)
    ]
    proved = torch.tensor([row["proved"] for row in rows], dtype=torch.float64)
    claim = verdict_certificates(said, labels, proved, norm="Linf", ids=ids)
    attack = MSA(model, eps=eps, version="fast", engine="own")
    left = attack.measure(images, labels, ids=ids)
    test = PRTest(model, eps=eps, tolerance=0.01).measure(images, labels, ids=ids)
    found = bracket([claim], [left], eps=eps, norm="Linf", tests=[test])
    broken = left.verdict == int(Verdict.NOT_ROBUST)
    falsified = torch.tensor([row["verdict"] == "falsified" for row in rows])
    safe = test.verdict == int(Verdict.ROBUST)
    n = len(rows)
    return {
        "eps": eps,
        "n": n,
        "certified": round(found.at_least * n),
        "left": round(found.at_most * n),
        "open": found.open,
        "broken": int(broken.sum()),
        "falsified": int(falsified.sum()),
        "falsified_broken": int((falsified & broken).sum()),
        "prtest_robust": int(safe.sum()),
        "prtest_robust_of_broken": int((safe & broken).sum()),
        "forward": left.cost.forward + test.cost.forward,
        "backward": left.cost.backward,
        "cpu_seconds": round(time.process_time() - began, 2),
    }


def planted(groups: dict[str, Any]) -> None:
    """Call a falsified row of the last model that has one robust."""
    for per_eps in reversed(list(groups.values())):
        for row in (row for rows in per_eps.values() for row in rows):
            if row["verdict"] == "falsified":
                row["verdict"] = "robust"
                return


def study(
    groups: dict[str, Any], file: Path, options: dict[str, Any]
) -> dict[str, Any]:
    """Every model, written as it is finished."""
    data = record.read(file)
    if data.get("options") != options:
        data = {"options": options, "models": {}}
    data |= {
        "question": "certified <= robust <= attacked on rows with a formal verdict, Linf",
        "machine": record.machine() | {"threads": torch.get_num_threads()},
        "versions": versions(),
    }
    for name, per_eps in groups.items():
        if name not in data["models"]:
            model = tax_data.model(name)
            parts = [one(model, eps, rows) for eps, rows in sorted(per_eps.items())]
            data["models"][name] = {
                "eps": [parts[0]["eps"], parts[-1]["eps"]],
                "brackets": len(parts),
            } | _sums(parts)
            record.write(file, data)
        told = data["models"][name]
        sys.stdout.write(f"{name}: {told}\n")
        sys.stdout.flush()
    data["total"] = _sums(list(data["models"].values())) | {"crossings": 0}
    record.write(file, data)
    return data


def _sums(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    keys = (*SUMS, "forward", "backward")
    return {key: round(sum(part[key] for part in parts), 2) for key in keys}


def main(argv: Sequence[str] | None = None) -> int:
    """All models; 2 at a crossing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", help="names of models")
    parser.add_argument("--plant", action="store_true")
    parser.add_argument("--out", type=Path, default=record.RESULTS / "bracket.json")
    told = parser.parse_args(argv)
    torch.set_num_threads(1)
    groups = grouped()
    if told.only:
        groups = {name: groups[name] for name in told.only}
    if told.plant:
        planted(groups)
    options = {"models": sorted(groups), "planted": told.plant}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReliabilityWarning)  # gates of "fast"
            study(groups, told.out, options)
    except StateError as error:
        sys.stderr.write(f"crossing: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
