"""How are certificates of three kinds, and replayed logs of smoothing, told in the README?"""

from __future__ import annotations

from typing import Any

from markdown_table import origin, table

SETS = {"mnist": "MNIST", "pneumoniamnist": "PneumoniaMNIST", "cifar10": "CIFAR-10"}
KINDS = ("Ellips", "RandomizedSmoothing", "SmoothedEllips")


def certify(data: dict[str, Any]) -> str:
    """Shares, row-passes and seconds of each certificate on each data set, then early stopping."""
    cells, rows = data["cells"], []
    radii = [f"{eps:g}" for eps in data["eps"] if eps > 0]
    for dataset, title in SETS.items():
        for kind in KINDS:
            one = cells.get(f"{dataset}/{kind}")
            if one is not None:
                rows.append([title, f"`{kind}`", *_row(one, radii)])
        whole = cells[f"{dataset}/Ellips"]["all_test_images"]
        rows.append([title, f"`Ellips`, {whole['n']:,} images", *_row(whole, radii)])
    head = ["data", "certificate", "status", "clean", *(f"eps {eps}" for eps in radii)]
    text = table([*head, "row-passes an image", "CPU s an image"], rows)
    text += (
        f"\n{data['n']} test images; certified accuracy beyond L2 radii in pixel units, smoothed "
        f"ones at level .001. Exact 95 % intervals of shares of {data['n']} images reach up to .15 "
        "to either side.\n"
    )
    return text + _early(cells) + origin(data)


def _row(one: dict[str, Any], radii: list[str]) -> list[str]:
    shares = [f"{one['certified'][eps][0]:.2f}" for eps in radii]
    seconds = one["cpu_seconds_an_image"]
    return [
        one["tier"],
        f"{one['clean']:.2f}",
        *shares,
        f"{one['row_passes_an_image']:,.0f}",
        f"{seconds:.1f}" if seconds >= 0.1 else f"{seconds:.5f}",
    ]


def _early(cells: dict[str, Any]) -> str:
    rows = []
    for dataset, title in SETS.items():
        one = cells.get(f"{dataset}/early")
        if one is not None:
            rows.append(
                [
                    title,
                    f"{one['eps']:g}",
                    f"{one['row_passes_an_image']:,.0f}",
                    f"{one['of_all_draws']:,.0f}",
                    f"**{one['times_fewer']:.0f} x**",
                    f"{one['certified']} / {one['certified_by_all_draws']} of {one['n']}",
                    f"{one['only_early']} / {one['only_all_draws']}",
                ]
            )
    if not rows:
        return ""
    head = ["one radius alone", "eps", "row-passes an image", "all draws", "fewer"]
    head += ["certified: early / all draws", "by one of them only"]
    return "\n" + table(head, rows)


def smoothing_logs(data: dict[str, Any]) -> str:
    """Images certified and row-passes of early stopping, beside the published log."""
    rows = []
    for one in data["cases"]:
        low, high = min(one["certified"]), max(one["certified"])
        few, many = min(one["times_fewer"]), max(one["times_fewer"])
        rows.append(
            [
                f"{one['sigma']:g}",
                f"{one['eps']:g}",
                f"{one['published']:,}",
                f"{low:,} to {high:,}",
                f"{100 * one['difference']:+.1f} %",
                f"{one['row_passes_an_image']:,.0f}",
                f"{few:.0f} to {many:.0f} x",
            ]
        )
    head = ["sigma", "radius", "images in the log", f"early, {data['seeds']} seeds"]
    head += ["difference", "row-passes an image", f"fewer than {data['n']:,}"]
    largest = ", ".join(
        f"{log:g} ({ours:.4f}) at sigma {float(sigma):g}"
        for sigma, (log, ours) in data["largest"].items()
    )
    words = f"\nLargest radius of each log, and that of the formula: {largest}.\n"
    return table(head, rows) + words + origin(data)
