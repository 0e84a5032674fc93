"""Does any attack contradict a certificate, and how near do attacks come to the radii?

The nets of certify_nets.py, three certifiers on three data sets, audited by DeepFool, CW, PGDL2
and MSA in L2 and by random points of each ball. Of `Ellips` the victim is the net: no change inside
a radius is allowed. Of `RandomizedSmoothing` and `SmoothedEllips` it is the smoothed classifier:
attacks climb the mean of 8 noisy copies, `predict` with 10,000 draws judges, and the binomial
99.9 % quantile of the level is allowed. Two counts beside it show that the audit could fail:

* `planted`: radii multiplied by 1.5, attacked by DeepFool;
* `base_net`: images of which DeepFool changes the answer of the *net without noise* inside a
  smoothed radius, which contradicts nothing and is in no audit.

Run: TAX_DATA=... python benchmarks/certify_audit.py --folder /tmp/certify_nets
     [--n 100] [--n-smoothed 6] [--only Ellips]
(one thread; weights lie in the folder, every finished cell in the record; a violation ends with 2)
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import certify_nets
import record
import torch
from torch import Tensor, nn

from torchattacks_ext.certify import audit
from torchattacks_ext.errors import ReliabilityWarning
from torchattacks_ext.results import Certificates
from torchattacks_ext.results.base.facts import versions

DRAWS = 10_000
"""Of a certificate, and of each judgement of a candidate."""
WRONG = 1.5
FAST = ["DeepFool"]


def cell(name: str, dataset: str, n: int, folder: Path) -> dict[str, Any]:
    """One certifier on the first n images of one data set."""
    began = time.process_time()
    smoothed = name != "Ellips"
    model = certify_nets.make(
        name, dataset, folder, **({"n": DRAWS} if smoothed else {})
    )
    images, labels = certify_nets.test_pixels(dataset, n)
    table: Certificates = model.certify(images, labels, ids=torch.arange(n))
    n_random = 2 if smoothed else 20
    told: dict[str, Any] = {"images": n, "n_random": n_random}
    told |= {"n_draws": DRAWS if smoothed else None}
    options: dict[str, Any] = {"n_random": n_random, "n_draws": DRAWS}
    whole = audit(model, images, labels, certificates=table, **options)
    told["audit"] = whole.to_dict()
    wrong = replace(table, radius=table.radius * WRONG)
    caught = audit(model, images, labels, certificates=wrong, attacks=FAST, n_random=0)
    told["planted"] = {
        "factor": WRONG,
        "sound": caught.sound,
        "changed_inside": len(caught.broken),
        "n": caught.n,
        "allowed": caught.allowed,
    }
    if smoothed:
        told["base_net"] = base_net(model, table, images, labels)
    return told | {"cpu_seconds": round(time.process_time() - began, 1)}


def base_net(model: Any, table: Certificates, images: Tensor, labels: Tensor) -> Any:
    """Changes of the net without noise within smoothed radii, of images that it answers alike."""
    net: nn.Module = model.model
    if name_of(model) == "SmoothedEllips":
        net = nn.Sequential(model.latents, model.head).eval()
    with torch.no_grad():
        alike = net(images).argmax(1) == table.label
    rows = (alike & (table.radius > 0)).nonzero().flatten()
    some = table.select(table.ids[rows])
    found = audit(
        net,
        images[rows],
        labels[rows],
        certificates=some,
        attacks=FAST,
        n_random=0,
    )
    return {"n": found.n, "changed_inside": len(found.broken)}


def name_of(model: Any) -> str:
    """The certifier's class."""
    return type(model).__name__


def study(
    n: int, n_smoothed: int, folder: Path, file: Path, only: Sequence[str]
) -> dict[str, Any]:
    """Every cell, written as it is finished."""
    data = {"norm": "L2", "cells": {}} | record.read(file)
    data |= {"versions": versions(), "machine": record.machine() | {"threads": 1}}
    for name in only:
        for dataset in certify_nets.DATASETS:
            key = f"{dataset}/{name}"
            size = n if name == "Ellips" else n_smoothed
            if data["cells"].get(key, {}).get("images") != size:
                data["cells"][key] = cell(name, dataset, size, folder)
                record.write(file, data)
            one = data["cells"][key]
            sys.stdout.write(
                f"{key}: sound {one['audit']['sound']}, {one['cpu_seconds']} CPU s\n"
            )
            sys.stdout.flush()
    return data


def main() -> int:
    """All cells; 2 where an audit is not sound or a planted wrong radius was not seen."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="of the weights")
    parser.add_argument("--n", type=int, default=100, help="images of Ellips")
    parser.add_argument("--n-smoothed", type=int, default=6)
    names = certify_nets.NAMES
    parser.add_argument("--only", nargs="*", choices=names, default=names)
    parser.add_argument(
        "--out", type=Path, default=record.RESULTS / "certify_audit.json"
    )
    told = parser.parse_args()
    torch.set_num_threads(1)
    told.folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        data = study(told.n, told.n_smoothed, told.folder, told.out, told.only)
    broken = [key for key, one in data["cells"].items() if not one["audit"]["sound"]]
    for key in broken:
        sys.stderr.write(f"{key}: {data['cells'][key]['audit']['flips']}\n")
    return 2 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
