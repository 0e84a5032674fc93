"""What do the records of FIMScore say as tables?"""

from __future__ import annotations

from typing import Any

from markdown_table import device, origin, table


def fim_blackbox(data: dict[str, Any]) -> str:
    """The black-box score against the exact one."""
    head = ["net", "directions", "pairs", "mean ratio", "uncorrected"]
    head += ["rms error of log lambda", "uncorrected", "coverage of 95 %"]
    rows = [
        [
            row["case"],
            str(row["directions"]),
            str(row["pairs"]),
            *(f"{row[k]:.3f} +- {row[k + '_se']:.3f}" for k in ("ratio", "raw_ratio")),
            *(f"{row[k]:.3f}" for k in ("rms", "raw_rms")),
            f"{row['coverage']:.3f}",
        ]
        for row in data["rows"]
    ]
    missed = "; ".join(data["missed"]) or "nothing"
    theirs = data["paper"]
    words = f"\nAsked and not held: {missed}. The paper's black box, 201 queries, ResNet-18, "
    words += f"{theirs['n']} images: mean ratio {theirs['mean_ratio']:.4f}."
    return table(head, rows) + words + "\n" + device(data)


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
    found = [(run["threads"], run["parts"]) for run in data["runs"]]
    nets = [
        (threads, parts[name])
        for name in ("net10", "net1000")
        for threads, parts in found
        if name in parts
    ]
    names = dict.fromkeys(x for _, parts in found for x in parts if x[:7] == "factors")
    matrices = [(t, parts[x]) for x in names for t, parts in found if x in parts]
    shown = [_fim_nets(nets)] if nets else []
    shown += [_fim_matrices(matrices)] if matrices else []
    lists = [parts["quotients"] for _, parts in found if "quotients" in parts]
    if lists:
        shown.append(_fim_quotients(lists[0]))
    return "\n".join(shown) + device(data)


def _fim_nets(nets: list[tuple[int, dict[str, Any]]]) -> str:
    head = ["classes", "batch", "threads", "reference, ms an image", "ours, ms"]
    head += ["ratio of minima", "asked", "of 1 forward + K vjps"]
    head += ["row-passes an image: reference, ours"]
    rows = []
    for threads, net in nets:
        both = [
            " / ".join(
                f"{1000 * net[kind][side]:,.0f}"
                for kind in ("seconds_an_image", "cpu_seconds_an_image")
            )
            for side in ("reference", "ours")
        ]
        low, high = net["interval"]
        first, second = net["cpu_interval"]
        ratio = f"{net['ratio']:.2f} [{low:.2f}, {high:.2f}] / "
        ratio += f"{net['cpu_ratio']:.2f} [{first:.2f}, {second:.2f}]"
        share, passes = net.get("share_of_bare"), net["passes"]
        bare = f"{share:.2f} / {net['cpu_share_of_bare']:.2f}" if share else ""
        spent = ", ".join(
            " + ".join(f"{n:g} {kind}" for kind, n in passes[side].items() if n)
            for side in ("reference", "ours")
        )
        asked = f">= {net['asked'][0]:g}"
        row = [f"{net['classes']:,}", str(net["batch"]), str(threads), *both, ratio]
        rows.append([*row, asked, bare, spent])
    count = nets[0][1]["alternations"]
    return (
        table(head, rows) + f"\nWall / CPU time; minima of {count} alternations."
    ) + _measured(nets)


def _measured(nets: list[tuple[int, dict[str, Any]]]) -> str:
    """What `measure` takes as a whole."""
    words = []
    for threads, net in nets:
        times = net["seconds_an_image"]
        if "measure_kl_off" in times:
            whole, short = 1000 * times["measure"], 1000 * times["measure_kl_off"]
            words.append(f"{whole:.0f} and {short:.0f} with {threads}")
    return (
        f" `measure` as a whole, with the Linf value and with `kl=False`, K = 10: "
        f"{', '.join(words)} threads (ms an image).\n"
    )


def _fim_matrices(matrices: list[tuple[int, dict[str, Any]]]) -> str:
    names = {
        "direct": "direct",
        "power": "power",
        "quotients": "100 quotients",
        "ours": "ours",
        "gram": "for nets: gram",
        "lanczos": "lanczos",
        "loose": "loose",
    }
    head = ["K x D", "threads", *names.values(), "ours / fastest right"]
    rows = []
    for threads, found in matrices:
        cells = []
        for name in names:
            time = found["seconds"].get(name)
            error = found["largest_error"].get(name) or 0.0
            wrong = f" (off {100 * error:.0f} %)" if error > 1e-3 else ""
            cells.append("" if time is None else f"{1000 * time:,.2f}{wrong}")
        size = f"{found['rows']:,} x {found['columns']:,}"
        least = f"{found['ratio']['ours']:.2f} ({found['fastest_right']})"
        rows.append([size, str(threads), *cells, least])
    return table(head, rows) + _matrix_words(matrices)


def _matrix_words(matrices: list[tuple[int, dict[str, Any]]]) -> str:
    by_size = {found["rows"]: found for _, found in matrices}
    draws = ", ".join(str(len(found["cases"])) for found in by_size.values())
    ends = "; ".join(
        f"K = {k:,}: {found['equal_p']['status'][0]} after "
        f"{found['equal_p']['iterations'][0]} steps (power is off by "
        f"{100 * found['equal_p']['errors']['power']:.2g} % after "
        f"{found['equal_p']['power_steps']})"
        for k, found in by_size.items()
    )
    return (
        f"\nMilliseconds, means over {draws} draws of p of the least times. Asked: ours at most "
        "1.05 of the fastest that is within .1 %. At K = 10,000 direct is a lower bound of its "
        "time. Loose: without the proof that no larger eigenvalue was missed. Equal p, the hard "
        f"case, Lanczos: {ends}.\n"
    )


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


def bootstrap_coverage(data: dict[str, Any]) -> str:
    """How often intervals of means and of rank correlations cover the truth."""
    means = [
        [
            f"{case['sigma']:g}",
            str(case["n"]),
            *(f"{100 * case[k]:.1f}" for k in ("percentile", "bootstrap_t", "median")),
            f"{case['median_carriers']:.0f}",
            f"{100 * case['doubted']:.0f}",
        ]
        for case in data["mean_of_lognormal"]
    ]
    head = ["sigma of the lognormal", "n", "mean, percentile", "mean, bootstrap-t"]
    head += ["median, percentile", "carriers (median)", "doubted"]
    ranks = [
        [
            f"{100 * case['rate']:g} %",
            f"{case['shift']:g}",
            f"{case['truth']:.3f}",
            *(f"{100 * case[k]:.1f}" for k in ("percentile", "given")),
            f"{100 * case['doubted']:.0f}",
        ]
        for case in data["spearman"]
    ]
    more = [
        "rate of the outcome",
        "shift",
        "Spearman",
        "percentile",
        "given",
        "doubted",
    ]
    return table(head, means) + "\n" + table(more, ranks) + origin(data)
