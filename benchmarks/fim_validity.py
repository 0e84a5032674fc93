"""Does a low lambda go with robustness, and does it say more than p_max or a margin radius?

Within a model: Spearman's coefficient of the scores of its images with the smallest L2 perturbation
that FAB and DeepFool of torchattacks find. Across models: of the scores of a data set with robust
accuracy (APGD-CE, then APGD-T, through MSA), on all, defended and standard nets. Everything is
turned so that a good score is near 1. Intervals: bootstrap over images, or over models.

Resumable: finished parts are kept, and where a part is missing one of fewer images serves.

Run: python benchmarks/fim_validity.py [--n 200] [--seconds 3600] [--only scores]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fim_baselines
import record
import tax_data
import torch

from torchattacks_ext.results.base.facts import versions
from torchattacks_ext.results.correlation import correlate_columns

WITHIN = (
    "cifar10_resnet20_std",
    "cifar10_wide_std",
    "mnist_convsmall_std",
    "mnist_mlp_point",
    "cifar10_resnet2b_at2",
    "cifar10_wide_kw",
    "cifar10_vit_pgd",
    "mnist_trades",
)
"""Four standard nets, then four defended ones."""

PARTS = {
    "scores": fim_baselines.scores,
    "radius": fim_baselines.radius,
    "robust": fim_baselines.robust,
}


def models() -> dict[str, dict[str, Any]]:
    """Facts of every classification model of the data folder, small ones first."""
    place = tax_data.folder() / "models.json"
    found = json.loads(place.read_text(encoding="utf-8")).items()
    ordered = sorted(found, key=lambda item: item[1]["params"])
    return {
        name: facts for name, facts in ordered if facts["dataset"] in fim_baselines.EPS
    }


def is_defended(facts: dict[str, Any]) -> bool:
    """Trained to be robust, by whatever means."""
    return not facts["training"].startswith("standard")


def jobs() -> Iterator[tuple[str, str]]:
    """(part, model), cheap parts first."""
    for part in PARTS:
        yield from ((part, name) for name in (WITHIN if part == "radius" else models()))


def path_of(kept: Path, part: str, name: str, n: int) -> Path:
    """Where a part is kept."""
    return kept / f"{part}-{name}-{n}.json"


def is_wanted(only: list[str], part: str, name: str) -> bool:
    """Whether the parts and the models that are asked for, if any are, hold these two."""
    parts, names = set(only) & set(PARTS), set(only) - set(PARTS)
    return part in (parts or [part]) and name in (names or [name])


def run(args: argparse.Namespace) -> None:
    """Run what is not kept yet, until the time is over."""
    started = time.perf_counter()
    for part, name in jobs():
        path = path_of(args.kept, part, name, args.n)
        if path.is_file() or not is_wanted(args.only, part, name):
            continue
        if time.perf_counter() - started > args.seconds:
            return
        net = tax_data.model(name).requires_grad_(False)
        begun = time.perf_counter()
        found = PARTS[part](net, models()[name]["dataset"], args.n)
        found["seconds"] = round(time.perf_counter() - begun, 1)
        record.write(path, found)
        sys.stdout.write(f"{part} {name} {args.n}: {found['seconds']} s\n")
        sys.stdout.flush()


def sizes(kept: Path, part: str, name: str, n: int) -> list[int]:
    """The numbers of images that a part is kept for, at most n."""
    found = kept.glob(f"{part}-{name}-*.json")
    return [size for path in found if (size := int(path.stem.split("-")[-1])) <= n]


def largest(kept: Path, n: int) -> dict[tuple[str, str], dict[str, Any]]:
    """Of each part and model what is kept of most images; empty where nothing is."""
    found = {}
    for part, name in jobs():
        size = max(sizes(kept, part, name, n), default=n)
        found[part, name] = record.read(path_of(kept, part, name, size))
    return found


def common(kept: Path, n: int, part: str, dataset: str) -> dict[str, dict[str, Any]]:
    """A part of all models of a data set, of one number of images.

    The number that most models have, and of those the largest.
    """
    names = [name for name, facts in models().items() if facts["dataset"] == dataset]
    counts = Counter(size for name in names for size in sizes(kept, part, name, n))
    size = max(counts, key=lambda size: (counts[size], size), default=n)
    return {name: record.read(path_of(kept, part, name, size)) for name in names}


def rows_of(table: Any) -> list[dict[str, Any]]:
    """The table in JSON types: None for what is no number."""
    names = ("predictor", "subset", "value", "low", "high", "n", "reason")
    found = [{name: getattr(row, name) for name in names} for row in table.rows]
    return [{name: finite(value) for name, value in row.items()} for row in found]


def finite(value: Any) -> Any:
    """None in the place of a number that JSON does not know."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def within(name: str, score: dict[str, Any], radius: dict[str, Any]) -> dict[str, Any]:
    """How each score orders the images of one model."""
    n = min(score["n"], radius["n"])

    def column(part: dict[str, Any], key: str) -> torch.Tensor:
        return torch.tensor(part[key][:n], dtype=torch.float64)

    least = column(radius, "radius")
    predictors = {
        "-log lambda": -column(score, "log_lam"),
        "-log lambda, calibrated": -column(score, "calibrated"),
        "p_max": -column(score, "log_rest"),  # a strictly rising function of p_max
        "margin_radius": column(score, "margin_radius"),
    }
    outcome = torch.where(least.isinf(), torch.nan, least)
    table = correlate_columns(predictors, outcome, coefficients=("spearman",))
    return {
        "model": name,
        "defended": is_defended(models()[name]),
        "n": n,
        "wrong": int(least.isnan().sum()),
        "unbroken": int(least.isinf().sum()),
        "median_radius": float(least[least.isfinite()].median()),
        "temperature": score["temperature"],
        "rows": rows_of(table),
    }


