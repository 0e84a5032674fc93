"""How near does PRTest come to a bare loop of forward passes?

The bare loop is `model(x + torch.rand_like(x))` under inference_mode on the same rows. PRTest draws
counter-based noise, perturbs within ball and box, judges every row, counts, finds the worst draw
and decides at each look. Both run in one process in alternation; compared are the minima over the
alternations, `ratio` = bare / PRTest (1 = nothing is lost). `interval` is a 95 % percentile
bootstrap over the alternations of the ratio of minima. Also recorded: where the rest of the time
goes, as shares of PRTest's own time, measured piece by piece on the same batch.

Each case runs in a process of its own, with MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_ at
4294967295 for both sides.

Run: python benchmarks/prtest_throughput.py [--n 200]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import record
import tax_data
import torch
from torch import Tensor, nn

from torchattacks_ext import PRTest
from torchattacks_ext.data.stream import Stream
from torchattacks_ext.engines.judge.active import Judge, Slots, advance, draw_rows
from torchattacks_ext.numerics.rates.rules import EProcess
from torchattacks_ext.numerics.rates.sequential import Boundaries
from torchattacks_ext.results.base.facts import versions

MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "4294967295",
    "MALLOC_TRIM_THRESHOLD_": "4294967295",
}
EPS = 2 / 255
ROUNDS = 8
"""Rounds in one go; PRTest gives the model back when rows are finished, not after each round."""
CASES: tuple[tuple[str, int, int, float], ...] = (
    ("resnet18", 4, 16, 0.97),
    ("cifar10_resnet2b_at2", 4, 64, 0.75),
    ("cifar10_resnet2b_at2", 256, 1, 0.60),
    ("mnist_fast_pgd", 4, 64, 0.75),
    ("mnist_fast_pgd", 256, 1, 0.60),
)
"""Model, images, draws of each, and the ratio that was asked for."""


def resnet18() -> nn.Module:
    """pyautoattack's own example net, with the weights that it ships."""
    spec = importlib.util.find_spec("pyautoattack")
    assert spec is not None and spec.origin is not None
    place = Path(spec.origin).parent / "examples"
    found = importlib.util.spec_from_file_location("resnet", place / "resnet.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    net: nn.Module = module.ResNet18()
    state = torch.load(place / "model_test.pt", map_location="cpu", weights_only=True)
    net.load_state_dict(state)
    return net.eval()


class Round:
    """One round of PRTest on `images` x `draws` work items: every image to its first look.

    The same round is taken again and again; what it fills once a run (a table of e-values a
    look) is filled before the clock starts.
    """

    def __init__(self, model: nn.Module, images: Tensor, labels: Tensor, draws: int):
        look = np.array([draws], dtype=np.int64)
        never = Boundaries(0.01, 0.001, look, look * 0 - 1, look + 1)
        self.probe = PRTest(model, eps=EPS, batch_size=len(images) * draws)
        self.walk = self.probe.walk()
        object.__setattr__(self.walk, "rule", EProcess(never))
        self.images, self.labels, self.draws = images, labels, draws
        self.stream = Stream(images, labels, prepare=lambda x: x)
        (batch,) = list(self.stream)
        with self.probe._session():
            _, self.slots = self.walk.admit(batch, self.stream)
        self.slots = self._whole(self.slots)
        self.zeros = self.slots.n.copy()

    def _whole(self, slots: Slots) -> Slots:
        """All images at work, also those that are misclassified: the shape is what is timed."""
        if len(slots) == len(self.images):
            return slots
        with torch.no_grad():
            answers = self.probe.model(self.images).argmax(1)
        (batch,) = list(Stream(self.images, answers, prepare=lambda x: x))
        with self.probe._session():
            return self.walk.admit(batch, self.stream)[1]

    def __call__(self) -> None:
        """Draw, perturb, judge, count, decide; several rounds a session, as in a real run."""
        with self.probe._session():
            for _ in range(ROUNDS):
                self.slots.n, self.slots.s = self.zeros.copy(), self.zeros.copy()
                self.walk._round(self.slots, self.stream)
                self.walk._decide(self.slots)


def pieces(round_: Round) -> dict[str, Callable[[], Any]]:
    """The parts of a round, each alone."""
    slots, walk, draws = round_.slots, round_.walk, round_.draws
    slot = np.repeat(np.arange(len(slots)), draws)
    draw = np.tile(np.arange(draws), len(slots))
    every, part = slice(0, len(slot)), torch.arange(len(slot))
    rows = draw_rows(slots, slot, draw, walk.sampler, 0)
    images, reference = rows(every)
    judge: Judge = walk.judge
    size = images[0].numel()
    from torchattacks_ext.engines.judge.active import keyed

    ids, numbers = slots.ids[torch.from_numpy(slot)], torch.from_numpy(draw)
    noise = keyed(0, ids, numbers, walk.sampler.name)(size)
    judged = judge.judge(len(slot), lambda p: (images[p], reference[p]), None)
    assert judged is not None

    def count() -> None:
        slots.n, slots.s = round_.zeros.copy(), round_.zeros.copy()
        advance(slots, slots.n + draws, judged, slot, draw)

    return {
        "uniform numbers": lambda: keyed(0, ids, numbers, walk.sampler.name)(size),
        "gather the images": lambda: slots.images.index_select(0, part % len(slots)),
        "perturb": lambda: walk.sampler.sample(images, lambda size, purpose="": noise),
        "judge without the net": lambda: Judge(
            lambda x: torch.zeros(len(x), 10), False, judge.batch_size
        ).judge(len(slot), lambda p: (images[p], reference[p]), None),
        "count and decide": lambda: (count(), walk._decide(slots)),
    }


def seconds(call: Callable[[], Any], repeats: int) -> float:
    """Mean wall time of one call over `repeats` in a row."""
    begin = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - begin) / repeats


