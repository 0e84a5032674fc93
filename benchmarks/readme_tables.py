"""Do the tables of the READMEs say what the JSON records say?

This writes them; a test compares them.

Run: python benchmarks/readme_tables.py [--check]
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import record

FILES = (record.ROOT / "README.md", record.ROOT / "benchmarks" / "README.md")
BLOCK = re.compile(r"(<!-- from: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _origin(data: dict[str, Any]) -> str:
    machine, versions = data["machine"], data["versions"]
    return (
        f"\n{machine['cpu']}, {machine['cores']} cores; Python {versions['python']}, "
        f"torch {versions['torch']}.\n"
    )


def prtest_data(data: dict[str, Any]) -> str:
    """Verdicts and cost of PRTest on real models."""
    rows = []
    for name, case in data["cases"].items():
        low, high = (100 * side for side in case["pra_interval"])
        eps = case["eps"]
        radius = f"{eps * 255:.0f}/255" if case["dataset"] == "cifar10" else f"{eps:g}"
        rows.append(
            [
                f"`{name}`",
                radius,
                str(case["n"]),
                f"{100 * case['clean_accuracy']:.1f} %",
                f"{case['robust']} ({100 * case['pra']:.1f} %, [{low:.1f}, {high:.1f}])",
                str(case["not_robust"]),
                str(case["undecided"]),
                str(case["misclassified"]),
                f"{case['mean_samples_of_tested']:.0f}",
                f"{case['forward_row_passes']:,}",
                f"{case['seconds']:.0f}",
            ]
        )
    head = ["model", "eps (Linf)", "images", "clean", "robust (95 % interval)"]
    head += ["not robust", "undecided", "misclassified", "draws an image tested"]
    return _table([*head, "row-passes", "seconds"], rows) + _origin(data)


def verified_rows(data: dict[str, Any]) -> str:
    """PRTest against formal verdicts."""
    total = data["total"]
    row = [f"{total[key]:,}" for key in ("rows", "samples", "failures", "certified")]
    head = ["rows proved robust", "draws", "failures found", "certified by PRTest"]
    seconds = f"{data['seconds']:.0f}"
    return _table([*head, "seconds"], [[*row, seconds]]) + _origin(data)


def import_time(data: dict[str, Any]) -> str:
    """Process start against torchattacks."""
    low, high = data["interval"]
    minima = data["minima"]
    row = [
        f"{minima['torchattacks']:.2f} s",
        f"{minima['torchattacks_ext']:.2f} s",
        f"{data['ratio']:.3f} [{low:.3f}, {high:.3f}]",
        str(data["n"]),
    ]
    head = [
        "import torchattacks",
        "import torchattacks_ext",
        "ratio of minima",
        "starts",
    ]
    return _table(head, [row]) + _origin(data)


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "prtest_data": prtest_data,
    "verified_rows": verified_rows,
    "import_time": import_time,
}


def filled(text: str) -> str:
    """`text` with every marked block written anew from its record."""

    def block(match: re.Match[str]) -> str:
        name = match.group(2)
        data = record.read(record.RESULTS / f"{name}.json")
        return match.group(1) + "\n" + TABLES[name](data) + match.group(3)

    return BLOCK.sub(block, text)


def main() -> int:
    """Write the tables, or say with exit code 1 which file is stale."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    stale = []
    for path in FILES:
        text = Path(path).read_text(encoding="utf-8")
        if filled(text) != text:
            stale.append(path.name)
            if not check:
                path.write_text(filled(text), encoding="utf-8")
    if check and stale:
        sys.stderr.write(f"stale tables in {stale}; run {Path(__file__).name}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
