"""Is HPM worth having? Its nets before and after, under AutoAttack and both versions of MSA.

Three adversarially trained nets, each at its own radius: as they are, with HPM fine-tuned on
training images, and with prototypes of the data set alone. The first n test images, in deployed
batches of m where answers depend on the batch. A seed is that of fine-tuning, of the attack and of
the partition into batches. Resumable: a finished cell is kept, and so is a fine-tuned net.

Run: python benchmarks/hpm_table.py [--n 100] [--m 50] [--models NET ...] [--seeds 3]
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import record
import tax_data
import torch
from quick_conv import with_quick_start
from torch import Tensor, nn

from torchattacks_ext import MSA, ReliabilityWarning
from torchattacks_ext.data.digits import load_digits
from torchattacks_ext.defenses import HPMModel, HPMSettings, finetune_hpm
from torchattacks_ext.defenses.hpm.surrogates import PAPER
from torchattacks_ext.evaluation.demo import EPS, train_demo
from torchattacks_ext.numerics.rates.binomial import clopper_pearson
from torchattacks_ext.results.base.facts import versions
from torchattacks_ext.results.unfixed import NUMBERS

PATH = record.RESULTS / "hpm_table.json"


@dataclass(frozen=True)
class Net:
    """A net, its radius, over how many seeds HPM is measured, and what its head is tuned on."""

    eps: float
    seeds: int
    dataset: str
    n_train: int
    epochs: int


NETS = {
    "digits": Net(EPS, 3, "digits", 1352, 10),
    "cifar10_resnet2b_at2": Net(2 / 255, 3, "cifar10", 5085, 2),
    "mnist_fast_pgd": Net(0.3, 1, "mnist", 10_000, 1),
}
STATIC, ONLY_GLOBAL, HPM = "static", "C_glob only", "HPM"
BARE = {"use_global": False, "empty": "zero"}
ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    "no C_glob": BARE,
    "no mixer": {"mixer": "convex"},
    "neither": {"mixer": "convex", **BARE},
    "inner product": {"distance": "dot"},
}
HEADS: Mapping[str, Mapping[str, Any]] = {
    HPM: {},
    ONLY_GLOBAL: {"assign": "none"},
    **ABLATIONS,
}
ATTACKS = ("autoattack", "paper", "standard")


@dataclass(frozen=True)
class Cell:
    """One number of the table, or several of one run."""

    net: str
    victim: str
    attack: str
    seed: int

    @property
    def key(self) -> str:
        """Its name in the record."""
        return f"{self.net}/{self.victim}/{self.attack}/{self.seed}"


def cells(nets: list[str], seeds: int) -> Iterator[Cell]:
    """In the order in which they are run: one seed of digits, then first what verdicts need."""
    own = [name for name in nets if name == "digits"]
    rest = [name for name in nets if name != "digits"]
    for names, parts in (
        (own, (_verdict, _packed, _paper, _beside, _ablations)),
        (rest, (_verdict, _packed)),
    ):
        for part in parts:
            for name in names:
                yield from part(name)
    for name in own:
        yield from _more(name, seeds)
    for part in (_paper, _beside):
        for name in rest:
            yield from part(name)
    for name in rest:
        yield from _more(name, seeds)
    for name in rest:
        yield from _ablations(name)


def _verdict(net: str) -> Iterator[Cell]:
    """The two runs that say whether a gain stands."""
    yield Cell(net, STATIC, "autoattack", 0)
    yield Cell(net, HPM, "standard", 0)


def _packed(net: str) -> Iterator[Cell]:
    """AutoAttack as it is on HPM and on C_glob alone."""
    yield from (Cell(net, victim, "autoattack", 0) for victim in (HPM, ONLY_GLOBAL))


def _paper(net: str) -> Iterator[Cell]:
    yield Cell(net, HPM, "paper", 0)


def _beside(net: str) -> Iterator[Cell]:
    """Both versions of MSA on C_glob alone and on the static net."""
    for victim in (ONLY_GLOBAL, STATIC):
        yield from (Cell(net, victim, attack, 0) for attack in ATTACKS[1:])


def _ablations(net: str) -> Iterator[Cell]:
    yield from (Cell(net, victim, "paper", 0) for victim in ABLATIONS)


def _more(net: str, seeds: int) -> Iterator[Cell]:
    """HPM by further seeds, MSA standard first."""
    further = range(1, min(seeds, NETS[net].seeds))
    for attack in reversed(ATTACKS):
        yield from (Cell(net, HPM, attack, seed) for seed in further)


# ---------------------------------------------------------------------- nets and images
@lru_cache(maxsize=None)
def static_net(name: str) -> nn.Module:
    """The classifier before HPM."""
    if name == "digits":
        return train_demo("adversarial", *load_digits("train"))
    return with_quick_start(tax_data.model(name))


def images_of(name: str, split: str, n: int | None = None) -> tuple[Tensor, Tensor]:
    """The first n images of a split, and their labels; all when None."""
    dataset = NETS[name].dataset
    if dataset == "digits":
        images, labels = load_digits("train" if split == "train" else "test")
        return images[:n], labels[:n]
    if split == "train":
        return tax_data.train_images(dataset, n)
    assert n is not None
    return tax_data.test_images(dataset, n)


def tuned(name: str, victim: str, seed: int, kept: Path) -> HPMModel:
    """A head fine-tuned on training images at the net's radius; taken from `kept` if it is there.

    Heads of which nothing can learn (no mixer, no C_glob) are left as they are.
    """
    path, net = kept / f"{name}-{victim}-{seed}.safetensors", static_net(name)
    if path.is_file():
        return HPMModel.load(path, net)
    data = images_of(name, "train", NETS[name].n_train)
    settings = HPMSettings(**HEADS[victim])
    hpm = HPMModel.from_classifier(net, settings, data[0][:2])
    if settings.use_global or settings.mixer == "linear":
        own = NETS[name]
        finetune_hpm(hpm, data, own.eps, epochs=own.epochs, seed=seed)
    hpm.save(path)
    return hpm.eval()


def victim_of(cell: Cell, kept: Path) -> tuple[nn.Module, Mapping[str, nn.Module]]:
    """What is attacked, and its surrogates: the static net's own is the net itself."""
    if cell.victim == STATIC:
        net = static_net(cell.net)
        return net, {"fc": net} if cell.attack == "paper" else {}
    hpm = tuned(cell.net, cell.victim, cell.seed, kept)
    if cell.attack == "autoattack":
        return hpm, {}
    if cell.victim == ONLY_GLOBAL:  # "soft" of it is the model itself, "dset"
        return hpm, hpm.surrogates(("fc", "dset")[: 1 + (cell.attack == "paper")])
    return hpm, hpm.surrogates(PAPER) if cell.attack == "paper" else hpm.surrogates()


