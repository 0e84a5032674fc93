"""What do the records of heads on one trunk, and of HPM in batches, say as tables?"""

from __future__ import annotations

from typing import Any

from markdown_table import device, table

MIDDLE = 2
FAIR = {"normalised": "(ii)", "reach": "(iii)", "kept": "right under attack"}


def hpm_sensitivity(data: dict[str, Any]) -> str:
    """Measures of each head, then what they say of the claim."""
    head = ["net", "head", "clean", "under attack", "S, own class", "S, others"]
    head += ["angle, own class", "(ii)", "(iii)"]
    rows, pairs = [], []
    for name, case in data["cases"].items():
        report = case["report"]
        for one in report["heads"]:
            own = next(law for law in one["laws"] if law["among"] == "own")
            degrees = [57.29577951308232 * own[key] for key in ("mean", "deviation")]
            rows.append(
                [
                    (
                        f"{name}, eps {_radius(report['eps'])}"
                        if one["name"] == "fc"
                        else ""
                    ),
                    f"`{one['name']}`",
                    *(
                        f"{100 * one[k] / report['n']:.1f} %"
                        for k in ("n_right", "n_kept")
                    ),
                    *(f"{one[key][MIDDLE]:.3f}" for key in ("own", "other")),
                    f"{degrees[0]:.1f} +- {degrees[1]:.1f}",
                    *(f"{one[key][MIDDLE]:.2f}" for key in ("normalised", "reach")),
                ]
            )
        pairs += [_pair(name, case, pair) for pair in report["pairs"]]
    more = [
        "net",
        "head",
        "P(eq. 8): isotropic",
        "by laws: own, others",
        "counted: own, others",
    ]
    more += [f"claim by {words}" for words in FAIR.values()]
    count = next(iter(data["cases"].values()))["report"]["n"]
    words = f"\nMedians; {count} test images, Linf.\n\n"
    return table(head, rows) + words + table(more, pairs) + device(data)


def _pair(name: str, case: dict[str, Any], pair: dict[str, Any]) -> list[str]:
    answers = case["answers"][pair["distance"]]
    return [
        name if pair["distance"] == "l2" else "",
        f"`{pair['distance']}` beside `fc`",
        f"{pair['isotropic']:.3f}",
        f"{pair['own']:.3f}, {pair['other']:.3f}",
        f"{pair['held_own']:.3f}, {pair['held_other']:.3f}",
        *(answers[key] for key in FAIR),
    ]


def _radius(eps: float) -> str:
    steps = round(255 * eps, 2)
    return f"{steps:.0f}/255" if steps == int(steps) else f"{eps:g}"


def hpm_batches(data: dict[str, Any]) -> str:
    """Accuracy by kind of batch, a column a size."""
    head, rows = [], []
    for case in data["cases"]:
        report = case["report"]
        sizes = sorted({row["m"] for row in report["rows"]})
        head = ["net", "share of C_glob", "batches", "`fc`", "C_glob alone"]
        head += [f"m = {m}" for m in sizes]
        found = {(r["kind"], r["leave_out"], r["m"]): r for r in report["rows"]}
        first = [case["net"], f"{case['share']:g}"]
        known = [f"{100 * report[key]:.1f}" for key in ("linear", "of_all")]
        for kind in ("mixed", "one class", "copies"):
            for leave_out in (False, True):
                cells = []
                for m in sizes:
                    row = found.get((kind, leave_out, m))
                    values = [] if row is None else row["accuracy"]
                    mean = 100 * sum(values) / max(1, len(values))
                    cells.append(f"{mean:.1f}" if values else "")
                words = kind + ", without itself" * leave_out
                rows.append([*first, words, *known, *cells])
                first, known = ["", ""], ["", ""]
    counts = sorted({case["report"]["n"] for case in data["cases"]})
    words = f"\nPercent, means of three partitions; {', '.join(map(str, counts))} test images.\n"
    return table(head, rows) + words + device(data)