def values_of(score: dict[str, Any]) -> dict[str, float]:
    """The scores of one model, each turned so that higher is more robust."""
    lam, calibrated, margin = (
        torch.tensor(score[key], dtype=torch.float64)
        for key in ("log_lam", "calibrated", "margin_radius")
    )
    return {
        "-R_norm (mean lambda)": -float(lam.exp().mean()),
        "R_spec (mean 1 / lambda)": float((-lam).exp().mean()),
        "-median log lambda": -float(lam.quantile(0.5)),
        "-median log lambda, calibrated": -float(calibrated.quantile(0.5)),
        "-R_norm, calibrated": -float(calibrated.exp().mean()),
        "median margin_radius": float(margin.quantile(0.5)),
        "mean margin_radius": float(margin.mean()),
        "mean p_max": score["mean_p_max"],
        "clean accuracy": score["clean_accuracy"],
        "RDI": score["rdi"],
        "GREAT": score["great"],
    }


def across(dataset: str, nets: list[dict[str, Any]]) -> dict[str, Any]:
    """How each score orders the models of one data set; nets: those with all parts."""
    outcome = torch.tensor([case["robust_accuracy"] for case in nets])
    defended = torch.tensor([case["defended"] for case in nets])
    predictors = {
        key: torch.tensor([case["values"][key] for case in nets], dtype=torch.float64)
        for key in nets[0]["values"]
    }
    subsets = {"defended": defended, "standard": ~defended}
    table = correlate_columns(predictors, outcome, subsets, coefficients=("spearman",))
    return {
        "dataset": dataset,
        "eps": fim_baselines.EPS[dataset],
        "n_models": len(nets),
        "models": [
            case | {"values": {k: finite(v) for k, v in case["values"].items()}}
            for case in nets
        ],
        "rows": rows_of(table),
    }


def nets_of(kept: Path, n: int, dataset: str) -> list[dict[str, Any]]:
    """The models of a data set that have scores and a robust accuracy."""
    outcomes, found = common(kept, n, "robust", dataset), []
    for name, score in common(kept, n, "scores", dataset).items():
        outcome = outcomes[name]
        if score and outcome:
            case = {"model": name, "defended": is_defended(models()[name])}
            case |= {"n_scores": score["n"], "n_robust": outcome["n"]}
            case |= {"robust_accuracy": outcome["robust_accuracy"]}
            case |= {"temperature": score["temperature"], "values": values_of(score)}
            found.append(case)
    return found


def studies(args: argparse.Namespace) -> dict[str, Any]:
    """Both tables of what is kept, and the names of what is missing."""
    parts = largest(args.kept, args.n)
    inside = [
        within(name, parts["scores", name], parts["radius", name])
        for name in WITHIN
        if parts["scores", name] and parts["radius", name]
    ]
    between = {name: nets_of(args.kept, args.n, name) for name in fim_baselines.EPS}
    return {
        "within": inside,
        "across": [across(name, nets) for name, nets in between.items() if nets],
        "missing": [" ".join(job) for job, found in parts.items() if not found],
        "fewer_images": [
            f"{' '.join(job)}: {found['n']}"
            for job, found in parts.items()
            if found and found["n"] < args.n
        ],
        "seconds": round(sum(found.get("seconds", 0) for found in parts.values()), 1),
    }


def main() -> None:
    """Run what is not kept yet, and write a record of all that is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--n", type=int, default=200, help="images a model, at most 517"
    )
    parser.add_argument("--seconds", type=float, default=float("inf"), help="then stop")
    parser.add_argument("--only", nargs="*", default=[], help="parts and models")
    parser.add_argument("--kept", type=Path, default=Path("fim_validity_parts"))
    parser.add_argument(
        "--out", type=Path, default=record.RESULTS / "fim_validity.json"
    )
    args = parser.parse_args()
    if args.n > fim_baselines.N_IMAGES - fim_baselines.N_OTHERS:
        raise SystemExit("--n is at most 517: later images are for the temperature")
    run(args)
    facts = {
        "question": "does lambda order images and models by robustness?",
        "machine": record.machine() | {"device": "cpu"},
        "versions": versions(),
        "n": args.n,
        "n_forward_scores": fim_baselines.N_IMAGES - fim_baselines.N_OTHERS,
        "n_temperature": fim_baselines.N_OTHERS,
        "plan": [spec.facts() for spec in fim_baselines.PLAN],
        "steps": fim_baselines.STEPS,
    }
    record.write(args.out, facts | studies(args))


if __name__ == "__main__":
    main()
