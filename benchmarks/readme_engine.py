"""What do the smaller records of the own engine say as tables: cost, memory, successors?"""

from __future__ import annotations

from typing import Any

from markdown_table import origin, table


def own_easy(data: dict[str, Any]) -> str:
    """Passes on nets that fall at once, all counted and without the check of the model."""
    rows = []
    for name, entry in data["models"].items():
        truth, cell = entry["autoattack/0"], entry["standard/0"]
        total = truth["forward"] + truth["backward"]
        rows.append(
            [
                f"`{name}`",
                f"{len(truth['broken'])} of {truth['clean']} right",
                f"{len(cell['broken'])}, {len(cell['missed'])} missed",
                f"{total:,}",
                f"{cell['forward'] + cell['backward']:,}",
                f"{cell['cheaper']:.1f}",
                f"{entry['cheaper_without_check']:.1f}",
                f"{cell['faster']:.0f}",
            ]
        )
    head = ["model", "AutoAttack breaks", "standard breaks", "passes of AutoAttack"]
    head += ["of standard", "times cheaper", "without the check", "CPU s: times faster"]
    tail = (
        f"\nLinf {data['eps']}, {data['n']} images, seed 0. Before the first attack a model is "
        f"checked once (does it answer each image by itself?), {data['check']} forward passes "
        "whatever the number of images.\n"
    )
    return table(head, rows) + tail + origin(data)


def own_thousand(data: dict[str, Any]) -> str:
    """A thousand images of two models beside AutoAttack's kept flags."""
    rows = [
        [
            f"`{name}`",
            f"{cell['autoattack_broken']} of {cell['images']:,} images",
            str(len(cell["broken"])),
            str(len(cell["missed"])),
            str(len(cell["beyond"])),
            f"{100 * cell['before_square']:.1f} %",
            f"{cell['cheaper']:.1f}",
            f"{cell['faster']:.1f}",
        ]
        for name, cell in data["models"].items()
    ]
    head = ["model", "AutoAttack breaks", "standard breaks", "missed", "beyond"]
    head += ["passes before Square", "passes: times cheaper", "CPU s: times faster"]
    return table(head, rows) + origin(data)


SUCCESSORS = ("PM", "MALT + APGD-T", "PM then APGD-T", "adv-lib", "torchattacks")


def own_successors(data: dict[str, Any]) -> str:
    """Broken / missed / beyond and passes of others' methods, beside AutoAttack and our plans."""
    rows = []
    for name, entry in data["models"].items():
        truth, ours = set(entry["truth"]["broken"]), entry["ours"]
        cells = {"AutoAttack": entry["truth"], **ours}
        cells |= {p: entry[p] for p in SUCCESSORS if p in entry}
        for plan, cell in cells.items():
            broken = set(cell["broken"])
            rows.append(
                [
                    f"`{name}`" if plan == "AutoAttack" else "",
                    plan,
                    str(len(broken)),
                    str(len(truth - broken)),
                    str(len(broken - truth)),
                    f"{(cell['forward'] + cell['backward']) / 1000:,.0f}",
                ]
            )
    head = ["model", "plan", "broken", "missed", "beyond", "thousand passes"]
    tail = (
        f"\n{data['n']} images, Linf at the radii above, seed 0. Of adv-lib APGD-T alone, version "
        f"{data['adv_lib']}.\n"
    )
    return table(head, rows) + tail + origin(data)


def own_memory(data: dict[str, Any]) -> str:
    """Peak memory beside AutoAttack's code."""
    rows = [
        [
            f"`{name}`" if name.startswith("cifar10_") else name,
            str(entry["batch"]),
            f"{entry['autoattack'][0]:.0f}",
            f"{entry['own'][0]:.0f}",
            f"{entry['ratio']:.2f}",
        ]
        for name, entry in data["cases"].items()
    ]
    head = ["model", "batch", "AutoAttack, MiB", "own standard, MiB", "ratio"]
    return table(head, rows) + origin(data)


def profiles(data: dict[str, Any]) -> str:
    """Shares of processor time inside and outside the model."""
    rows = []
    for name, case in data["cases"].items():
        calls, gradients = case["calls"]
        rows.append(
            [
                name,
                f"`{case['model']}`, {case['images']}",
                f"{case['seconds']:.2f}",
                f"{calls:,} / {gradients:,}",
                f"{case['rows']:.0f}",
                *(f"{100 * case[k]:.0f} %" for k in ("forward", "backward", "outside")),
            ]
        )
    head = [
        "what",
        "model, images",
        "CPU s",
        "calls of model / autograd",
        "rows a call",
    ]
    return table([*head, "forward", "backward", "outside"], rows) + origin(data)
