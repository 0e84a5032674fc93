"""How does a record become a Markdown table, and where was it measured?"""

from __future__ import annotations

from typing import Any


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def origin(data: dict[str, Any]) -> str:
    """The machine and the versions of a record."""
    machine, versions = data["machine"], data["versions"]
    return (
        f"\n{machine['cpu']}, {machine['cores']} cores; Python {versions['python']}, "
        f"torch {versions['torch']}.\n"
    )


def device(data: dict[str, Any]) -> str:
    """The GPU, or the CPU, and the versions of a record."""
    machine, versions = data["machine"], data["versions"]
    name = machine["cpu"] if machine["device"] == "cpu" else machine["device"]
    return f"\n{name}; Python {versions['python']}, torch {versions['torch']}.\n"
