"""What does lambda_max of the input Fisher information cost beside the reference code's loop?

On a net: pyautoattack's own ResNet-18, 10 classes, and the same body with a random head of 1,000
(weights such that the logits are about N(0, 1)). The reference takes one image, a forward, and a
backward a class, which also adds to the parameters' gradients, and then all eigenvalues of a
K x K matrix (fim_loops.py). Ours is what FIMScore takes for the score, on a batch: the Gram matrix
for 10 classes, Lanczos for 1,000; what `measure` adds (its Linf value, ..) is in "measure". Times
are minima over alternations; `interval` is a 95 % percentile bootstrap of the ratio of minima. The
long loop over 1,000 classes is timed in blocks of 50 and counted as 20 times its least block.

On random matrices, no net: the paper's tables 17 to 19 with G ~ N(0, 1) of K rows and D columns,
less its mean under p, and p = softmax(N(0, 1)); a method counts when it is within .1 % of the truth
in every draw of p. All sides get the same G and p. "ours" is numerics/fisher/dense.py, which takes
all pairs of rows or, for many of them, Lanczos; "gram" and "lanczos" are the routines for networks,
which see the products of G only, "loose" is Lanczos without its proof that no larger eigenvalue
was missed (miss = inf). `cpu_..` is the process's own time: on a shared machine, with one thread,
the fairer one.

Run: MALLOC_MMAP_THRESHOLD_=4294967295 MALLOC_TRIM_THRESHOLD_=4294967295 python
benchmarks/fim_cost.py [--n 20] [--quick] [--only net] [--device cuda]
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import record
import tax_data
import torch
from fim_loops import (
    SIZES,
    Matrix,
    OneImage,
    Times,
    alternate,
    direct,
    largest_of_draws,
    largest_quotients,
    plain_gradients,
    power,
    seconds,
    values,
    whole_loop,
    wide_net,
)
from prtest_throughput import interval, resnet18
from torch import Tensor, nn

from torchattacks_ext import FIMScore
from torchattacks_ext.models.jvp import model_action
from torchattacks_ext.numerics.fisher.spectral import Ending
from torchattacks_ext.numerics.fisher.top import Method, TopFisher, top_fisher
from torchattacks_ext.results.base.facts import versions

BATCH, FEW, BLOCK, N_CLASSES = 16, 4, 50, 1000
CLOSE = 1e-3
ASKED = {"net10": (4.0, 1.0), "net1000": (30.0, None), "factors": 1.05}


def ours(
    model: nn.Module, images: Tensor, method: Method
) -> tuple[TopFisher, dict[str, int]]:
    """The score of a batch as FIMScore takes it, and the row-passes of one image."""
    probe = FIMScore(model, method=method)
    with probe._session():
        action = model_action(probe._scored(), images)
        found = top_fisher(action, method)
    spent = action.passes
    return found, {
        kind: round(getattr(spent, kind) / len(images), 2)
        for kind in ("forward", "vjp", "jvp")
    }


def compared(
    wall: Times, own: Times, sizes: dict[str, int], scale: int = 1, more: float = 0.0
) -> dict[str, Any]:
    """Least times an image, and the reference's over ours; its own are `scale` t + `more`."""

    def each(times: Times, name: str) -> list[float]:
        reference = name == "reference"
        factor, rest = (scale, more) if reference else (1, 0.0)
        return [(factor * t + rest) / sizes[name] for t in times[name]]

    walls, owns = ({name: each(side, name) for name in wall} for side in (wall, own))
    least, cpu = ({name: min(t) for name, t in side.items()} for side in (walls, owns))
    found: dict[str, Any] = {
        "seconds_an_image": {name: round(t, 5) for name, t in least.items()},
        "cpu_seconds_an_image": {name: round(t, 5) for name, t in cpu.items()},
        "ratio": round(least["reference"] / least["ours"], 3),
        "interval": interval(walls["reference"], walls["ours"]),
        "cpu_ratio": round(cpu["reference"] / cpu["ours"], 3),
        "cpu_interval": interval(owns["reference"], owns["ours"]),
    }
    if "bare" in wall:
        found |= {
            "share_of_bare": round(least["ours"] / least["bare"], 4),
            "share_interval": interval(walls["ours"], walls["bare"]),
            "cpu_share_of_bare": round(cpu["ours"] / cpu["bare"], 4),
        }
    return found


