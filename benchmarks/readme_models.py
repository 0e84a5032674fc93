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


COPIES = {
    "folded": "folded, contiguous",
    "channels_last": "folded, channels-last",
    "bf16": "in bf16, channels-last",
}


def fast_models(data: dict[str, Any]) -> str:
    """Ratios of times of a model and of its copies, and what a fold cannot save."""
    head = ["net", "folded", "memory", "s a call, model", *COPIES.values()]
    head += ["in convolutions", "signs equal in bf16", "decisions changed"]
    rows = []
    for name, case in data["cases"].items():
        for memory in ("kept", "default"):
            if memory in case:
                rows.append(_copies(name, memory, case))
    words = (
        f"\nTime of the model over that of the copy, [95 % interval], batches of 48, one thread, "
        f"{_alternations(data)} alternations; asked: {data['asked']:g} for ResNet-18 in float32.\n"
    )
    return table(head, rows) + words + origin(data)


def _copies(name: str, memory: str, case: dict[str, Any]) -> list[str]:
    found = case[memory]
    seen = found["differences"]
    share, signs = case.get("convolution_share"), seen.get("bf16")
    cells = [f"`{name}`" if "_" in name else name, str(found["folded"]), memory]
    cells += [f"{found['seconds']['original']:.3f}"]
    for key in COPIES:
        ratio = found["ratios"].get(key)
        words = "dropped" if ratio is None else f"{ratio['of_minima']:.2f}"
        if ratio is not None:
            words += " [{:.2f}, {:.2f}]".format(*ratio["interval"])
        cells.append(words)
    cells.append("" if share is None else f"{100 * share:.0f} %")
    cells.append(
        "" if signs is None else f"{100 * signs['equal_gradient_signs']:.1f} %"
    )
    plain = [seen[key]["changed_decisions"] for key in COPIES if key in seen]
    return [*cells, " / ".join(map(str, plain))]


def _alternations(data: dict[str, Any]) -> str:
    cases = data["cases"].values()
    some = {
        case[memory]["alternations"]
        for case in cases
        for memory in ("kept", "default")
        if memory in case
    }
    return " to ".join(map(str, sorted({min(some), max(some)})))


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