def interval(base: list[float], ours: list[float]) -> list[float]:
    """95 % percentile bootstrap of min(base) / min(ours)."""
    rng = np.random.default_rng(0)
    draws = [rng.choice(x, size=(10_000, len(x))).min(1) for x in (base, ours)]
    return [
        round(float(q), 4) for q in np.quantile(draws[0] / draws[1], [0.025, 0.975])
    ]


def measure(name: str, n: int, draws: int, alternations: int) -> dict[str, Any]:
    """One case: both sides in alternation, then the pieces."""
    dataset = "mnist" if name.startswith("mnist") else "cifar10"
    images, labels = tax_data.test_images(dataset, n)
    model = resnet18() if name == "resnet18" else tax_data.model(name)
    rows = images.repeat_interleave(draws, 0)
    ours = Round(model, images, labels, draws)

    def bare() -> None:
        with torch.inference_mode():
            for _ in range(ROUNDS):
                model(rows + torch.rand_like(rows))

    repeats = max(1, round(0.06 / max(seconds(bare, 1), seconds(bare, 1))))
    if repeats == 1:  # a large net: the machine's noise is small beside it
        alternations = min(alternations, 24)
    times: dict[str, list[float]] = {"bare": [], "ours": []}
    for i in range(alternations):
        sides = [("bare", bare), ("ours", ours)]
        for side, call in sides if i % 2 else sides[::-1]:
            times[side].append(seconds(call, repeats))
    least = {side: min(found) for side, found in times.items()}
    with torch.no_grad():
        found = pieces(ours)
    parts = {
        label: ROUNDS * min(seconds(call, repeats) for _ in range(5)) / least["ours"]
        for label, call in found.items()
    }
    return {
        "model": name,
        "images": n,
        "draws": draws,
        "alternations": alternations,
        "microseconds_a_row": {
            side: round(1e6 * t / len(rows) / ROUNDS, 2) for side, t in least.items()
        },
        "ratio": round(least["bare"] / least["ours"], 4),
        "interval": interval(times["bare"], times["ours"]),
        "shares": {label: round(share, 4) for label, share in parts.items()},
    }


def main() -> None:
    """Measure every case, each in a process of its own, and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=200, help="alternations of each case")
    parser.add_argument("--only", default="", help="cases whose model has this in it")
    parser.add_argument("--case", type=int, help="one case, its numbers to stdout")
    out = record.RESULTS / "prtest_throughput.json"
    parser.add_argument("--out", type=Path, default=out)
    args = parser.parse_args()
    if args.case is not None:
        name, n, draws, asked = CASES[args.case]
        found = measure(name, n, draws, args.n) | {"asked": asked}
        sys.stdout.write(json.dumps(found))
        return
    cases = []
    for number, (name, *_) in enumerate(CASES):
        if args.only in name:
            # what one case leaves behind in the heap slows the next one, both sides of it
            call = [sys.executable, __file__, "--n", str(args.n), "--case", str(number)]
            run = subprocess.run(
                call, env=os.environ | MALLOC, check=True, capture_output=True
            )
            cases.append(json.loads(run.stdout))
            sys.stdout.write(f"{cases[-1]}\n")
    record.write(
        args.out,
        {
            "question": "PRTest against a bare loop of forward passes, same rows",
            "machine": record.machine() | {"threads": torch.get_num_threads()},
            "versions": versions(),
            "environment": MALLOC,
            "n": args.n,
            "cases": cases,
        },
    )


if __name__ == "__main__":
    main()