# ---------------------------------------------------------------------- the attack
def measured(cell: Cell, n: int, m: int, kept: Path) -> dict[str, Any]:
    """What one attack leaves: counts of right answers with their exact intervals, and its cost."""
    images, labels = images_of(cell.net, "test", n)
    model, surrogates = victim_of(cell, kept)
    attack = MSA(
        model,
        surrogates,
        eps=NETS[cell.net].eps,
        version=cell.attack,  # type: ignore[arg-type]
        seed=cell.seed,
        batch_size=m,
        deployed_batch=m,
        partitions=1,
    )
    started, cpu = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        found = attack.measure(images, labels, ids=range(n))
    flags = {flag.code: flag.details for flag in found.flags}
    right: dict[str, tuple[int, int]] = {"clean": (int(found.clean_correct.sum()), n)}
    if found.tallies:
        tally = found.tallies[0]
        sizes = [n] * 4 + [tally["n_rest"]] * 2
        right = {
            name: (round(count), size)
            for name, count, size in zip(NUMBERS, tally["counts"], sizes)
        }
    else:
        right["robust"] = int(found.robust.sum()), n
    if "not_as_deployed" in flags:
        right["deployed"] = flags["not_as_deployed"]["deployed"], n
    return {
        "right": {name: with_interval(*pair) for name, pair in right.items()},
        "flags": sorted(flags),
        "left_out": list(flags.get("left_out", {}).get("parts", ())),
        "forward": found.cost.forward,
        "backward": found.cost.backward,
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
    }


def with_interval(count: int, n: int) -> dict[str, Any]:
    """A count of n with its exact 95 % interval.

    >>> with_interval(0, 10)["interval"]
    [0.0, 0.3085]
    """
    low, high = clopper_pearson(count, n)
    return {
        "count": count,
        "n": n,
        "interval": [round(float(low), 4), round(float(high), 4)],
    }


def write(path: Path, n: int, m: int, found: Mapping[str, Any]) -> None:
    """The record; cells in the order of the whole table."""
    every = [
        cell.key for cell in cells(list(NETS), max(x.seeds for x in NETS.values()))
    ]
    record.write(
        path,
        {
            "question": "HPM beside its static net: AutoAttack, MSA paper and standard",
            "machine": record.machine() | {"device": "cpu"},
            "versions": versions(),
            "n": n,
            "deployed_batch": m,
            "nets": {name: asdict(net) for name, net in NETS.items()},
            "not_run": [key for key in every if key not in found],
            "cells": {key: found[key] for key in every if key in found},
        },
    )


def main() -> int:
    """Run the cells that are not there yet; each is written as it is finished."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=100, help="test images of each net")
    parser.add_argument("--m", type=int, default=50, help="rows of a deployed batch")
    parser.add_argument("--models", nargs="*", default=list(NETS), choices=list(NETS))
    parser.add_argument("--seeds", type=int, default=3, help="at most, of HPM")
    parser.add_argument("--kept", type=Path, default=Path("hpm_table_parts"))
    parser.add_argument("--out", type=Path, default=PATH)
    args = parser.parse_args()
    torch.set_num_threads(1)
    before = record.read(args.out)
    if before and (before["n"], before["deployed_batch"]) != (args.n, args.m):
        sys.stderr.write(f"{args.out} holds other n or m: give another --out\n")
        return 1
    for cell in cells(args.models, args.seeds):
        # read again: another run may have written other cells
        found = record.read(args.out).get("cells", {})
        if cell.key in found:
            continue
        one = measured(cell, args.n, args.m, args.kept)
        counts = {name: pair["count"] for name, pair in one["right"].items()}
        sys.stdout.write(f"{cell.key}: {counts}, {one['seconds']} s\n")
        sys.stdout.flush()
        found = record.read(args.out).get("cells", {})
        write(args.out, args.n, args.m, found | {cell.key: one})
    write(args.out, args.n, args.m, record.read(args.out).get("cells", {}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
