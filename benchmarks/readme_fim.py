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


def fim_cost(data: dict[str, Any]) -> str:
    """The score beside the reference loop on nets, and beside the paper's methods on matrices."""
    parts = data["parts"]
    nets = [parts[name] for name in ("net10", "net1000") if name in parts]
    matrices = [found for name, found in parts.items() if name.startswith("factors")]
    shown = [_fim_nets(nets)] if nets else []
    shown += [_fim_matrices(matrices)] if matrices else []
    if "quotients" in parts:
        shown.append(_fim_quotients(parts["quotients"]))
    threads = data["machine"]["threads"]
    return "\n".join(shown) + device(data)[:-1] + f" Threads: {threads}.\n"


def _fim_nets(nets: list[dict[str, Any]]) -> str:
    head = ["classes", "batch", "reference, ms an image", "ours, ms", "ratio of minima"]
    head += ["asked", "of 1 forward + K vjps", "row-passes an image: reference, ours"]
    rows = []
    for net in nets:
        both = [
            " / ".join(
                f"{1000 * net[kind][side]:,.0f}"
                for kind in ("seconds_an_image", "cpu_seconds_an_image")
            )
            for side in ("reference", "ours")
        ]
        low, high = net["interval"]
        first, second = net["cpu_interval"]
        ratio = f"{net['ratio']:.1f} [{low:.1f}, {high:.1f}] / "
        ratio += f"{net['cpu_ratio']:.1f} [{first:.1f}, {second:.1f}]"
        share, passes = net.get("share_of_bare"), net["passes"]
        bare = f"{share:.2f} / {net['cpu_share_of_bare']:.2f}" if share else ""
        spent = ", ".join(
            " + ".join(f"{n:g} {kind}" for kind, n in passes[side].items() if n)
            for side in ("reference", "ours")
        )
        asked = f">= {net['asked'][0]:g}"
        row = [f"{net['classes']:,}", str(net["batch"]), *both, ratio]
        rows.append([*row, asked, bare, spent])
    counts = " and ".join(str(net["alternations"]) for net in nets)
    words = f"\nWall / CPU time; minima of {counts} alternations.\n"
    return table(head, rows) + words


def _fim_matrices(matrices: list[dict[str, Any]]) -> str:
    names = {
        "direct": "direct",
        "power": "power",
        "quotients": "100 quotients",
        "gram": "ours, gram",
        "lanczos": "ours, lanczos",
        "loose": "ours, loose",
    }
    head = ["K x D", *names.values(), "ours / fastest right", "equal p: ours, power"]
    rows = []
    for found in matrices:
        cells = []
        for name in names:
            time = found["seconds"].get(name)
            error = found["largest_error"].get(name) or 0.0
            wrong = f" (off {100 * error:.0f} %)" if error > 1e-3 else ""
            cells.append("" if time is None else f"{1000 * time:,.1f}{wrong}")
        ratios = ", ".join(f"{name} {x:.2f}" for name, x in found["ratio"].items())
        hard = found["equal_p"]
        ends = f"{hard['status'][0]}, {hard['iterations'][0]} steps; "
        ends += (
            f"off {100 * hard['errors']['power']:.2g} %, {hard['power_steps']} steps"
        )
        size = f"{found['rows']:,} x {found['columns']:,}"
        rows.append([size, *cells, f"{ratios} ({found['fastest_right']})", ends])
    draws = ", ".join(str(len(found["cases"])) for found in matrices)
    words = (
        f"\nMilliseconds, means over {draws} draws of p of the least times. Asked: ours at most "
        "1.05 of the fastest that is within .1 %. At K = 10,000 direct is a lower bound of its "
        "time. Loose: without the proof that no larger eigenvalue was missed.\n"
    )
    return table(head, rows) + words


def _fim_quotients(data: dict[str, Any]) -> str:
    by_draws = ", ".join(f"{m}: {x:.1f} %" for m, x in data["by_draws"].items())
    by_rows = "; ".join(
        f"K = {k}: {x['classes']:.1f} % and {x['inputs']:.1f} %"
        for k, x in data["by_rows"].items()
    )
    return (
        f"\nThe largest of M quotients is too small, K = 10, M = {by_draws}; with M = 1000 and z "
        f"in R^K and in R^D, {by_rows}.\n"
    )
