"""How often do intervals from a sample of attacks hold the truth, and what does one cost?

Populations are made up, in the shape that was seen of `cifar10_resnet2b_at2`: of 1,017 images 716
are right, PGD-20 leaves 567, and AutoAttack breaks 7 more; or ten times as many. The rows that
break lie among the low scores as exp(-rank / (spread M)) says; without a spread anywhere. First
the coverage of intervals from a given number of full attacks, then what `spend` uses for a half
width of .01, against simple sampling of images that skips the wrong ones, planned with the same
exact interval. Each line replays one fixed population. Goes on where it was ended, if the number
of replays is the same.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from record import RESULTS, machine, read, write
from scipy import special

from torchattacks_ext.numerics.populations.planning import sample_size
from torchattacks_ext.numerics.populations.spending import SpendSettings, spend
from torchattacks_ext.numerics.populations.strata import (
    Combination,
    Stratum,
    total_bounds,
)
from torchattacks_ext.results.base.facts import versions

LEVEL = 0.95
SHAPES = {
    "7 of 567, low scores": (1017, 716, 567, 7, 0.05),
    "7 of 567, lower half": (1017, 716, 567, 7, 0.3),
    "7 of 567, anywhere": (1017, 716, 567, 7, None),
    "70 of 5,670, low scores": (10170, 7160, 5670, 70, 0.05),
    "70 of 5,670, lower half": (10170, 7160, 5670, 70, 0.3),
    "70 of 5,670, anywhere": (10170, 7160, 5670, 70, None),
    "300 of 5,670, low scores": (10170, 7160, 5670, 300, 0.05),
    "cheap attack useless: 3,580 of 7,160": (10170, 7160, 7160, 3580, None),
}
"""images, right ones, survivors of the cheap attack, of those broken by the full one, spread."""
COVERAGE = list(SHAPES)[:6]
N_STRATA = 4


def main() -> None:
    """Replay all cases and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replays", type=int, default=2000)
    replays = parser.parse_args().replays
    torch.set_num_threads(1)
    path = RESULTS / "budgeted_accuracy.json"
    before = read(path)
    if before.get("replays") != replays:
        before = {}
    record: dict[str, Any] = {
        "machine": machine(),
        "versions": versions(),
        "confidence": LEVEL,
        "replays": replays,
        "shapes": SHAPES,
        "coverage": before.get("coverage", []),
        "cost": before.get("cost", []),
    }
    done = {(one["shape"], one["runs"]) for one in record["coverage"]}
    for name in COVERAGE:
        for n in (100, 200) if SHAPES[name][2] < 1000 else (200, 400):
            if (name, n) not in done:
                record["coverage"].append(coverage(name, n, replays))
                write(path, record)
    done = {(one["shape"], one["method"]) for one in record["cost"]}
    for name in SHAPES:
        for method in ("planned", "anytime"):
            if (name, method) not in done:
                slow = method == "anytime" and SHAPES[name][3] >= 200
                few = max(replays // 10, 1) if slow else replays
                record["cost"].append(cost(name, method, few))
                write(path, record)


def population(name: str) -> np.ndarray:
    """Which survivors are broken, in the order of their scores."""
    _, _, m, broken, spread = SHAPES[name]
    rng = np.random.default_rng(0)
    weights = np.ones(m) if spread is None else np.exp(-np.arange(m) / (spread * m))
    truth = np.zeros(m, dtype=bool)
    truth[rng.choice(m, broken, replace=False, p=weights / weights.sum())] = True
    return truth


Interval = Callable[[np.ndarray, int, np.random.Generator], tuple[float, float]]


def normal(strata: list[Stratum]) -> tuple[float, float]:
    """The textbook interval of a total: estimate and plug-in variance, finite populations."""
    centre, variance = 0.0, 0.0
    for one in strata:
        p = one.broken / one.drawn
        centre += one.size * p
        if one.drawn > 1:
            left = (1 - one.drawn / one.size) / (one.drawn - 1)
            variance += one.size**2 * left * p * (1 - p)
    half = float(special.ndtri((1 + LEVEL) / 2)) * math.sqrt(variance)
    return centre - half, centre + half


def drawn(
    truth: np.ndarray, n: int, rng: np.random.Generator, cuts: int
) -> list[Stratum]:
    """The same share of each of `cuts` strata of equal size, by score."""
    found = []
    for part in np.array_split(truth, cuts):
        draws = round(n / cuts)
        seen = rng.choice(part, draws, replace=False)
        found.append(Stratum(len(part), draws, int(seen.sum())))
    return found


def lowest_first(truth: np.ndarray, n: int, rng: np.random.Generator) -> list[Stratum]:
    """A fifth of the runs for the lowest scores, the others at random above them."""
    low = n // 5
    known = Stratum(low, low, int(truth[:low].sum()))
    return [known, *drawn(truth[low:], n - low, rng, 1)]


@lru_cache(maxsize=None)
def exact(strata: tuple[Stratum, ...], combine: Combination) -> tuple[int, int]:
    """The interval of a total; few outcomes come again and again."""
    return total_bounds(strata, 1 - LEVEL, combine)


def sampled(cuts: int, combine: Combination) -> Interval:
    """The exact interval of so many strata."""
    return lambda t, n, rng: exact(tuple(drawn(t, n, rng, cuts)), combine)


INTERVALS: dict[str, Interval] = {
    "normal, prediction-powered": lambda t, n, rng: normal(drawn(t, n, rng, 1)),
    "normal, stratified": lambda t, n, rng: normal(drawn(t, n, rng, N_STRATA)),
    "normal, lowest first": lambda t, n, rng: normal(lowest_first(t, n, rng)),
    "exact": sampled(1, "split"),
    "exact, lowest first": lambda t, n, rng: exact(
        tuple(lowest_first(t, n, rng)), "split"
    ),
    "exact, two strata, joint": sampled(2, "joint"),
    "exact, stratified, split level": sampled(N_STRATA, "split"),
    "anytime, stratified": sampled(N_STRATA, "product"),
}


def coverage(name: str, n: int, replays: int) -> dict[str, Any]:
    """Share of replays that hold the truth, and the mean half width in points."""
    truth, images = population(name), SHAPES[name][0]
    found = {}
    for words, interval in INTERVALS.items():
        rng = np.random.default_rng([n, len(words)])
        sides = np.array([interval(truth, n, rng) for _ in range(replays)])
        held = (sides[:, 0] <= truth.sum()) & (truth.sum() <= sides[:, 1])
        width = float((sides[:, 1] - sides[:, 0]).mean() / 2 / images)
        found[words] = {"covers": float(held.mean()), "half_width": width}
    return {"shape": name, "runs": n, "intervals": found}


def cost(name: str, method: str, replays: int) -> dict[str, Any]:
    """Full attacks for a half width of .01, what the interval is, and simple sampling beside it."""
    images, right, m, broken, _ = SHAPES[name]
    truth, scores, ids = population(name), torch.arange(m).double(), torch.arange(m)
    rows = []
    for seed in range(replays):
        settings = SpendSettings(method=method, seed=seed)  # type: ignore[arg-type]
        spent = spend(scores, ids, images, lambda at: truth[at], settings)
        held = spent.lower <= broken <= spent.upper
        rows.append((spent.looked.sum(), spent.upper - spent.lower, held))
    runs, length, held = np.array(rows, dtype=float).mean(0)
    share = (images - m + broken) / images
    simple = sample_size(images, share, 0.01 * images, 1 - LEVEL) * right / images
    return {
        "shape": name,
        "method": method,
        "replays": replays,
        "runs": float(runs),
        "half_width": float(length / 2 / images),
        "covers": float(held),
        "simple_runs": simple,
    }


if __name__ == "__main__":
    main()
