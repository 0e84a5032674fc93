"""How often does `monitor` alarm on clean images, how soon on a shift, and what does a check cost?

Features, scores and hashes are measured once an image and kept in --cache. Cells:

- splits: 500 fresh random splits of the 10,000 MNIST test images into a reference of 1,000 and a
  batch of 200: alarms of each test by itself, and of all three as the command decides (Holm);
- fixed: batches against one reference of 1,000 images that was drawn once: a rate of its own,
  which no level bounds. "first": against the first 1,000 of the file, which are no draw: the first
  half of MNIST's test images are of other writers than the second;
- shift: a reference of 800 lossless CIFAR-10 test images, batches of 200 JPEG copies of other
  images, 100 draws; "clean": the same with the 200 of the remaining 217 lossless ones;
- stream: one real stream of 200 looks, end to end through files: lossless images, then JPEG
  copies; on MNIST images of the first half of the file, then of the second. And 100 replays of the
  process on scores that are kept, each in another order;
- speed: minima of 20 on one thread, 1,000 and 200 rows of 512 features.

Run: nice python benchmarks/monitor.py [--cells splits,fixed,first,shift,stream,speed] [--cache DIR]
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import record
import tax_data
import torch
from scipy import stats
from torch import Tensor

from torchattacks_ext import ReliabilityWarning
from torchattacks_ext.evaluation.monitor import fit_reference, look_at_stream
from torchattacks_ext.evaluation.monitor.check import held
from torchattacks_ext.evaluation.monitor.how import How
from torchattacks_ext.evaluation.monitor.measured import Measured, measure
from torchattacks_ext.numerics.drift.bands import UniformBands
from torchattacks_ext.numerics.drift.kernels import mmd_test
from torchattacks_ext.numerics.drift.martingale import ConformalMartingale
from torchattacks_ext.numerics.drift.ranks import ks_by_feature, ks_test
from torchattacks_ext.results.base.facts import versions
from torchattacks_ext.results.monitor import Reference

MNIST = "mnist_convsmall_std"
CIFAR = ("cifar10_resnet20_std", "cifar10_resnet2b_at2", "cifar10_wide_std")
SPLITS, REFERENCE, BATCH, LEVELS = 500, 1000, 200, (0.05, 0.01)
LOSSLESS, KNOWN, JPEGS, DRAWS = 1017, 800, 2500, 100
LOOKS, REPLAYS, LEVEL, HALF = 200, 100, 0.01, 5000


# ---------------------------------------------------------------- what images measure, once
class Store:
    """Measured images by name, kept in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def of(self, name: str, model: str, images: Any) -> dict[str, np.ndarray]:
        """features (n, d) and scores (n,) of images, which are a function that makes them."""
        path = self.folder / f"{name}_{model}.npz"
        if not path.is_file():
            start = time.process_time()
            seen = measure(tax_data.model(model), images(), How())
            with open(path.with_suffix(".part"), "wb") as handle:
                np.savez(
                    handle,
                    features=seen.features.numpy(),
                    scores=seen.scores.numpy(),
                    ids=seen.ids.numpy(),
                    place=seen.place,
                    seconds=time.process_time() - start,
                )
            path.with_suffix(".part").replace(path)
        with np.load(path, allow_pickle=False) as data:
            return {key: data[key] for key in data.files}


def reference_of(found: dict[str, np.ndarray], rows: np.ndarray) -> Reference:
    """A reference of some rows."""
    features, scores, ids = _sides(found, rows)
    return Reference(features=features, scores=scores, ids=ids)


def batch_of(found: dict[str, np.ndarray], rows: np.ndarray) -> Measured:
    """A batch of some rows."""
    sides = _sides(found, rows)
    return Measured(*sides, "", (), (), Reference.cost, {})


def _sides(
    found: dict[str, np.ndarray], rows: np.ndarray
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.from_numpy(found["features"][rows]),
        torch.from_numpy(found["scores"][rows]),
        torch.from_numpy(found["ids"][rows]),
    )


def looked(known: Reference, seen: Measured, seed: int) -> dict[str, list[float]]:
    """p-value, and p-value by Holm, of each test."""
    found = held(known, seen, LEVEL, 1000, seed)
    return {test.name: [test.p_value, test.adjusted] for test in found.tests}


