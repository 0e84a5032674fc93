"""What does the record of whole profiles on three nets say as a table?"""

from __future__ import annotations

from typing import Any

from markdown_table import origin, table


def profile_three(data: dict[str, Any]) -> str:
    """Stages that ended, cost told before and spent, time; of each net its largest run."""
    largest: dict[tuple[str, str], dict[str, Any]] = {}
    for case in sorted(data["cases"], key=lambda one: int(one["n"])):
        largest[case["model"], case["profile"]] = case
    rows = []
    for (name, profile), case in sorted(largest.items()):
        told = case["told_by_spent"]
        unfit = ", ".join(case["not_applicable"]) or "none"
        ended = case["stages"] - len(case["failed"]) - len(case["not_applicable"])
        rows.append(
            [
                f"`{name}`",
                case["eps"],
                profile,
                str(case["n"]),
                f"{ended} of {case['stages']}",
                unfit,
                str(case["exit_code"]),
                f"{case['total']['spent']:,}",
                f"{told['guessed']:.2f} / {told['looked']:.2f}",
                f"{case['seconds']:.0f}",
            ]
        )
    head = ["model", "eps (Linf)", "profile", "images", "stages ended"]
    head += ["not applicable", "exit code", "row-passes", "told / spent", "seconds"]
    words = (
        "\nTold / spent: row-passes that the dry run says with usual shares of right and robust "
        "images, and with the run's own, over those spent.\n"
    )
    return table(head, rows) + words + origin(data)
