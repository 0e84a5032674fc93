"""Does a sample of attacks say what AutoAttack would leave? Replayed against flags of whole runs.

Truth: which images of four models are right, what cheap attacks leave of them and with which
margin, and which of those AutoAttack breaks (autoattack_truth.json). The cheap attack is PGD with
20 steps, or PGD and then the own engine's version fast. Replayed is `spend`, which
chooses and counts as the stage `budgeted` does: on the images as they are, and on 10,000 that are
drawn from them with replacement, for an interval of +-1 point. Beside it simple sampling of images
that skips the wrong ones, planned with the same exact interval, and textbook intervals from the
same number of attacks. The last case hides the margins and what PGD broke: a useless cheap attack.

Run: python benchmarks/budgeted_truth.py [--replays 2000]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from budgeted_accuracy import INTERVALS
from numpy.typing import NDArray
from record import RESULTS, machine, read, write
from scipy import stats

from torchattacks_ext.numerics.populations.planning import sample_size
from torchattacks_ext.numerics.populations.spending import SpendSettings, spend
from torchattacks_ext.results.base.facts import versions

LEVEL, HALF, MANY = 0.95, 0.01, 10_000
LUCK = 1e-3
"""Chance that an exact interval of level 95 % falls below the lowest coverage that is let pass."""
WAYS: dict[str, dict[str, Any]] = {
    "one stratum": {},
    "two, joint": {"strata": 2},
    "four, split": {"strata": 4, "combine": "split"},
    "four, product": {"strata": 4, "combine": "product"},
}
"""Exact intervals of strata by score, planned as for one."""
TEXTBOOK = ("normal, prediction-powered", "normal, stratified", "exact")


@dataclass(frozen=True, eq=False)
class Truth:
    """A model and its images. margin, broken (M,): of what is left; broken by AutoAttack."""

    n: int
    right: int
    margin: NDArray[np.float64]
    broken: NDArray[np.bool_]

    @classmethod
    def of(cls, entry: dict[str, Any], fast: bool) -> Truth:
        """From the record of a model; fast: after the second cheap attack."""
        rows, margin = entry["clean"], entry["margin"]
        if fast:
            rows, margin = entry["left"], entry["left_margin"]
        left = np.array(margin) > 0
        flags = np.isin(rows, entry["broken"])
        right = len(entry["clean"])
        return cls(entry["done"], right, np.array(margin)[left], flags[left])

    def many(self, n: int) -> Truth:
        """n images, drawn with replacement."""
        rng = np.random.default_rng(0)
        m = len(self.margin)
        kinds = rng.integers(0, self.n, n)  # the first m of the images survive
        rows = kinds[kinds < m]
        margin = self.margin[rows] + 1e-9 * rng.random(len(rows))
        return Truth(n, int((kinds < self.right).sum()), margin, self.broken[rows])

    def blind(self) -> Truth:
        """As if the cheap attack had broken nothing and said nothing of what is left."""
        rng = np.random.default_rng(0)
        hidden = self.right - len(self.margin)
        broken = np.concatenate([self.broken, np.ones(hidden, dtype=bool)])
        return Truth(self.n, self.right, rng.random(self.right), broken)

    @property
    def robust(self) -> float:
        """Share that a full run leaves."""
        return float((~self.broken).sum() / self.n)


def replay(truth: Truth, replays: int, method: str = "planned") -> dict[str, Any]:
    """Coverage, mean half width and number of full attacks of the intervals of `spend`."""
    scores, ids = torch.from_numpy(truth.margin), torch.arange(len(truth.margin))
    total, rows = int(truth.broken.sum()), []
    for seed in range(replays):
        settings = SpendSettings(
            half_width=HALF, confidence=LEVEL, method=method, seed=seed  # type: ignore
        )
        spent = spend(scores, ids, truth.n, lambda at: truth.broken[at], settings)
        held = spent.lower <= total <= spent.upper
        rows.append((spent.looked.sum(), spent.upper - spent.lower, held))
    runs, length, held = np.array(rows, dtype=float).mean(0)
    simple = sample_size(truth.n, truth.robust, HALF * truth.n, 1 - LEVEL)
    simple *= truth.right / truth.n
    return {
        "images": truth.n,
        "right": truth.right,
        "survivors": len(truth.margin),
        "broken": total,
        "method": method,
        "replays": replays,
        "covers": float(held),
        "least": float(stats.binom.ppf(LUCK, replays, LEVEL) / replays),
        "half_width": float(length / 2 / truth.n),
        "runs": float(runs),
        "simple_runs": float(simple),
        "ratio": float(runs / simple),
    }


def textbook(truth: Truth, runs: int, replays: int) -> dict[str, Any]:
    """Coverage and half width of other intervals, from as many attacks."""
    ordered, found = truth.broken[truth.margin.argsort()], {}
    for words in TEXTBOOK:
        rng = np.random.default_rng([runs, len(words)])
        sides = np.array([INTERVALS[words](ordered, runs, rng) for _ in range(replays)])
        held = (sides[:, 0] <= ordered.sum()) & (ordered.sum() <= sides[:, 1])
        width = float((sides[:, 1] - sides[:, 0]).mean() / 2 / truth.n)
        found[words] = {"covers": float(held.mean()), "half_width": width}
    return {"runs": runs, "intervals": found}


def ways(truth: Truth, replays: int) -> dict[str, Any]:
    """Mean half width of exact intervals of several strata, from the same number of attacks."""
    scores, ids = torch.from_numpy(truth.margin), torch.arange(len(truth.margin))
    found = {}
    for words, chosen in WAYS.items():
        rows = []
        for seed in range(replays):
            settings = SpendSettings(
                half_width=HALF, confidence=LEVEL, seed=seed, **chosen
            )
            spent = spend(scores, ids, truth.n, lambda at: truth.broken[at], settings)
            rows.append((spent.looked.sum(), spent.upper - spent.lower))
        runs, length = np.array(rows, dtype=float).mean(0)
        found[words] = {"runs": runs, "half_width": length / 2 / truth.n}
    return found


def floor(truth: Truth) -> dict[str, Any]:
    """Attacks that strata by score can save at best, whose shares p_h of broken rows are told.

    In H strata of equal size M_h the best draws are as M_h s_h, s_h^2 = p_h (1 - p_h), and the
    variance of the total is (sum M_h s_h)^2 / n - sum M_h s_h^2 (Neyman 1934). "normal": the least
    n for an interval of 1.96 of its roots. "exact": the mean length of any interval of level 1 - a
    is the sum over all other totals of their chance to be covered (Pratt 1961), and that is at
    least 1 - power of the best test of level a: z Phi(z) + phi(z) = 1.67 roots each side, z the
    quantile of 1 - a.
    """
    ordered, room = truth.broken[truth.margin.argsort()], HALF * truth.n
    z = stats.norm.ppf(LEVEL)
    sides = {
        "normal": float(stats.norm.ppf((1 + LEVEL) / 2)),
        "exact": float(z * LEVEL + stats.norm.pdf(z)),
    }
    found: dict[str, Any] = {}
    for number in (1, 2, 4, 8, 16):
        cuts = np.array_split(ordered, number)
        sizes = np.array([len(cut) for cut in cuts])
        variance = np.array([cut.var() for cut in cuts])
        spread, within = (sizes * variance**0.5).sum(), (sizes * variance).sum()
        found[str(number)] = {
            words: float(spread**2 / ((room / roots) ** 2 + within))
            for words, roots in sides.items()
        }
    return found


def main() -> None:
    """Replay every model that has its truth, and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--replays", type=int, default=2000)
    replays = parser.parse_args().replays
    torch.set_num_threads(1)
    path = RESULTS / "budgeted_truth.json"
    found = read(path)
    if found.get("replays") != replays:
        found = {}
    found |= {
        "question": (__doc__ or "").splitlines()[0],
        "machine": machine(),
        "versions": versions(),
        "confidence": LEVEL,
        "half_width": HALF,
        "replays": replays,
    }
    models = found.setdefault("models", {})
    for name, entry in read(RESULTS / "autoattack_truth.json")["models"].items():
        if "left_margin" not in entry:
            continue
        own = models.get(name, {})
        if own.get("images") != entry["done"]:  # of fewer images
            own = models[name] = {"eps": entry["eps"], "images": entry["done"]}
        cells: dict[str, Callable[[], dict[str, Any]]] = {}
        for words, fast in (("PGD", False), ("PGD, fast", True)):
            truth = Truth.of(entry, fast)
            large = truth.many(MANY)
            cells[words] = partial(replay, truth, replays)
            cells[f"{words}; {MANY:,}"] = partial(replay, large, replays // 4)
        pgd = Truth.of(entry, False)
        large, few = pgd.many(MANY), max(replays // 10, 1)
        cells["textbook"] = partial(textbook, pgd, 100, replays)
        cells[f"textbook; {MANY:,}"] = partial(textbook, large, 300, replays // 4)
        cells[f"useless; {MANY:,}"] = partial(replay, large.blind(), few)
        cells[f"PGD, any time; {MANY:,}"] = partial(replay, large, few // 10, "anytime")
        cells[f"strata; {MANY:,}"] = partial(ways, large, max(replays // 100, 1))
        cells[f"floor; {MANY:,}"] = partial(floor, large)
        for what, cell in cells.items():
            if what not in own:
                own[what] = cell()
                write(path, found)
                sys.stdout.write(f"{name} {what}: {own[what]}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
