"""Is a decision the same however the run was cut? Digests of shards and of another batch size.

Each stage whose unit is the row, and attacks of torchattacks in groups, on three nets: the whole
run, two shards merged, and another batch size. Equal digests mean equal decisions of every row;
rows where the stage itself says that a decision was within float noise (`n_close`) are counted
beside it, and rows that differ are named.

Run: python benchmarks/same_digests.py --state /tmp/three --n 60
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import record
import torch
from own_vs_autoattack import radius
from profile_three import NETS, victim

from torchattacks_ext import ReliabilityWarning, evaluate
from torchattacks_ext.evaluation import merge
from torchattacks_ext.numerics.ids import to_hex
from torchattacks_ext.results.base.facts import versions
from torchattacks_ext.results.base.result import Result
from torchattacks_ext.results.evaluation import EvaluationReport

OUT = record.RESULTS / "same_digests.json"
STAGES: list[Any] = [
    "clean",
    {"name": "prtest", "n_max": 600},
    "fim",
    {"name": "msa", "version": "quick"},
    {"name": "msa", "label": "own", "version": "fast", "engine": "own"},
    {"name": "stress", "severities": [1, 3]},
    "FGSM",
    {"name": "PGD", "steps": 5},
    {"name": "APGD", "steps": 5},
    {"name": "Square", "n_queries": 50},
    "GN",
]
GROUP, BATCH, OTHER = 15, 32, 11


def case(name: str, n: int, folder: Path) -> dict[str, Any]:
    """All stages of one net, three ways."""
    net, images, labels = victim(name, n, folder)
    plan = {"eps": radius(NETS[name][0]), "group_size": GROUP, "stages": STAGES}
    data, started = (images, labels), time.process_time()

    def run(size: int, **more: Any) -> EvaluationReport:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReliabilityWarning)
            return evaluate(net, data, plan | {"batch_size": size}, **more)

    whole = run(BATCH)
    others = {
        "shards": merge([run(BATCH, shard=f"{i}/2") for i in (1, 2)]),
        "batches": run(OTHER),
    }
    stages = {}
    for stage in whole.stages:
        if stage.result is None:
            stages[stage.name] = stage.missing()
            continue
        told: dict[str, Any] = {"unit": stage.settings.get("unit")}
        told["close"] = close_rows(stage.result)
        for way, report in others.items():
            other = report[stage.name].result
            told[way] = other is not None and other.digest() == stage.result.digest()
            if other is not None and not told[way]:
                told[f"{way}_differ"] = differences(stage.result, other)
        stages[stage.name] = told
    seconds = round(time.process_time() - started, 1)
    return {"model": name, "n": n, "cpu_seconds": seconds, "stages": stages}


def close_rows(result: Result) -> int:
    """Rows where a draw was within float noise of the other decision."""
    close = getattr(result, "n_close", None)
    return 0 if close is None else int((torch.as_tensor(close) > 0).sum())


def differences(one: Result, two: Result) -> dict[str, list[str]]:
    """The ids of the rows that differ, by column that decides."""
    found = {}
    ids, close = to_hex(one.ids), getattr(one, "n_close", None)
    for name in (spec.name for spec in type(one).columns() if spec.kind == "decision"):
        a, b = getattr(one, name), getattr(two, name)
        if a.shape != b.shape:
            found[name] = ["another shape"]
            continue
        odd = (a != b).reshape(len(ids), -1).any(1)
        if bool(odd.any()):
            rows = odd.nonzero().flatten().tolist()
            noted = close is not None
            found[name] = [
                ids[row] + (" close" if noted and int(close[row]) > 0 else "")
                for row in rows
            ]
    if one.settings != two.settings:
        found["settings"] = sorted(
            key
            for key in {**one.settings, **two.settings}
            if one.settings.get(key) != two.settings.get(key)
        )
    return found


def main() -> None:
    """Run each net and write the record after it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--state", type=Path, required=True, help="folder of weights")
    parser.add_argument("--n", type=int, default=60)
    parser.add_argument("--nets", nargs="*", default=list(NETS), choices=list(NETS))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for name in asked.nets:
        found = record.read(OUT)
        cases = {one["model"]: one for one in found.get("cases", [])}
        cases[name] = case(name, asked.n, asked.state)
        facts = {"question": (__doc__ or "").splitlines()[0], "versions": versions()}
        facts |= {"machine": record.machine() | {"threads": 1}}
        facts |= {"group_size": GROUP, "batch_sizes": [BATCH, OTHER]}
        record.write(OUT, facts | {"cases": list(cases.values())})
        sys.stdout.write(json.dumps(cases[name], indent=1) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