def alarms(rows: list[dict[str, list[float]]]) -> dict[str, Any]:
    """How many alarms at each level, test by test and of the family."""
    found: dict[str, Any] = {"n": len(rows)}
    for level in LEVELS:
        count: dict[str, Any] = {
            name: sum(row[name][0] <= level for row in rows) for name in rows[0]
        }
        count["family"] = sum(
            min(adjusted for _, adjusted in row.values()) <= level for row in rows
        )
        count["most"] = int(stats.binom.ppf(0.999, len(rows), level))
        found[str(level)] = count
    return found


# ---------------------------------------------------------------- the cells
def splits(store: Store, one: np.ndarray | None = None) -> dict[str, Any]:
    """Clean batches, against fresh references or against one, given by its rows."""
    images = lambda: tax_data.test_images("mnist", 10_000)[0]  # noqa: E731
    found = store.of("mnist", MNIST, images)
    rows = []
    for seed in range(SPLITS):
        order = np.random.default_rng(seed).permutation(10_000)
        known = order[:REFERENCE]
        new = order[REFERENCE : REFERENCE + BATCH]
        if one is not None:
            known, new = one, order[~np.isin(order, one)][:BATCH]
        rows.append(looked(reference_of(found, known), batch_of(found, new), seed))
    return {
        "model": MNIST,
        "features": int(found["features"].shape[1]),
        "seconds_of_features": round(float(found["seconds"]), 1),
        **alarms(rows),
    }


def shift(store: Store, name: str) -> dict[str, Any]:
    """JPEG copies of other images against lossless ones, and lossless ones against each other."""
    plain, jpeg = _cifar(store, name)
    bad, clean = [], []
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        order = rng.permutation(LOSSLESS)
        known = reference_of(plain, order[:KNOWN])
        new = rng.permutation(JPEGS)[:BATCH]
        bad.append(looked(known, batch_of(jpeg, new), seed))
        rest = order[KNOWN : KNOWN + BATCH]
        clean.append(looked(known, batch_of(plain, rest), seed))
    distance = stats.ks_2samp(plain["scores"], jpeg["scores"]).statistic
    return {
        "features": int(plain["features"].shape[1]),
        "place": str(plain["place"]),
        "distance_of_scores": float(distance),
        "jpeg": alarms(bad),
        "clean": alarms(clean),
    }


