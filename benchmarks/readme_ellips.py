"""What does the record of certified accuracy say as tables?"""

from __future__ import annotations

from typing import Any

from markdown_table import origin, table

NAMES = {
    "pca64-qda": "no training: 64 principal directions, fitted Gaussians",
    "pca128-head": "128 principal directions, trained head",
    "linear128": "**orthogonal 784-128 and head, trained**",
    "linear128-refit": "the same encoder, Gaussians fitted anew",
    "maxmin128": "orthogonal 784-784, MaxMin, 784-128 and head, trained",
}


def ellips_mnist(data: dict[str, Any]) -> str:
    """Certified accuracies, their differences to the first row, and the attacks."""
    rows = [_row(name, data["rows"][name]) for name in NAMES if name in data["rows"]]
    radii = list(data["rows"]["linear128"]["certified"])
    head = [
        "status: certified",
        *(f"eps {eps}" if eps != "0" else "clean" for eps in radii),
    ]
    text = table([*head, "L", "training, CPU s"], rows)
    text += (
        f"\nL2 radii, first {data['n']:,} test images, exact 95 % intervals; below them the paired "
        "difference to the first row. One forward row-pass an image.\n"
    )
    return text + _attacks(data.get("attacks", {})) + origin(data)


def _row(name: str, row: dict[str, Any]) -> list[str]:
    cells = []
    for eps, (value, low, high) in row["certified"].items():
        cell = f"{value:.3f} [{low:.3f}, {high:.3f}]"
        if "paired" in row:
            gap, least, most = row["paired"][eps][:3]
            cell += f"<br>{gap:+.3f} [{least:+.3f}, {most:+.3f}]"
        cells.append(cell)
    spent = row.get("train_cpu_seconds")
    return [
        NAMES[name],
        *cells,
        f"{row['L']:.6f}",
        "-" if spent is None else f"{spent:.0f}",
    ]


def _attacks(attacks: dict[str, Any]) -> str:
    if "all" not in attacks:
        return ""
    rows = [
        [
            name,
            f"{one['broken']:,} of {one['images']:,}",
            str(one["inside"]),
            _number(one["least_ratio"]),
            _number(one["median_ratio"]),
        ]
        for name, one in attacks.items()
    ]
    head = ["attack on the trained row", "answers changed", "inside the radius"]
    text = "\n" + table([*head, "least size / radius", "median of those changed"], rows)
    whole = _number(attacks["all"]["median_ratio_all"])
    return (
        text
        + f"\nMedian over all images, those that nothing changed as infinite: {whole}.\n"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
