"""What does the record of the own engine say as a table?"""

from __future__ import annotations

from typing import Any

from markdown_table import origin, table

PLANS = ("standard", "fast", "full")


def _cells(entry: dict[str, Any], what: str) -> list[dict[str, Any]]:
    """The cells of a plan that were run, one a seed."""
    return [cell for key, cell in entry.items() if key.partition("/")[0] == what]


def _mean(numbers: list[float]) -> str:
    found = sum(numbers) / len(numbers)
    return f"{found:.1f}".removesuffix(".0")


def _plan(cells: list[dict[str, Any]]) -> list[str]:
    """broken, missed, beyond, times cheaper and faster; means over seeds."""
    if not cells:
        return ["not run", "", "", "", ""]
    counts = [
        _mean([len(cell[key]) for cell in cells])
        for key in ("broken", "missed", "beyond")
    ]
    return [*counts, *(_mean([c[k] for c in cells]) for k in ("cheaper", "faster"))]


def own_vs_autoattack(data: dict[str, Any]) -> str:
    """Rows broken, missed and beyond, and the ratio of passes and seconds, model by model."""
    rows, words = [], []
    models = {k: e for k, e in data["models"].items() if "autoattack/0" in e}
    for name, entry in models.items():
        truth = entry["autoattack/0"]
        for plan in [p for p in PLANS if p != "full" or _cells(entry, p)]:
            rows.append(
                [
                    (
                        f"`{name}`{' *' if entry['tuned'] else ''}"
                        if plan == PLANS[0]
                        else ""
                    ),
                    f"{entry['eps']}" if plan == PLANS[0] else "",
                    (
                        f"{len(truth['broken'])} of {truth['clean']} right, {entry['n']} images"
                        if plan == PLANS[0]
                        else ""
                    ),
                    plan,
                    *_plan(_cells(entry, plan)),
                ]
            )
        again = entry.get("autoattack/1")
        if again is not None:
            one, two = set(truth["broken"]), set(again["broken"])
            words.append(f"`{name}` {len(one - two)} missed, {len(two - one)} beyond")
    head = ["model", "eps", "AutoAttack breaks", "plan", "broken", "missed", "beyond"]
    head += ["passes: times cheaper", "CPU s: times faster"]
    tail = (
        "\nMeans over the seeds that were run. * rows of this model had a say in the gates of its "
        "norm.\n"
    )
    if words:
        tail += f"A second seed of AutoAttack beside its first: {'; '.join(words)}.\n"
    return table(head, rows) + tail + _sums(models) + origin(data)


def _sums(models: dict[str, Any]) -> str:
    """Over the models of Linf: rows missed, where a plan breaks fewer, what was unseen."""
    linf = {k: e for k, e in models.items() if " " not in k}
    unseen = [f"`{name}`" for name, entry in linf.items() if not entry["tuned"]]
    lines = [f"Steered nothing: {', '.join(unseen)}."]
    for plan in PLANS:
        cells = {k: _cells(e, plan) for k, e in linf.items() if _cells(e, plan)}
        if not cells:
            continue
        broken = sum(len(linf[k]["autoattack/0"]["broken"]) for k in cells)
        missed = sum(
            sum(len(c["missed"]) for c in found) / len(found)
            for found in cells.values()
        )
        fewer = [
            f"`{k}`"
            for k, found in cells.items()
            for c in found
            if len(c["broken"]) < len(linf[k]["autoattack/0"]["broken"])
        ]
        seeds = max(len(found) for found in cells.values())
        lines.append(
            f"`{plan}`, {len(cells)} models in Linf, {seeds} seed{'s' * (seeds > 1)}: missed in "
            f"all {missed:.2g} of {broken} (mean over seeds), {_unseen_missed(linf, cells)}; runs "
            f"that break fewer rows than AutoAttack: {_listed(fewer)}."
        )
        if plan != "fast":
            lines += _missed_rows(plan, cells)
    return "\n" + "\n".join(f"- {line}" for line in lines) + "\n"


def _unseen_missed(linf: dict[str, Any], cells: dict[str, Any]) -> str:
    own = {k: found for k, found in cells.items() if not linf[k]["tuned"]}
    missed = sum(
        sum(len(c["missed"]) for c in found) / len(found) for found in own.values()
    )
    broken = sum(len(linf[k]["autoattack/0"]["broken"]) for k in own)
    return f"{missed:.2g} of {broken} on the {len(own)} models that steered nothing"


def _listed(names: list[str]) -> str:
    return ", ".join(dict.fromkeys(names)) + f" ({len(names)})" if names else "none"


def _missed_rows(plan: str, cells: dict[str, Any]) -> list[str]:
    """Each missed row: where it stopped, how near it came, whether another seed breaks it."""
    lines = []
    for name, found in cells.items():
        rows = sorted({int(row) for cell in found for row in cell["missed"]})
        for row in rows:
            left = [c["missed"][str(row)] for c in found if str(row) in c["missed"]]
            part, rel = left[0]
            where = f"stopped before {part}" if part else "through all parts"
            again = found[0].get("falls_to_seed_1")
            if again is None:
                told = f"missed by {len(left)} of {len(found)} seeds"
            else:
                told = (
                    f"{'falls' if row in again else 'does not fall'} to a second seed"
                )
            lines.append(
                f"`{plan}` on `{name}`, row {row}: {where}, rel {rel}; {told}."
            )
    return lines


def own_curves(data: dict[str, Any]) -> str:
    """Curves beside single runs: robust rows at each radius, and the price."""
    rows = []
    for name, case in data["cases"].items():
        model, _, plan = name.partition(" ")
        rows.append(
            [
                f"`{model}`",
                plan,
                f"{case['radii'][0]:.4g} to {case['radii'][-1]:.4g}",
                " ".join(map(str, case["robust"])),
                " ".join(str(one["robust"]) for one in case["single"]),
                f"{case['passes']:,}",
                f"{case['ratio']}",
                f"{case['ratio_to_all']}",
            ]
        )
    head = ["model", "plan", "radii", "robust, curve", "robust, single runs", "passes"]
    head += ["over the largest radius alone", "over all single runs"]
    return table(head, rows) + f"\n{data['n']} images, Linf.\n" + origin(data)


def own_gates(data: dict[str, Any]) -> str:
    """What falls at each line without gates, and how far from falling the later ones were."""
    rows = []
    for name, entry in data["models"].items():
        for label, line in entry["lines"].items():
            later = set()
            for other in list(entry["lines"])[list(entry["lines"]).index(label) + 1 :]:
                later |= {str(row) for row in entry["lines"][other]["broken"]}
            far = sorted((line["rel"][row] for row in later), reverse=True)
            rows.append(
                [
                    (
                        f"`{name}`"
                        if not rows or label == next(iter(entry["lines"]))
                        else ""
                    ),
                    label,
                    f"{line['tried']}",
                    f"{len(line['broken'])}",
                    f"{line['passes'] / max(line['tried'], 1):,.0f}",
                    " ".join(f"{rel:.2f}" for rel in far[:3]),
                ]
            )
    head = ["model", "line", "rows", "fell", "passes a row"]
    return table([*head, "largest rel of rows that fall later"], rows) + origin(data)
