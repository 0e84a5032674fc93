"""Does MSA break what a verifier falsified, and never what it proved?

All instances of VNN-COMP in the data folder, each at its own radius rounded down to 1e-6, by
version "standard" on the model itself. A proved row that is broken would be a bug of ours; a
falsified row that is not shows a weak attack. Resumable: a finished model is kept.

Run: python benchmarks/msa_truth.py [--device cuda] [--only robust]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import record
import tax_data
import torch

from torchattacks_ext.attacks.msa.msa import MSA
from torchattacks_ext.models.meter import Meter
from torchattacks_ext.results.base.facts import versions

VERDICTS = ("robust", "falsified", "unknown")


def attack_rows(name: str, rows: list[dict[str, Any]], device: str) -> dict[str, Any]:
    """Which rows of one model are broken, and what broke them first."""
    model = tax_data.model(name).to(device)
    images = torch.stack([row["image"] for row in rows]).to(device)
    labels = torch.tensor([row["label"] for row in rows], device=device)
    eps = torch.tensor([row["eps"] for row in rows], device=device)
    ids = torch.tensor([row["row"] for row in rows], device=device)
    attack, meter = MSA(model, eps=float(eps.max())), Meter()
    attack.set_model(model, meter)
    started = time.perf_counter()
    ledger = attack.attack_ledger(images, labels, ids, eps)
    broken = ledger.breaker >= 0
    far = torch.as_tensor(ledger.lengths()) <= eps.cpu().double() * (1 + 1e-6)
    counts: dict[str, Any] = {}
    for verdict in VERDICTS:
        own = [i for i, row in enumerate(rows) if row["verdict"] == verdict]
        counts[verdict] = {
            "rows": len(own),
            "right": int(ledger.right[own].sum()),
            "broken": int(broken[own].sum()),
        }
    names = [ledger.sources[i] if i >= 0 else "" for i in ledger.breaker.tolist()]
    return {
        "verdicts": counts,
        "inside": bool(far.all()),
        "first_breakers": {s: names.count(s) for s in sorted(set(names)) if s},
        "falsified_left": [
            row["row"]
            for i, row in enumerate(rows)
            if row["verdict"] == "falsified" and ledger.right[i] and not broken[i]
        ],
        "forward": meter.forward,
        "backward": meter.backward,
        "seconds": round(time.perf_counter() - started, 1),
    }


def grouped(limit: dict[str, int] | None = None) -> dict[str, list[dict[str, Any]]]:
    """The rows of each model; limit: the most rows of a verdict."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for verdict in VERDICTS:
        rows = tax_data.verified_rows(verdict)
        for row in rows[: (limit or {}).get(verdict, len(rows))]:
            found[row["model"]].append(row | {"verdict": verdict})
    return dict(found)


def total(cases: dict[str, Any]) -> dict[str, Any]:
    """Sums over the models."""
    return {
        verdict: {
            key: sum(case["verdicts"][verdict][key] for case in cases.values())
            for key in ("rows", "right", "broken")
        }
        for verdict in VERDICTS
    }


def main() -> None:
    """Attack all rows, model by model, and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--kept", type=Path, default=Path("msa_truth_parts"))
    parser.add_argument("--out", type=Path, default=record.RESULTS / "msa_truth.json")
    args = parser.parse_args()
    cases = {}
    for name, rows in grouped().items():
        path = args.kept / f"{name}.json"
        if not path.is_file():
            args.kept.mkdir(parents=True, exist_ok=True)
            record.write(path, attack_rows(name, rows, args.device))
        cases[name] = json.loads(path.read_text(encoding="utf-8"))
        sys.stdout.write(f"{name}: {cases[name]['verdicts']}\n")
        sys.stdout.flush()
    device = "cpu" if args.device == "cpu" else torch.cuda.get_device_name()
    record.write(
        args.out,
        {
            "question": "MSA (standard) on rows with a formal verdict, each at its own radius",
            "machine": record.machine() | {"device": device},
            "versions": versions(),
            "total": total(cases),
            "cases": cases,
        },
    )


if __name__ == "__main__":
    main()
