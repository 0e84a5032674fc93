"""What does the record of Lipschitz bounds say as tables?"""

from __future__ import annotations

from typing import Any

from markdown_table import origin, table


def lipschitz_tightness(data: dict[str, Any]) -> str:
    """Bound / truth a kind of layer, promises against measurements, radii near images."""
    parts = [_kinds(data["kinds"]), _promises(data["promises"]), _ball(data["ball"])]
    return "\n".join(parts) + origin(data)


def _kinds(kinds: dict[str, Any]) -> str:
    rows = [
        [
            name if row["exact_truth"] else f"{name} *",
            str(row["n"]),
            str(row["violations"]),
            *(_ratio(row[key]) for key in ("median", "p90", "max")),
            f"{row['ms']:.0f}",
        ]
        for name, row in kinds.items()
    ]
    head = [
        "layers",
        "drawn",
        "bound < truth",
        "median bound / truth",
        "90 %",
        "max",
        "ms a layer",
    ]
    words = "\\* not affine: the truth is the largest Jacobian norm at three random points.\n"
    return table(head, rows) + "\n" + words


def _ratio(value: float) -> str:
    if value - 1 < 1e-6:
        return "1 (within 1e-6)"
    return f"{value:.3f}"


def _promises(rows: list[dict[str, Any]]) -> str:
    head = ["sold as 1-Lipschitz", "true norm", "bound"]
    lines = [
        [f"`{row['name']}`", f"{row['truth']:.4g}", f"{row['bound']:.4g}"]
        for row in rows
    ]
    return table(head, lines)


def _ball(rows: list[dict[str, Any]]) -> str:
    head = [
        "latent radius / median distance",
        "images",
        "radius / (rho / product)",
        "least",
    ]
    head += ["attack / radius", "attacks inside", "ms an image"]
    lines = [
        [
            f"{row['part']:g}",
            str(row["images"]),
            f"{row['gain']:.2f}",
            f"{row['least_gain']:.2f}",
            f"{row['attack']:.2f}",
            str(row["violations"]),
            f"{row['ms']:.0f}",
        ]
        for row in rows
    ]
    return table(head, lines)
