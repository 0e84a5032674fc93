"""What do the records of the data audit and of budgeted accuracy say as tables?"""

from __future__ import annotations

from typing import Any

from markdown_table import origin, table


def data_audit(data: dict[str, Any]) -> str:
    """Exact copies by pair of splits; near copies found and others taken for copies."""
    rows = []
    for name, audit in data["audits"].items():
        for one in audit["pairs"]:
            other = "itself" if one["split"] == one["other"] else one["other"]
            rows.append(
                [name, one["split"], other, f"{one['exact']:,}", f"{one['near']:,}"]
            )
    exact = table(["data", "images of", "in", "exact copies", "near copies"], rows)
    clashes = ", ".join(
        f"{name} {audit['clashes']}, {audit['images']:,} images in {audit['seconds']:.1f} s"
        for name, audit in data["audits"].items()
    )
    near = [
        [
            one["case"],
            f"{one['own']:,} of {one['n']:,} ({100 * one['own'] / one['n']:.1f} %)",
            f"{one['others']:,} of {one['n'] * (one['against'] - 1):,}",
            f"{one['seconds']:.2f}",
        ]
        for one in data["near"]
    ]
    head = ["near copies", "own copy found", "other pairs taken for copies", "seconds"]
    by = [
        [f"{one['threshold']:g}", f"{one['pairs']:,}", f"{one['images']:,}"]
        for one in data["thresholds"]
    ]
    chosen = ["threshold", "pairs among 10,000 MNIST digits", "images in them"]
    return (
        f"{exact}\nLabel clashes: {clashes} (one thread).\n\n"
        f"{table(head, near)}\n{table(chosen, by)}{origin(data)}"
    )


def budgeted_accuracy(data: dict[str, Any]) -> str:
    """Coverage of intervals from a number of full attacks, and what a half width costs."""
    words = list(data["coverage"][0]["intervals"])
    head = ["broken of survivors", "full attacks", *words]
    rows = []
    for one in data["coverage"]:
        cells = [
            f"{found['covers']:.3f} (±{100 * found['half_width']:.2f})"
            for found in one["intervals"].values()
        ]
        rows.append([one["shape"], str(one["runs"]), *cells])
    cost = [
        [
            one["shape"],
            one["method"],
            f"{one['runs']:,.0f}",
            f"{one['simple_runs']:,.0f}",
            f"{one['runs'] / one['simple_runs']:.2f}",
            f"{100 * one['half_width']:.2f}",
            f"{one['covers']:.3f}",
            f"{one['replays']:,}",
        ]
        for one in sorted(
            data["cost"],
            key=lambda one: (list(data["shapes"]).index(one["shape"]), one["method"]),
        )
    ]
    names = [
        "broken of survivors",
        "method",
        "full attacks",
        "simple sampling",
        "ratio",
    ]
    names += ["half width, points (asked 1.00)", "covers", "replays"]
    return (
        f"{table(head, rows)}\nShare of {data['replays']:,} replays in which the nominal "
        f"{100 * data['confidence']:g} % interval holds the number of a full run (mean half "
        f"width, in points of accuracy).\n\n{table(names, cost)}{origin(data)}"
    )


def budgeted_truth(data: dict[str, Any]) -> str:
    """Coverage, half width and cost against flags of AutoAttack; textbook intervals beside."""
    rows, others, told, least = [], [], [], []
    for name, cells in data["models"].items():
        for what, one in cells.items():
            if not isinstance(one, dict):
                continue
            if "ratio" in one:
                rows.append([f"`{name}`", what, *_replayed(one)])
            elif "intervals" in one:
                found = [
                    f"{i['covers']:.3f} (±{100 * i['half_width']:.2f})"
                    for i in one["intervals"].values()
                ]
                others.append([f"`{name}`", what, str(one["runs"]), *found])
            elif what.startswith("strata"):
                wide = [f"±{100 * way['half_width']:.2f}" for way in one.values()]
                told.append([f"`{name}`", f"{one['one stratum']['runs']:,.0f}", *wide])
            elif what.startswith("floor"):
                ends = [f"{n['normal']:,.0f}; {n['exact']:,.0f}" for n in one.values()]
                least.append([f"`{name}`", *ends])
    head = ["model", "cheap attack; images", "survivors", "of these broken", "covers"]
    head += ["lowest let pass", "half width, points", "full attacks", "simple sampling"]
    known = next(iter(data["models"].values()))
    names = list(known["textbook"]["intervals"])
    last = next(reversed(data["models"].values()))
    ways = next(v for k, v in last.items() if k.startswith("strata"))
    counts = next(v for k, v in last.items() if k.startswith("floor"))
    return (
        f"{table([*head, 'ratio', 'replays'], rows)}\nIntervals of nominally "
        f"{100 * data['confidence']:g} % from a number of attacks after PGD (share of replays that "
        f"hold, mean half width in points):\n\n"
        f"{table(['model', 'images', 'full attacks', *names], others)}\nStrata by PGD's margin, of "
        f"10,000 images: half widths of exact intervals from the same number of attacks (split "
        f'where the tables of "joint" are too large).\n\n'
        f"{table(['model', 'full attacks', *ways], told)}\nFloor: attacks for ±1 point if the "
        f"shares of so many strata were known, by a normal interval; by any exact one.\n\n"
        f"{table(['model', *[f'{n} strata' for n in counts]], least)}{origin(data)}"
    )


def _replayed(one: dict[str, Any]) -> list[str]:
    """The cells of one population."""
    return [
        f"{one['survivors']:,}",
        f"{one['broken']:,}",
        f"{one['covers']:.3f}",
        f"{one['least']:.3f}",
        f"{100 * one['half_width']:.2f}",
        f"{one['runs']:,.0f}",
        f"{one['simple_runs']:,.0f}",
        f"{one['ratio']:.3f}",
        f"{one['replays']:,}",
    ]
