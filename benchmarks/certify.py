"""What do three kinds of certificates give for the same images, and what do they cost?

For MNIST, PneumoniaMNIST and CIFAR-10 the nets of certify_nets.py certify the same 50 test images
in the L2 norm: `Ellips` (proved; one forward row-pass an image), `RandomizedSmoothing` and
`SmoothedEllips` (with confidence .999 an image; n0 = 100 and n = 100,000, or 10,000, noisy copies:
the defaults). A cell has clean accuracy (abstaining is not right), certified accuracy beyond each
radius with its exact 95 % interval, forward row-passes and seconds an image, and its radii.
`Ellips` is also run on all test images of the data folder. Cells "early" ask RandomizedSmoothing
for one radius alone (`eps=`): passes, and the decisions beside those of all n draws.

The kinds claim different things: proved of the net, or with confidence of the smoothed classifier.

Run: TAX_DATA=... python benchmarks/certify.py --folder /tmp/certify_nets [--n 50] [--draws 100000]
(one thread; weights and unfinished cells lie in the folder, finished cells in the record)
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import certify_nets
import record
import torch
from torch import Tensor

from torchattacks_ext.errors import ReliabilityWarning
from torchattacks_ext.results import Certificates
from torchattacks_ext.results.base.facts import versions

EPS = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)
ASKED = {"mnist": 0.5, "pneumoniamnist": 0.25, "cifar10": 0.25}
"""The one radius of the cells "early"."""
KINDS = (*certify_nets.NAMES, "early")
LATENT_SHARE = 10
"""SmoothedEllips draws a tenth of the copies."""
AT_ONCE = 5
"""Images after which an unfinished cell is kept."""


def certified(
    certifier: Any, images: Tensor, labels: Tensor, kept: Path, per_image: int
) -> tuple[Certificates, float]:
    """The whole table and its CPU seconds, going on from `kept` where a run was interrupted."""
    ids, spent, found = torch.arange(len(labels)), 0.0, None
    if not per_image:
        begun = time.process_time()
        table: Certificates = certifier.certify(images, labels, ids=ids)
        return table, time.process_time() - begun
    if kept.is_file():
        told = record.read(kept)
        found, spent = Certificates.from_dict(told["table"]), told["cpu_seconds"]
    while found is None or not bool(found.answered.all()):
        begun = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReliabilityWarning)  # the budget is meant
            found = certifier.certify(
                images, labels, ids=ids, resume=found, max_queries=AT_ONCE * per_image
            )
        spent += time.process_time() - begun
        record.write(kept, {"table": found.to_dict(), "cpu_seconds": spent})
    return found, spent


def told(found: Certificates, seconds: float) -> dict[str, Any]:
    """What the record says of a table."""
    n = len(found)
    return {
        "n": n,
        "tier": found.tier,
        "clean": found.clean_accuracy,
        "abstained": int((found.abstain == 1).sum()),
        "certified": {f"{p.eps:g}": list(p[1:]) for p in found.curve(EPS)},
        "median_radius": float(found.radius[found.clean_correct == 1].median()),
        "row_passes_an_image": found.cost.forward / n,
        "cpu_seconds_an_image": seconds / n,
    }


def signed(found: Certificates) -> list[float | None]:
    """Radii rounded down, -1 where the answer is not right, None where nothing bounds them."""
    right = (found.clean_correct == 1).tolist()
    return [
        (None if math.isinf(r) else math.floor(r * 1e4) / 1e4) if ok else -1
        for r, ok in zip(found.radius.tolist(), right)
    ]


def cell(name: str, dataset: str, n: int, draws: int, folder: Path) -> dict[str, Any]:
    """One certifier on one data set."""
    images, labels = certify_nets.test_pixels(dataset, n)
    if name == "Ellips":
        model = certify_nets.ellips(dataset, folder)
        every = certified(model, *certify_nets.test_pixels(dataset), folder, 0)
        found, seconds = certified(model, images, labels, folder, 0)
        more = {"L": float(found.lipschitz[0]), "all_test_images": told(*every)}
        return told(found, seconds) | more | {"radii": signed(found)}
    draws = draws if name == "RandomizedSmoothing" else -(-draws // LATENT_SHARE)
    model = certify_nets.make(name, dataset, folder, n=draws)
    kept = folder / f"{name}_{dataset}_{n}_{draws}.json"
    found, seconds = certified(model, images, labels, kept, draws + model.config.n0)
    more = {"sigma": model.config.sigma, "draws": draws, "n0": model.config.n0}
    more |= {"significance": model.config.significance, "radii": signed(found)}
    return told(found, seconds) | more


def early(dataset: str, n: int, draws: int, folder: Path) -> dict[str, Any]:
    """One radius by early stopping, beside the decisions of all draws."""
    images, labels = certify_nets.test_pixels(dataset, n)
    eps, ids = ASKED[dataset], torch.arange(n)
    model = certify_nets.smoothing(dataset, folder, n=draws, eps=eps)
    begun = time.process_time()
    found = model.certify(images, labels, ids=ids)
    seconds = time.process_time() - begun
    whole = certify_nets.smoothing(dataset, folder, n=draws)
    kept = folder / f"RandomizedSmoothing_{dataset}_{n}_{draws}.json"
    full, _ = certified(whole, images, labels, kept, draws + whole.config.n0)
    a, b = found.certified(eps), full.certified(eps)
    return {
        "n": n,
        "eps": eps,
        "give_up": model.config.give_up,
        "row_passes_an_image": found.cost.forward / n,
        "of_all_draws": full.cost.forward / n,
        "times_fewer": full.cost.forward / found.cost.forward,
        "most_draws": int(found.n_samples.max()),
        "cpu_seconds_an_image": seconds / n,
        "certified": int(a.sum()),
        "certified_by_all_draws": int(b.sum()),
        "only_early": int((a & ~b).sum()),
        "only_all_draws": int((b & ~a).sum()),
    }


def study(
    n: int, draws: int, folder: Path, file: Path, only: Sequence[str]
) -> dict[str, Any]:
    """Every cell of the kinds in `only`, written as it is finished."""
    data = record.read(file)
    if (data.get("n"), data.get("draws")) != (n, draws):
        data = {"n": n, "draws": draws, "eps": EPS, "norm": "L2", "cells": {}}
    data |= {"versions": versions(), "machine": record.machine() | {"threads": 1}}
    for name in only:
        for dataset in certify_nets.DATASETS:
            key = f"{dataset}/{name}"
            if key not in data["cells"]:
                said = (
                    early(dataset, n, draws, folder)
                    if name == "early"
                    else cell(name, dataset, n, draws, folder)
                )
                data["cells"][key] = said
                record.write(file, data)
            print(key, json.dumps(data["cells"][key]), flush=True)
    return data


def main() -> None:
    """All cells."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="of the weights")
    parser.add_argument("--n", type=int, default=50)
    parser.add_argument("--draws", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=record.RESULTS / "certify.json")
    parser.add_argument("--only", nargs="*", choices=KINDS, default=KINDS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.folder.mkdir(parents=True, exist_ok=True)
    study(asked.n, asked.draws, asked.folder, asked.out, asked.only)


if __name__ == "__main__":
    main()