def few_classes(n: int, device: str) -> dict[str, Any]:
    """K = 10: their loop, ours, and the bare gradients."""
    model, images = resnet18().to(device), tax_data.test_images("cifar10", BATCH)[0]
    images, bare = images.to(device), copy.deepcopy(model)
    bare.requires_grad_(False)
    found, passes = ours(model, images, "gram")
    lams = [whole_loop(model, images[i : i + 1]) for i in range(FEW)]
    probe = FIMScore(model, method="gram", batch_size=BATCH)
    short = FIMScore(model, method="gram", batch_size=BATCH, kl=False)
    calls: dict[str, Callable[[], object]] = {
        "reference": lambda: [whole_loop(model, image[None]) for image in images[:FEW]],
        "ours": lambda: ours(model, images, "gram"),
        "bare": lambda: plain_gradients(bare, images),
        "measure": lambda: probe.measure(images, ids=list(range(BATCH))),
        "measure_kl_off": lambda: short.measure(images, ids=list(range(BATCH))),
    }
    wall, own = alternate(calls, n, device, {"measure": 3, "measure_kl_off": 3})
    sizes = dict.fromkeys(calls, BATCH) | {"reference": FEW}
    errors = [abs(a / b - 1) for a, b in zip(lams, found.log_lam.exp().tolist())]
    return {
        "classes": 10,
        "batch": BATCH,
        "alternations": n,
        **compared(wall, own, sizes),
        "passes": {"reference": {"forward": 1, "vjp": 10}, "ours": passes},
        "largest_difference": max(errors),
        "asked": ASKED["net10"],
    }


def many_classes(n: int, device: str) -> dict[str, Any]:
    """K = 1000: blocks of their loop in turn with ours."""
    images = tax_data.test_images("cifar10", FEW)[0]
    model, images = wide_net(images, N_CLASSES, device), images.to(device)
    found, passes = ours(model, images, "lanczos")
    begin = [seconds(lambda: OneImage(model, images[:1]), device) for _ in range(3)]
    loop, turn = OneImage(model, images[:1]), iter(range(n))

    def block() -> None:
        first = next(turn) * BLOCK % N_CLASSES
        loop.rows(range(first, first + BLOCK))

    calls = {"reference": block, "ours": lambda: ours(model, images, "lanczos")}
    wall, own = alternate(calls, n, device)
    scale, whole = N_CLASSES // BLOCK, len(loop.found) == N_CLASSES
    rest = min(begin) + (seconds(loop.top, device) if whole else 0.0)
    sizes = {"reference": 1, "ours": FEW}
    lam = found.log_lam[0].exp().item()
    return {
        "classes": N_CLASSES,
        "batch": FEW,
        "alternations": n,
        **compared(wall, own, sizes, scale, rest),
        "reference_whole_loop": rest + sum(wall["reference"]) if n == scale else None,
        "passes": {"reference": {"forward": 1, "vjp": N_CLASSES}, "ours": passes},
        "iterations": found.n_iterations.tolist(),
        "status": [Ending(x).name.lower() for x in found.status.tolist()],
        "largest_difference": abs(loop.top() / lam - 1) if whole else None,
        "asked": ASKED["net1000"],
    }


