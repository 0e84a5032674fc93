"""What does the record of corruptions say as a table?"""

from __future__ import annotations

from typing import Any

from markdown_table import origin, table


def stress(data: dict[str, Any]) -> str:
    """Means with intervals, then one row a corruption with its five severities a model."""
    cases = data["cases"]
    rows = []
    for name, case in cases.items():
        low, high = (100 * side for side in case["mean_accuracy_interval"])
        rows.append(
            [
                f"`{name}`",
                str(case["n"]),
                f"{100 * case['clean_accuracy']:.1f} %",
                f"{100 * case['mean_accuracy']:.1f} % [{low:.1f}, {high:.1f}]",
                f"{100 * case['mean_corruption_error']:.1f} %",
                f"{case['forward_row_passes']:,}",
            ]
        )
    n = len(next(iter(cases.values()))["over"])
    head = ["model", "images", "clean", f"mean over {n} (95 % interval)", "mean error"]
    first = table([*head, "row-passes"], rows)
    return f"{first}\n{_cells(cases)}{origin(data)}"


def _cells(cases: dict[str, Any]) -> str:
    one = next(iter(cases.values()))
    rows = []
    for name in one["accuracy"]:
        own = "" if name in one["over"] else " *"
        cells = [
            " / ".join(f"{100 * value:.0f}" for value in case["accuracy"][name])
            for case in cases.values()
        ]
        rows.append([f"`{name}`{own}", *cells])
    head = [f"`{name}`, severity 1 / ... / 5" for name in cases]
    return table(["accuracy in %", *head], rows) + "\n\\* in no mean.\n"
