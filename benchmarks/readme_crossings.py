"""What do the records of the bracket and of the audits say as tables?"""

from __future__ import annotations

from typing import Any

from markdown_table import origin, table

TITLES = {
    "mnist": "MNIST",
    "pneumoniamnist": "PneumoniaMNIST",
    "cifar10": "CIFAR-10",
}


def bracket(data: dict[str, Any]) -> str:
    """Certified, robust, attacked on the verified rows, a model a row."""
    rows = [_bracket_row(f"`{name}`", one) for name, one in data["models"].items()]
    rows.append(_bracket_row("all", data["total"]))
    head = [
        "model",
        "eps (Linf)",
        "images",
        "certified <= robust",
        "robust <= attacked",
    ]
    head += ["open", "falsified, of them broken", "PRTest: robust", "CPU s"]
    return table(head, rows) + (
        f"\n{data['total']['crossings']} crossings. Shares of the images; PRTest at tolerance .01 "
        "asks another question: of the images that it calls robust the attack broke "
        f"{data['total']['prtest_robust_of_broken']}.\n" + origin(data)
    )


def _bracket_row(name: str, one: dict[str, Any]) -> list[str]:
    low, high = one.get("eps", (0, 0))
    eps = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    n = one["n"]
    return [
        name,
        eps if high else "",
        str(n),
        f"{one['certified'] / n:.3f}",
        f"{one['left'] / n:.3f}",
        str(one["open"]),
        f"{one['falsified']}, {one['falsified_broken']}",
        f"{one['prtest_robust'] / n:.3f}",
        f"{one['cpu_seconds']:.0f}",
    ]


def certify_audit(data: dict[str, Any]) -> str:
    """Violations, planted ones, and how near attacks come to the radii."""
    cells = data["cells"]
    rows, near = [], []
    for key, one in cells.items():
        dataset, name = key.split("/")
        found, wrong = one["audit"], one["planted"]
        base = one.get("base_net")
        flips = found["flips"]
        marked = {f["image"] for f in flips if f["rounding"]}
        broken = {f["image"] for f in flips if not f["rounding"]}
        rows.append(
            [
                name,
                TITLES[dataset],
                str(found["n"]),
                f"**{len(broken)}** ({found['allowed']})",
                str(len(marked - broken)),
                f"{wrong['changed_inside']} of {wrong['n']}",
                f"{base['changed_inside']} of {base['n']}" if base else "-",
                f"{one['cpu_seconds']:.0f}",
            ]
        )
        for line in found["table"]:
            if line["changed"]:
                near.append([name, TITLES[dataset], *_line(line)])
    head = ["certifier", "data", "radii", "changed inside (allowed)"]
    head += ["within rounding", "planted: radius x 1.5", "net without noise"]
    text = table([*head, "CPU s"], rows)
    told = ["certifier", "data", "attack", "changed", "least length / radius"]
    return (
        text
        + "\nChanges at any distance, and their length over the radius:\n\n"
        + table([*told, "quartiles", "median"], near)
        + origin(data)
    )


def _line(line: dict[str, Any]) -> list[str]:
    low, high = line["quartiles"]
    return [
        line["attack"],
        f"{line['changed']} of {line['tried']}",
        f"{line['least']:.4f}",
        f"{low:.3f}, {high:.3f}",
        f"{line['median']:.3f}",
    ]