def factors(k: int, n: int, device: str) -> dict[str, Any]:
    """Tables 17 and 18 at one K: time and error over draws of p, then equal p."""
    matrix, cases, least = Matrix(k, device), [], {}
    calls = {
        "direct": lambda: direct(matrix.rows, matrix.p),
        "power": lambda: power(matrix.rows, matrix.p),
        "quotients": lambda: largest_of_draws(matrix.rows, matrix.p),
        "ours": matrix.ours,
        "lanczos": lambda: matrix.search("lanczos"),
        "loose": lambda: matrix.search("lanczos", float("inf")),
    }
    if k <= 16:
        calls["gram"] = lambda: matrix.search("gram")
    if k > 1000:  # less than it takes: 10 times a tenth of the products, no eigenvalues
        calls["direct"] = lambda: matrix.rows[: k // 10] @ matrix.rows.T
    fewer = {"direct": 1, "quotients": 1} if k >= 1000 else {"quotients": 3}
    n = min(n, 4) if k >= 1000 else n
    for _ in range(SIZES[k][1] if n > 3 else 2):
        matrix.draw()
        cases.append(values(matrix, matrix.truth()))
        for name, times in alternate(calls, n, device, fewer)[0].items():
            scale = 10 if k > 1000 and name == "direct" else 1
            least.setdefault(name, []).append(scale * min(times))
    matrix.draw(equal=True)
    hard = values(matrix, matrix.truth())
    return judged(k, n, cases, least) | {"equal_p": hard}


def judged(
    k: int, n: int, cases: list[dict[str, Any]], least: dict[str, list[float]]
) -> dict[str, Any]:
    """Means over the draws of p, and ours against the fastest of theirs that is right."""
    mean = {name: sum(times) / len(times) for name, times in least.items()}
    known = [name for name in least if name in cases[0]["errors"]]
    worst = {x: max(case["errors"][x] for case in cases) for x in known}
    theirs = ("direct", "power", "quotients")
    right = [x for x in theirs if worst.get(x, 0.0) <= CLOSE]
    rival = min(right, key=lambda x: mean[x])
    ways = ("ours", "gram", "lanczos", "loose")
    mine = [x for x in ways if worst.get(x, 1.0) <= CLOSE]
    return {
        "rows": k,
        "columns": SIZES[k][0],
        "alternations": n,
        "seconds": mean,
        "seconds_by_draw": least,
        "largest_error": worst,
        "fastest_right": rival,
        "ratio": {x: round(mean[x] / mean[rival], 3) for x in mine},
        "asked": ASKED["factors"],
        "cases": cases,
    }


def parts(n: int, device: str, quick: bool) -> dict[str, Callable[[], dict[str, Any]]]:
    """All parts of the record by name."""
    found: dict[str, Callable[[], dict[str, Any]]] = {
        "net10": partial(few_classes, n, device),
        "net1000": partial(many_classes, n, device),
    }
    for k in SIZES:
        if k <= 100 or not quick:
            found[f"factors{k}"] = partial(factors, k, n, device)
    return found | {"quotients": partial(largest_quotients, device, quick)}


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=20, help="alternations of each part")
    parser.add_argument("--quick", action="store_true", help="3 of them, small sizes")
    parser.add_argument("--only", default="", help="parts with this in their name")
    parser.add_argument(
        "--threads",
        type=int,
        help="of torch, one run each; its own choice if not given",
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--kept", type=Path, default=Path("fim_cost_parts"))
    parser.add_argument("--out", type=Path, default=record.RESULTS / "fim_cost.json")
    return parser.parse_args()


def kept_runs(kept: Path, n: int, device: str) -> list[dict[str, Any]]:
    """What is kept, by number of threads."""
    found: dict[int, dict[str, Any]] = {}
    names = list(parts(n, "cpu", False))
    for path in kept.glob(f"*-{n}-{device}-*.json".replace(" ", "_")):
        name, threads = path.stem.split("-")[0], int(path.stem.split("-")[-1])
        found.setdefault(threads, {})[name] = record.read(path)
    return [
        {"threads": threads, "parts": {x: done[x] for x in names if x in done}}
        for threads, done in sorted(found.items())
    ]


def main() -> None:
    """Run the parts that are not kept yet, and write the record of all that are."""
    args = arguments()
    n = 3 if args.quick else args.n
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    device = "cpu" if args.device == "cpu" else torch.cuda.get_device_name()
    end = f"{n}-{device}-{torch.get_num_threads()}.json".replace(" ", "_")
    for name, run in parts(n, args.device, args.quick).items():
        path = args.kept / f"{name}-{end}"
        if path.is_file() or args.only not in name:
            continue
        torch.manual_seed(0)
        record.write(path, run())
        sys.stdout.write(f"{path.stem}: {record.read(path)}\n")
        sys.stdout.flush()
    malloc = os.environ.get("MALLOC_MMAP_THRESHOLD_", "not set")
    record.write(
        args.out,
        {
            "question": "lambda_max of the input Fisher information: ours and the reference's",
            "machine": record.machine() | {"device": device, "malloc": malloc},
            "versions": versions(),
            "n": n,
            "runs": kept_runs(args.kept, n, device),
        },
    )


if __name__ == "__main__":
    main()
