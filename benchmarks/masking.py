"""Does a diagnosis find masked gradients, and only those? 30 trained nets and eight kinds of masks.

26 nets should show none, four are known to trouble attacks: two certified ones beyond the radius
of their training, where Square finds more than gradients; one of saturated cross-entropy; and a PGD
net that may go either way. Eight kinds of masks stand before two adversarially trained nets each.
The radius of a net is the largest tabulated one (models.json) at which a quick PGD leaves half of
the clean accuracy, or the smallest. Each case again in batches of 10 and in another order.

Resumable: finished runs are kept.

Run: python benchmarks/masking.py [--n 100] [--variants base,ten,shuffled] [--only NAME] [--no-runs]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import masking_defences
import record
import tax_data
import torch
from torch import Tensor, nn

import torchattacks_ext as tax
from torchattacks_ext.results.base.facts import versions

KNOWN = {
    "mnist_mmr_universal": "black_box_beats_gradient",
    "mnist_wide_kw": "black_box_beats_gradient",
    "mnist_mlp_point": "saturated_loss",
    "mnist_fast_pgd": "",
}
"""Nets that are no negatives, and the cause that is expected; "": either way."""
SLOW = (
    "cifar10_resnet20_std",
    "cifar10_resnet56_std",
    "cifar10_allconv8_std",
    "cifar10_branchdense_std",
    "mnist_trades",
)
"""Nets of which a forward pass takes long (most above .4 ms a row): 24 images."""
BASES = ("cifar10_cnna_adv", "mnist_cnna_adv")
VARIANTS: dict[str, dict[str, Any]] = {
    "base": {"batch_size": 100},
    "ten": {"batch_size": 10},
    "shuffled": {"batch_size": 100, "order": 1},
}


def facts() -> dict[str, dict[str, Any]]:
    """What the data folder says of each net."""
    path = tax_data.folder() / "models.json"
    found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def radius(info: dict[str, Any]) -> float:
    """The largest tabulated radius at which a quick PGD leaves half of the clean accuracy."""
    quick = info["quick_pgd_first200"]
    shares = {
        key.removeprefix("linf_"): value
        for key, value in quick.items()
        if key.startswith("linf_")
    }
    radii = {_number(key): value for key, value in shares.items()}
    held = [eps for eps, left in radii.items() if left >= quick["clean"] / 2]
    return max(held, default=min(radii))


def _number(text: str) -> float:
    above, _, below = text.partition("/")
    return float(above) / float(below or 1)


def cases() -> Iterator[tuple[str, str, str, Callable[[], nn.Module], float, int]]:
    """(case, group, dataset, model, eps, most images)."""
    known = facts()
    for name in sorted(known, key=lambda name: (name in SLOW, name not in KNOWN)):
        info = known[name]
        group = "known" if name in KNOWN else "negative"
        most = 24 if name in SLOW else 10_000
        yield name, group, info["dataset"], _loader(name), radius(info), most
    for kind in masking_defences.KINDS:
        for name in BASES:
            info = known[name]

            def build(kind: str = kind, name: str = name) -> nn.Module:
                return masking_defences.build(kind, name)

            case = f"{kind}: {name}"
            yield case, "positive", info["dataset"], build, radius(info), 10_000


def _loader(name: str) -> Callable[[], nn.Module]:
    return lambda: tax_data.model(name)


def measure(
    model: nn.Module, images: Tensor, labels: Tensor, eps: float, batch_size: int
) -> dict[str, Any]:
    """The diagnosis of one case, with its cost."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = tax.diagnose(model, images, labels, eps, batch_size=batch_size)
    return {
        "seconds": round(time.perf_counter() - wall, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "diagnosis": found.to_dict(),
    }


def read(path: Path) -> dict[str, Any]:
    """A kept run, its checks made anew of the columns."""
    row = record.read(path)
    found = tax.Diagnosis.from_dict(row.pop("diagnosis"))
    return row | {
        "masked": found.masked,
        "causes": list(found.causes),
        "clean_accuracy": found.summary()["clean_accuracy"],
        "forward": found.cost.forward,
        "backward": found.cost.backward,
        "checks": [_plain(check) for check in found.checks if check.asked],
    }


def _plain(check: tax.Check) -> dict[str, Any]:
    whole = check.to_dict()
    return {key: whole[key] for key in ("name", "value", "threshold", "flag")}


def run(args: argparse.Namespace) -> list[dict[str, Any]]:
    """All runs that are kept, after those that were not have been made."""
    rows = []
    for variant in args.variants.split(","):
        options = VARIANTS[variant]
        for name, group, dataset, build, eps, most in cases():
            if args.only not in name:
                continue
            n = min(args.n, most)
            part = f"{name}-{variant}-{n}.json".replace(" ", "_").replace(":", "")
            path = args.kept / part
            if not path.is_file() and args.no_runs:
                continue
            if not path.is_file():
                images, labels = tax_data.test_images(dataset, n)
                if "order" in options:
                    order = torch.Generator().manual_seed(options["order"])
                    turn = torch.randperm(n, generator=order)
                    images, labels = images[turn], labels[turn]
                case = {"case": name, "group": group, "variant": variant}
                case |= {"eps": eps, "n": n}
                size = options["batch_size"]
                record.write(path, case | measure(build(), images, labels, eps, size))
            rows.append(read(path))
            last = rows[-1]
            said = {k: last[k] for k in ("case", "variant", "causes", "cpu_seconds")}
            sys.stdout.write(f"{said}\n")
            sys.stdout.flush()
    return rows


def score(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts against what is expected, by the runs of variant "base"."""
    base = {row["case"]: row for row in rows if row["variant"] == "base"}
    negatives = [row for row in base.values() if row["group"] == "negative"]
    wrong = [row["case"] for row in negatives if row["masked"]]
    known = {
        name: cause in base[name]["causes"]
        for name, cause in KNOWN.items()
        if cause and name in base
    }
    kinds = {}
    for kind, causes in masking_defences.KINDS.items():
        mine = [row for row in base.values() if row["case"].startswith(f"{kind}: ")]
        kinds[kind] = {
            "nets": len(mine),
            "found": sum(row["masked"] for row in mine),
            "named": sum(bool(set(causes) & set(row["causes"])) for row in mine),
        }
    moved = [
        f"{row['case']} ({row['variant']})"
        for row in rows
        if row["case"] in base and row["masked"] != base[row["case"]]["masked"]
    ]
    other = [
        f"{row['case']} ({row['variant']}): {sorted(row['causes'])}"
        for row in rows
        if row["case"] in base
        and set(row["causes"]) != set(base[row["case"]]["causes"])
    ]
    return {
        "negatives": len(negatives),
        "masked_negatives": wrong,
        "known": known,
        "kinds": kinds,
        "verdict_moved": moved,
        "causes_moved": other,
        "cpu_seconds": math.fsum(row["cpu_seconds"] for row in rows),
    }


def main() -> None:
    """Run what is not kept yet, and write a record of all that is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--only", default="", help="cases with this in their name")
    parser.add_argument("--no-runs", action="store_true", help="of kept ones only")
    parser.add_argument("--kept", type=Path, default=Path("masking_parts"))
    parser.add_argument("--out", type=Path, default=record.RESULTS / "masking.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = run(args)
    record.write(
        args.out,
        {
            "question": "masked gradients: what a diagnosis says of nets with and without them",
            "machine": record.machine(),
            "versions": versions(),
            "n": args.n,
            "score": score(rows),
            "rows": [row if row["variant"] == "base" else _short(row) for row in rows],
        },
    )


def _short(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "checks"}


if __name__ == "__main__":
    main()
