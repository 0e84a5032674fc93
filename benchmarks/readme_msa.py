"""What do the records of MSA say as tables?"""

from __future__ import annotations

from typing import Any

from markdown_table import device, table


def msa_anchor(data: dict[str, Any]) -> str:
    """Version autoattack against a published number."""
    low, high = (100 * side for side in data["robust_accuracy_interval"])
    head = ["images", "clean", "robust (95 % interval)", "published, 10,000 images"]
    row = [
        f"{data['n']:,}",
        f"{100 * data['clean_accuracy']:.1f} %",
        f"{100 * data['robust_accuracy']:.1f} % [{low:.1f}, {high:.1f}]",
        f"{100 * data['published']:.2f} %",
        f"{data['forward']:,}",
        f"{data['backward']:,}",
        f"{data['seconds']:.0f}",
    ]
    return table([*head, "forward", "backward", "seconds"], [row]) + device(data)


def msa_masks(data: dict[str, Any]) -> str:
    """AutoAttack alone and MSA on targets that hide their gradients; only what was run."""
    head = ["net", "mask", "attack", "robust", "forward", "backward", "seconds"]
    head.append("device")
    rows = [
        [
            f"`{row['net']}`",
            row["mask"],
            row["attack"],
            f"{100 * row['robust_accuracy']:.0f} %",
            f"{row['forward']:,}",
            f"{row['backward']:,}",
            f"{row['seconds']:.0f}",
            row["device"],
        ]
        for row in data["rows"]
    ]
    python, torch = (data["versions"][name] for name in ("python", "torch"))
    words = f"\n{data['n']} images. Python {python}, torch {torch}.\n"
    return table(head, rows) + words


def msa_truth(data: dict[str, Any]) -> str:
    """MSA against formal verdicts."""
    rows = [
        [verdict, *(str(found[key]) for key in ("rows", "right", "broken"))]
        for verdict, found in data["total"].items()
    ]
    return table(["verdict", "rows", "clean right", "broken"], rows) + device(data)


def msa_parity(data: dict[str, Any]) -> str:
    """Version autoattack against AutoAttack's own code."""
    rows = []
    for case in data["cases"]:
        name = f"`{case['model']}`, {case['norm']}, eps {case['eps']:.4g}"
        theirs = case["autoattack"]
        first = [str(theirs["robust"]), "", f"{theirs['forward']:,}", ""]
        rows.append([name, "AutoAttack", *first, f"{theirs['seconds']:.0f}"])
        for engine, found in case["engines"].items():
            counts = [str(found["robust"]), str(found["flags_differ"])]
            passes = [f"{found['forward']:,}", f"{found['ratio']:.3f}"]
            spent = f"{found['seconds']:.0f}"
            rows.append(["", f"MSA, engine {engine}", *counts, *passes, spent])
    head = ["net", "code", "robust", "flags differ", "forward", "ratio", "seconds"]
    note = f"\n{data['cases'][0]['n']} images each."
    return table(head, rows) + note + device(data)


def msa_cost(data: dict[str, Any]) -> str:
    """One MSA with five heads beside five runs of AutoAttack."""
    head = ["run", "robust", "trunk rows forward", "backward", "seconds", "CPU seconds"]
    names = {"apart": "AutoAttack on each head", "msa": "MSA, five surrogates"}
    rows = [
        [
            words,
            str(data["robust"][side]),
            f"{data[side]['forward']:,}",
            f"{data[side]['backward']:,}",
            f"{data[side]['seconds']:.0f}",
            f"{data[side]['cpu_seconds']:.0f}",
        ]
        for side, words in names.items()
    ]
    share = data["ratio"]
    last = ["", f"{share['forward']:.2f}", f"{share['backward']:.2f}"]
    rows.append(
        ["ratio", *last, f"{share['seconds']:.2f}", f"{share['cpu_seconds']:.2f}"]
    )
    words = (
        f"\n{data['n']} images; forward and backward together {share['row_passes']:.3f}; rows that "
        f"only MSA leaves: {data['robust_in_msa_alone']}.\n"
    )
    return table(head, rows) + words + device(data)
