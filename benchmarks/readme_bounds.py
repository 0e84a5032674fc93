"""How are the records of bounds and certificates told in the README?"""

from __future__ import annotations

from typing import Any

from markdown_table import origin, table


def _power(value: float | None) -> str:
    """Powers of ten."""
    return "none" if value is None else f"10^{value:.1f}"


def fisher_bounds(data: dict[str, Any]) -> str:
    """Upper bounds of lambda beside lambda."""
    head = [
        "network",
        "K",
        "accuracy",
        "lambda: median",
        "largest",
        "bound, every input",
    ]
    head += ["bound / largest", "bound at a point / lambda there", "paper's formula"]
    rows = []
    for name, found in data["cases"].items():
        above, at = found["above_largest"], found["above_at_point"]
        accuracy = found.get("accuracy")
        rows.append(
            [
                name,
                f"{found['classes']:,}",
                "" if accuracy is None else f"{100 * accuracy:.1f} %",
                _power(found["lambda"]["median"]),
                _power(found["lambda"]["largest"]),
                _power(found["global"]),
                _power(above),
                _power(at["median"]),
                _power(found["paper"]),
            ]
        )
    cost = ", ".join(
        f"{name.partition(',')[0]} {found['seconds']:.0f} s"
        for name, found in data["cases"].items()
        if found["classes"] == 1000
    )
    cases = data["cases"].values()
    checks = sum(found["points"] for found in cases)
    checks += sum(found["images"] for found in cases if found["global"] is not None)
    broken = sum(found["violations"] for found in cases)
    words = (
        f"\n{broken} violations in {checks} comparisons. CPU time of one call at 224 pixels, one "
        f"thread: {cost}; a small net takes below a second.\n"
    )
    return table(head, rows) + words + origin(data)
