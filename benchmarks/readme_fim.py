"""What do the records of FIMScore say as tables?"""

from __future__ import annotations

from typing import Any

from markdown_table import device, table


def fim_blackbox(data: dict[str, Any]) -> str:
    """The black-box score against the exact one."""
    found = data["summary"]
    queries = ", ".join(map(str, found["queries"]))
    head = ["images", "queries", "mean ratio", "relative sd", "coverage of 95 %"]
    row = [
        str(found["n"]),
        queries,
        f"{found['mean_ratio']:.3f}",
        f"{found['relative_sd']:.3f}",
        f"{found['coverage']:.2f}",
        f"{found['theirs_mean_ratio']:.4f}",
    ]
    return table([*head, "the paper's, mean ratio"], [row]) + device(data)
