"""What do the records of images from elsewhere and of second test sets say as tables?"""

from __future__ import annotations

from typing import Any

from markdown_table import origin, table

NAMES = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "fpr95_inside": "FPR95, inside",
    "fpr95_outside": "FPR95, outside",
}


def ood(data: dict[str, Any]) -> str:
    """AUROC by set and score with intervals, and the share that passes for the first score."""
    rows = []
    for name, case in data["cases"].items():
        for key, one in case["sets"].items():
            cells = [_ends(one[score], "auroc") for score in case["scores"]]
            passed = [
                f"{100 * one[score]['fpr95_inside']:.0f}" for score in case["scores"]
            ]
            rows.append(
                [f"`{name}`", f"{key} ({one['kind']})", *cells, " / ".join(passed)]
            )
    head = ["model", "set", *next(iter(data["cases"].values()))["scores"]]
    cost = ", ".join(
        f"`{name}` {case['forward_row_passes']:,} forward, "
        f"{case['backward_row_passes']:,} backward, {case['seconds']:.0f} s"
        for name, case in data["cases"].items()
    )
    n = next(iter(data["cases"].values()))["n"]
    words = f"\n{n} images of each set; AUROC with 95 % bootstrap intervals. Cost: {cost}.\n"
    return table([*head, "% passed, by score"], rows) + words + origin(data)


def _ends(cell: dict[str, Any], key: str) -> str:
    low, high = cell[f"{key}_interval"]
    return f"{cell[key]:.3f} [{low:.3f}, {high:.3f}]"


def ood_coverage(data: dict[str, Any]) -> str:
    """How often the intervals hold the truth."""
    rows = [
        [
            f"{case['distance']:g}",
            str(case["n"]),
            f"{case['truth']['auroc']:.4f}",
            *(f"{100 * case['coverage'][name]:.1f}" for name in NAMES),
            f"{100 * case['plain_auroc']:.1f}",
            f"{case['mean_length_auroc']:.3f}",
        ]
        for case in data["cases"]
    ]
    head = ["distance", "N", "true AUROC", *NAMES.values(), "AUROC, plain bootstrap"]
    words = (
        f"\nPercent of {data['samples']} samples whose 95 % interval holds the truth, "
        f"{data['resamples']} resamples each.\n"
    )
    return table([*head, "mean length (AUROC)"], rows) + words + origin(data)


def shift(data: dict[str, Any]) -> str:
    """The drop on CIFAR-10.1 of some models, and on JPEG copies."""
    known = data["cifar10_1"]
    by_drop = sorted(known, key=lambda name: known[name]["drop"])
    shown = [*by_drop[:3], *by_drop[-3:]]
    rows = [["CIFAR-10.1", f"`{name}`", *_drop(known[name])] for name in shown]
    rows += [
        ["JPEG copies", f"`{name}`", *_drop(case)]
        for name, case in data["jpeg"].items()
    ]
    head = ["second set", "model", "accuracy", "there", "points lost (95 %)", "pairs"]
    words = (
        f"\n{len(known)} models in the record, the three with the least and the most loss here; "
        f"lost are {_points(by_drop[0], known)} to {_points(by_drop[-1], known)} points.\n"
    )
    return table(head, rows) + words + origin(data)


def _points(name: str, known: dict[str, Any]) -> str:
    return f"{100 * known[name]['drop']:.1f}"


def _drop(case: dict[str, Any]) -> list[str]:
    low, high = (100 * side for side in case["drop_interval"])
    pairs = "other images"
    if case["paired"]:
        only, there = case["only_here"], case["only_there"]
        pairs = f"{only} lost, {there} won of {case['n']:,} (p = {case['p_value']:.1g})"
    return [
        f"{100 * case['accuracy']:.1f} %",
        f"{100 * case['other_accuracy']:.1f} %",
        f"{100 * case['drop']:.1f} [{low:.1f}, {high:.1f}]",
        pairs,
    ]