def _cifar(store: Store, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    plain = store.of(
        "plain", name, lambda: tax_data.test_images("cifar10", LOSSLESS)[0]
    )
    start = LOSSLESS
    jpeg = store.of("jpeg", name, lambda: tax_data.jpeg_images(start, start + JPEGS)[0])
    return plain, jpeg


def stream(name: str) -> dict[str, Any]:
    """200 looks, end to end, through a reference and a state on disk."""
    net = tax_data.model(name)
    if name == MNIST:
        images, size, clean = tax_data.test_images("mnist", 10_000)[0], 20, 100
        rng = np.random.default_rng(0)
        first = images[rng.permutation(HALF)]
        known, rest = first[:REFERENCE], first[REFERENCE:]
        later = images[HALF + rng.permutation(HALF)[: (LOOKS - clean) * size]]
    else:
        images, size, clean = tax_data.test_images("cifar10", LOSSLESS)[0], 10, 21
        images = images[np.random.default_rng(0).permutation(LOSSLESS)]
        known, rest = images[:KNOWN], images[KNOWN:]
        later = tax_data.jpeg_images(LOSSLESS, LOSSLESS + (LOOKS - clean) * size)[0]
    whole = torch.cat([rest[: clean * size], later])
    sizes, seconds, alarm = [], [], None
    with tempfile.TemporaryDirectory() as folder:
        path, state = Path(folder) / "ref.pt", Path(folder) / "stream.json"
        fit_reference(net, known).save(path)
        for look, part in enumerate(whole.split(size), 1):
            start = time.perf_counter()
            found = look_at_stream(state, Reference.load(path), net, part)
            seconds.append(time.perf_counter() - start)
            sizes.append(state.stat().st_size)
            if found.alarm and alarm is None:
                alarm = {"look": look, **dict(found.process or {})}
    return {
        "images_a_look": size,
        "clean_looks": clean,
        "looks": len(sizes),
        "alarm": alarm,
        "delay_looks": None if alarm is None else alarm["look"] - clean,
        "delay_images": None if alarm is None else alarm["alarm_at"] - clean * size,
        "median_seconds_a_look": round(float(np.median(seconds)), 3),
        "kilobytes_of_state": {
            str(look): round(sizes[look - 1] / 1024, 1) for look in (10, 100, LOOKS)
        },
    }


def replays(store: Store, name: str) -> dict[str, Any]:
    """The process alone on kept scores, in 100 orders: false alarms and delays."""
    if name == MNIST:
        images = lambda: tax_data.test_images("mnist", 10_000)[0]  # noqa: E731
        scores = store.of("mnist", name, images)["scores"]
        plain, jpeg = {"scores": scores[:HALF]}, {"scores": scores[HALF:]}
        known, clean = REFERENCE, HALF - REFERENCE
    else:
        plain, jpeg = _cifar(store, name)
        known, clean = KNOWN, LOSSLESS - KNOWN
    found: dict[str, Any] = {"reference": known, "clean_images": clean}
    for process in ("martingale", "bands"):
        delays, early = [], 0
        for seed in range(REPLAYS):
            rng = np.random.default_rng(seed)
            scores = rng.permutation(plain["scores"])
            drift: Any = (
                UniformBands(scores[:known], LEVEL)
                if process == "bands"
                else ConformalMartingale(scores[:known], LEVEL, seed)
            )
            before = scores[known : known + clean]
            for part in np.array_split(before, max(1, clean // 20)):
                drift.look(part)
            early += drift.alarm_at is not None
            later = rng.permutation(jpeg["scores"])
            for part in np.array_split(later, len(later) // 20):
                drift.look(part)
            if drift.alarm_at is None:
                delays.append(math.inf)
            elif drift.alarm_at > clean:
                delays.append(drift.alarm_at - clean)
        places = [0.5, 0.9] if delays else []
        known_by = np.quantile(delays, places, method="higher").tolist()
        found[process] = {
            "false_alarms": early,
            "most": int(stats.binom.ppf(0.999, REPLAYS, LEVEL)),
            "missed": sum(math.isinf(one) for one in delays),
            "delay_median": known_by[0] if math.isfinite(known_by[0]) else None,
            "delay_90": known_by[1] if math.isfinite(known_by[1]) else None,
        }
    return found


def speed() -> dict[str, Any]:
    """Seconds of the tests of one check, without the model."""
    rng = np.random.default_rng(0)
    x, y = (np.maximum(rng.normal(size=(n, 512)), 0) for n in (1000, 200))
    s, t = rng.normal(size=1000), rng.normal(size=200)
    work: dict[str, Any] = {
        "mmd_and_score": lambda: (mmd_test(x, y), ks_test(s, t)),
        "by_feature": lambda: ks_by_feature(x, y),
    }
    found = {}
    for name, run in work.items():
        times = []
        for _ in range(20):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        found[name] = {"least": min(times), "median": float(np.median(times))}
    return found | {"alternations": 20}


def main() -> None:
    """Measure what is not in the record yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    cells = ["splits", "fixed", "first", "shift", "stream", "speed"]
    parser.add_argument("--cells", default=",".join(cells))
    cache = Path(tempfile.gettempdir()) / "torchattacks_ext_monitor"
    parser.add_argument("--cache", type=Path, default=cache)
    parser.add_argument("--out", type=Path, default=record.RESULTS / "monitor.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ReliabilityWarning)
    store, asked = Store(args.cache), args.cells.split(",")
    drawn = np.random.default_rng(10**6).permutation(10_000)
    tasks: dict[str, Any] = {
        "splits": lambda: splits(store),
        "fixed": lambda: splits(store, drawn[:REFERENCE]),
        "first": lambda: splits(store, np.arange(REFERENCE)),
        **{f"shift {m}": lambda m=m: shift(store, m) for m in CIFAR},
        **{f"stream {m}": lambda m=m: stream(m) for m in (CIFAR[0], MNIST)},
        **{
            f"stream {m} replays": lambda m=m: replays(store, m)
            for m in (CIFAR[0], MNIST)
        },
        "speed": speed,
    }
    found = record.read(args.out)
    done = found.get("cells", {})
    for name, task in tasks.items():
        if name in done or name.split()[0] not in asked:
            continue
        start = time.process_time()
        done[name] = task() | {"cpu_seconds": round(time.process_time() - start, 1)}
        record.write(
            args.out,
            {
                "command": "python benchmarks/monitor.py",
                "machine": record.machine() | {"threads": 1},
                "versions": versions(),
                "models": {
                    m: tax_data.sha256("models", f"{m}.pt") for m in (MNIST, *CIFAR)
                },
                "cells": done,
            },
        )


if __name__ == "__main__":
    main()
