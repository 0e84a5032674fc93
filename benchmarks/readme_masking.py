"""What does the record of masked gradients say as tables?"""

from __future__ import annotations

from typing import Any

from markdown_table import origin, table

HEAD = ["net", "eps (Linf)", "images", "causes", "notes", "black box only"]
HEAD += ["still moving", "rough", "CPU seconds"]


def masking(data: dict[str, Any]) -> str:
    """The counts, then a row a case; other batches and orders below."""
    base = [row for row in data["rows"] if row["variant"] == "base"]
    groups = {
        "Nets that should show none": "negative",
        "Nets that are known to trouble attacks": "known",
        "Masks": "positive",
    }
    parts = [_counts(data["score"])]
    for title, group in groups.items():
        lines = [_line(row) for row in base if row["group"] == group]
        if lines:
            parts.append(f"\n{title}:\n\n{table(HEAD, lines)}")
    return "".join([*parts, _again(data), origin(data)])


def _counts(score: dict[str, Any]) -> str:
    wrong = ", ".join(f"`{name}`" for name in score["masked_negatives"]) or "none"
    kinds = score["kinds"].values()
    whole = [kind for kind in kinds if kind["nets"] == 2]
    found = sum(kind["found"] == kind["nets"] for kind in whole)
    named = sum(kind["named"] == kind["nets"] for kind in whole)
    known = ", ".join(
        f"`{name}` {'yes' if yes else 'no'}" for name, yes in score["known"].items()
    )
    return (
        f"- Of {score['negatives']} nets that should show none, called masked: {wrong}.\n"
        f"- Of {len(whole)} kinds of masks, found on both nets: {found}; by the right cause on "
        f"both: {named}.\n"
        f"- The cause that is known: {known}.\n"
    )


def _line(row: dict[str, Any]) -> list[str]:
    checks = {check["name"]: check for check in row["checks"]}
    shown = [
        _number(checks, name)
        for name in ("black_box_beats_gradient", "still_moving", "rough_gradients")
    ]
    notes = [
        check["name"]
        for check in row["checks"]
        if check["flag"]
        and check["name"] in ("unstable_predictions", "ce_above_margin")
    ]
    kind, _, net = row["case"].rpartition(": ")
    name = f"{kind}: `{net}`" if kind else f"`{net}`"
    mnist = "mnist" in net
    eps = f"{row['eps']:g}" if mnist else f"{row['eps'] * 255:.0f}/255"
    causes = ", ".join(cause.replace("_", " ") for cause in row["causes"])
    words = ", ".join(note.replace("_", " ") for note in notes)
    seconds = f"{row['cpu_seconds']:.0f}"
    return [name, eps, str(row["n"]), causes, words, *shown, seconds]


def _number(checks: dict[str, Any], name: str) -> str:
    return f"{checks[name]['value']:.2f}" if name in checks else ""


def _again(data: dict[str, Any]) -> str:
    """How many cases were run again, and where the verdict was another."""
    score, said = data["score"], []
    base = {row["case"] for row in data["rows"] if row["variant"] == "base"}
    for variant, words in (
        ("ten", "in batches of 10"),
        ("shuffled", "in another order"),
    ):
        n = sum(r["variant"] == variant and r["case"] in base for r in data["rows"])
        said.append(f"{n} of {len(base)} {words}")
    moved = "; ".join(score["verdict_moved"]) or "no verdict moved"
    causes = "; ".join(score["causes_moved"]) or "no cause moved"
    return (
        f"\nRun again: {', '.join(said)}. {moved[0].upper()}{moved[1:]}; {causes}. All of it: "
        f"{score['cpu_seconds']:,.0f} CPU seconds.\n"
    )
