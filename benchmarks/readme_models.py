"""What does the record of kinds of models say as tables?"""

from __future__ import annotations

from collections import Counter
from typing import Any

from markdown_table import origin, table

VERBS = ("PRTest", "FIMScore", "MSA")
HEAD, TAIL = 60, 130
"""Characters of a refusal that are shown: what was met, and what to do, which stands last."""


def models_table(data: dict[str, Any]) -> str:
    """A table a group of kinds, the counts above them, the refusals' words below."""
    rows = data["kinds"]
    counts = {
        verb: Counter(row["answers"][verb]["status"] for row in rows.values())
        for verb in VERBS
    }
    said = "; ".join(
        f"{verb} {', '.join(f'{n} {status}' for status, n in sorted(found.items()))}"
        for verb, found in counts.items()
    )
    parts = [f"{len(rows)} kinds: {said}.\n"]
    for group, question in data["groups"].items():
        lines = [
            _line(name, row) for name, row in rows.items() if row["group"] == group
        ]
        if lines:
            head = ["kind", "package", *VERBS]
            parts.append(f"\n**{question}**\n\n{table(head, lines)}")
    return "".join(parts) + origin(data)


def _line(name: str, row: dict[str, Any]) -> list[str]:
    packages = ", ".join(f"{key} {value}" for key, value in row["packages"].items())
    answers = [_cell(row["answers"][verb]) for verb in VERBS]
    return [name.replace("|", "\\|"), packages or "torch", *_once(answers)]


def _cell(answer: dict[str, Any]) -> str:
    status, words = answer["status"], answer["words"]
    if status == "rounding":
        return f"within {answer['off']:.0e}, its rounding"
    if status == "equal":
        short = words.partition(";")[0]
        return f"equal (`{short}`)" if short else "equal"
    whole = words
    if len(words) > HEAD + TAIL:
        whole = f"{words[:HEAD].rstrip()} ... {words[-TAIL:].lstrip()}"
    plain = whole.replace("|", "\\|").replace("<", "&lt;")
    return f'{status}: "{plain}"'


def _once(cells: list[str]) -> list[str]:
    """Words that a cell to the left has are not said again."""
    found: list[str] = []
    for cell in cells:
        found.append("likewise" if ":" in cell and cell in found else cell)
    return found
