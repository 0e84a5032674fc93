"""What do the records of the Gaussian-mixture certificate say as tables?"""

from __future__ import annotations

from typing import Any

from markdown_table import origin, table

METHODS = "paper", "pairwise", "exact"
SHOWN = 0, 0.5, 1, 2
"""Radii of the synthetic table."""


def ellips_synthetic(data: dict[str, Any]) -> str:
    """Certified accuracy of the three radii, in percent."""
    head = ["covariance", "K", "R", "clean"]
    head += [f"eps = {eps:g}: paper / pairwise / exact" for eps in SHOWN[1:]]
    rows = []
    for case in data["cases"]:
        at = {eps: data["grid"].index(eps) for eps in SHOWN}
        shares = {m: case[m]["certified"] for m in METHODS}
        row = [case["covariance"], str(case["classes"]), f"{case['radius']:g}"]
        row += [f"{100 * shares['exact'][at[0]]:.1f}"]
        row += [
            " / ".join(f"{100 * shares[m][at[eps]]:.1f}" for m in METHODS)
            for eps in SHOWN[1:]
        ]
        rows.append(row)
    n = data["cases"][0]["n"]
    error = 100 * 0.5 / n**0.5
    words = (
        f"\nPercent of {n:,} draws, the same for all three (standard error at most {error:.2f}); "
        f"the nine reference values differ by at most {100 * data['largest']:.2f}.\n"
    )
    return table(head, rows) + words + origin(data)


def ellips_speed(data: dict[str, Any]) -> str:
    """What a radius costs."""
    head = [
        "head",
        "d",
        "K",
        "points in a call",
        "paper, ms a point",
        "pairwise",
        "exact",
    ]
    head += [
        "exact, nothing pruned",
        "rivals solved",
        "speed-up of a call",
        "of the solving",
    ]
    head += ["largest difference of a radius"]
    parts = data["parts"]
    cases = [("random", parts["random"]), *(("MNIST", one) for one in parts["mnist"])]
    rows = []
    for name, case in cases:
        times = case["ms_a_point"]
        rows.append(
            [
                name,
                *(str(case[key]) for key in ("dim", "classes", "points")),
                *(f"{times[m]:.3f}" for m in (*METHODS, "exact_unpruned")),
                f"{case['solved']:.2f} of {case['of']}",
                f"{case['speed_up']:.2f}",
                f"{case['speed_up_solving']:.2f}",
                f"{case['largest_difference']:.1g}",
            ]
        )
    return table(head, rows) + "\n" + _many(parts["many"]) + origin(data)


def _many(cases: list[dict[str, Any]]) -> str:
    head = ["K", "d", "points", "ms a point", "pairs decomposed", "rivals solved"]
    head += ["memory of the process, GB", "of that: imports, head"]
    rows = [
        [
            f"{case['classes']:,}",
            str(case["dim"]),
            str(case["points"]),
            f"{case['ms_a_point']:.0f}",
            f"{case['decompositions']:,} of {case['pairs']:,}",
            f"{case['solved']:.1f}",
            f"{case['gigabytes']['radii']:.2f}",
            f"{case['gigabytes']['imports']:.2f}, {case['gigabytes']['head']:.2f}",
        ]
        for case in cases
    ]
    return table(head, rows)
