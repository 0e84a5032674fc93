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


def fim_validity(data: dict[str, Any]) -> str:
    """Spearman's coefficients within models, then across models."""
    text = _within(data["within"]) if data["within"] else ""
    for study in data["across"]:
        text += "\n" + _across(study)
    words = (
        "\nSpearman's coefficient [95 % bootstrap interval]. Temperatures from "
        f"{data['n_temperature']} other test images; clean accuracy, p_max, RDI and GREAT of "
        f"{data['n_forward_scores']} images."
    )
    if data["missing"]:
        words += f" Not run: {', '.join(f'`{name}`' for name in data['missing'])}."
    return text + words + "\n" + device(data)


def _within(cases: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(row["predictor"] for row in cases[0]["rows"]))
    head = ["model", "training", "images (wrong, unbroken)", "median radius", *names]
    rows = []
    for case in cases:
        kind = "defended" if case["defended"] else "standard"
        count = f"{case['n']} ({case['wrong']}, {case['unbroken']})"
        first = [f"`{case['model']}`", kind, count, f"{case['median_radius']:.3f}"]
        found = {row["predictor"]: row for row in case["rows"]}
        rows.append(first + [_cell(found[name]) for name in names])
    return table(head, rows)


def _across(study: dict[str, Any]) -> str:
    rows_of = {(row["predictor"], row["subset"]): row for row in study["rows"]}
    names = list(dict.fromkeys(name for name, _ in rows_of))
    subsets = list(dict.fromkeys(subset for _, subset in rows_of))
    counts = [str(rows_of[names[0], subset]["n"]) for subset in subsets]
    head = [f"{subset} ({count} nets)" for subset, count in zip(subsets, counts)]
    rows = [[name, *(_cell(rows_of[name, s]) for s in subsets)] for name in names]
    eps, case = study["eps"], study["models"][0]
    size = f"{eps * 255:.0f}/255" if study["dataset"] == "cifar10" else f"{eps:g}"
    words = f"\n{case['n_scores']} images a net for gradient scores, {case['n_robust']} attacked.\n"
    return table([f"{study['dataset']}, Linf {size}", *head], rows) + words


def _cell(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return "n/a"
    if row["low"] is None:
        return f"{row['value']:.2f}"
    return f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
