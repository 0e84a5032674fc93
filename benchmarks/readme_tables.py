"""Do the tables of the READMEs say what the JSON records say?

This writes them; a test compares them.

Run: python benchmarks/readme_tables.py [--check]
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import record
from markdown_table import origin, table
from readme_audit import budgeted_accuracy, budgeted_truth, data_audit
from readme_bounds import fisher_bounds
from readme_certify import certify, smoothing_logs
from readme_crossings import bracket, certify_audit
from readme_ellips import ellips_mnist
from readme_engine import (
    own_easy,
    own_memory,
    own_successors,
    own_thousand,
    profiles,
)
from readme_fim import bootstrap_coverage, fim_blackbox, fim_cost, fim_validity
from readme_heads import hpm_batches, hpm_sensitivity
from readme_hpm import hpm_table
from readme_lipschitz import lipschitz_tightness
from readme_masking import masking
from readme_models import fast_models, models_table
from readme_msa import msa_anchor, msa_cost, msa_masks, msa_parity, msa_truth
from readme_own import own_curves, own_gates, own_vs_autoattack
from readme_radii import ellips_speed, ellips_synthetic
from readme_sets import ood, ood_coverage, shift
from readme_stress import stress

FILES = (
    record.ROOT / "README.md",
    record.ROOT / "benchmarks" / "README.md",
    record.ROOT / "docs" / "models.md",
)
BLOCK = re.compile(r"(<!-- from: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def prtest_data(data: dict[str, Any]) -> str:
    """Verdicts and cost of PRTest on real models."""
    rows = []
    for name, case in data["cases"].items():
        low, high = (100 * side for side in case["pra_interval"])
        eps = case["eps"]
        radius = f"{eps * 255:.0f}/255" if case["dataset"] == "cifar10" else f"{eps:g}"
        rows.append(
            [
                f"`{name}`",
                radius,
                str(case["n"]),
                f"{100 * case['clean_accuracy']:.1f} %",
                f"{case['robust']} ({100 * case['pra']:.1f} %, [{low:.1f}, {high:.1f}])",
                str(case["not_robust"]),
                str(case["undecided"]),
                str(case["misclassified"]),
                f"{case['mean_samples_of_tested']:.0f}",
                f"{case['forward_row_passes']:,}",
                f"{case['seconds']:.0f}",
            ]
        )
    head = ["model", "eps (Linf)", "images", "clean", "robust (95 % interval)"]
    head += ["not robust", "undecided", "misclassified", "draws an image tested"]
    return table([*head, "row-passes", "seconds"], rows) + origin(data)


def verified_rows(data: dict[str, Any]) -> str:
    """PRTest against formal verdicts."""
    total = data["total"]
    row = [f"{total[key]:,}" for key in ("rows", "samples", "failures", "certified")]
    head = ["rows proved robust", "draws", "failures found", "certified by PRTest"]
    seconds = f"{data['seconds']:.0f}"
    return table([*head, "seconds"], [[*row, seconds]]) + origin(data)


def import_time(data: dict[str, Any]) -> str:
    """Process start against torchattacks."""
    low, high = data["interval"]
    minima = data["minima"]
    row = [
        f"{minima['torchattacks']:.2f} s",
        f"{minima['torchattacks_ext']:.2f} s",
        f"{data['ratio']:.3f} [{low:.3f}, {high:.3f}]",
        str(data["n"]),
    ]
    head = [
        "import torchattacks",
        "import torchattacks_ext",
        "ratio of minima",
        "starts",
    ]
    return table(head, [row]) + origin(data)


SAMPLES = {
    "prtest": ("PRTest (default)", "0.1 %"),
    "fixed": ("fixed n", "0.1 %"),
    "prtest at .01": ("PRTest", "1 %"),
    "e_process_with_futility at .01": (
        "PRTest's certificate, refused above k/2",
        "1 %",
    ),
    "fixed at .01": ("fixed n", "1 %"),
    "curtailed at .01": ("fixed n, curtailed", "1 %"),
    "sprt at .01": ("SPRT, k/2 against k", "1 %"),
    "group_halving at .01": ("group-sequential, 5 halving looks", "1 %"),
    "group_equal at .01": ("group-sequential, 10 equal looks", "1 %"),
    "zero_failure at .01": ("zero failures", "1 %"),
    "hundred_draws": ("100 draws, accuracy > 1 - k", "none"),
    "retest at .01": ("exact test every 64 draws", "1 % a look"),
}
LEFT_OUT = ("curtailed", "group", "zero")  # of the short tables


def _percent(x: float) -> str:
    """Two digits more where a chance is near 0 or 1."""
    if 0.02 <= x <= 0.995:
        return f"{100 * x:.1f} %"
    return f"{100 * x:.3f} %" if x > 0.5 else f"{100 * x:#.2g} %"


def _samples_table(data: dict[str, Any], tolerance: str) -> str:
    whole = tolerance == "0.01"
    head = ["test", "level", *(f"p = {_times(rate)}" for rate in data["rates"])]
    head += ["certifies wrongly at p = k", "certifies at p = k/2"]
    at = {rate: i for i, rate in enumerate(data["rates"])}
    rows = []
    for name, words in SAMPLES.items():
        if name.startswith(LEFT_OUT) and not whole:
            continue
        case = data["tolerances"][tolerance][name]
        chances = [_percent(case["certified"][at[rate]]) for rate in (1, 0.5)]
        means = [f"{x:,.0f}" for x in case["mean_n"]]
        rows.append([*words, *means, *chances])
    return f"Tolerance k = {tolerance}:\n\n" + table(head, rows)


def _times(rate: float) -> str:
    named = {0: "0", 0.1: "k/10", 0.5: "k/2", 1: "k"}
    return named.get(rate, f"{rate:g}k")


def prtest_samples(data: dict[str, Any]) -> str:
    """Mean draws and true error rates of tests of a failure rate."""
    first_whole = sorted(data["tolerances"], key=lambda x: x != "0.01")
    tables = [_samples_table(data, tolerance) for tolerance in first_whole]
    again, passes = data["retest"], data["hundred_draws"]
    grown = ", ".join(
        f"{100 * found['certified']:.1f} % by {int(n_max):,}"
        for n_max, found in again["by"].items()
    )
    wrong = ", ".join(f"{_percent(x['1'])} at k = {k}" for k, x in passes.items())
    sizes = "; ".join(
        f"k = {k}: {x['cheapest_proof']:,} and {x['final_test']:,}"
        for k, x in data["provero"].items()
    )
    prtest, at_k = data["tolerances"]["0.01"]["prtest at .01"], data["rates"].index(1)
    ends = ", ".join(
        f"{_percent(prtest[key][at_k])} {key}"
        for key in ("certified", "refuted", "undecided")
    )
    lines = [
        f"PRTest at level 1 %, p = k = 0.01, at most {prtest['n_max']:,} draws: {ends}.",
        f"An exact test at level 1 % every 64 draws, k = p = {again['tolerance']:g}, has certified "
        f"wrongly: {grown} draws.",
        f"The 100-draw rule passes an image with p = k: {wrong}; and one with p = 2k at k = 0.01: "
        f"{_percent(passes['0.01']['2'])}.",
        "PROVERO by its published formula at level 1 %, not run (draws of its cheapest proof, and "
        f"of its final test): {sizes}.",
    ]
    versions = data["versions"]
    origin = (
        f"Exact on any machine; numpy {versions['numpy']}, scipy {versions['scipy']}."
    )
    return "\n".join([*tables, *(f"- {line}" for line in lines), "", origin, ""])


def prtest_laws(data: dict[str, Any]) -> str:
    """PRA of six models under five laws at three tolerances, next to what PGD leaves."""
    laws = list(data["laws"]["cifar10"])
    head = ["model", "clean", "PGD-20", *laws]
    rows = []
    for name, case in data["cases"].items():
        shares = [
            " / ".join(f"{100 * row['pra']:.1f}" for row in case["laws"][law].values())
            for law in laws
        ]
        plain = [f"{100 * case[key]:.1f}" for key in ("clean_accuracy", "pgd_accuracy")]
        rows.append([f"`{name}`", *plain, *shares])
    undecided = [
        row["undecided"]
        for case in data["cases"].values()
        for law in case["laws"].values()
        for row in law.values()
    ]
    machine, versions = data["machine"], data["versions"]
    return table(head, rows) + (
        f"\n{data['n']} images a model, percent; each cell at tolerance .1 / .01 / .001. Undecided "
        f"images count as not certified: {sum(undecided) / len(undecided):.1f} of {data['n']} on "
        f"average, {max(undecided)} at most.\n{machine['device']}; Python {versions['python']}, "
        f"torch {versions['torch']}.\n"
    )


def prtest_throughput(data: dict[str, Any]) -> str:
    """PRTest's rows a second as a share of a bare loop's."""
    head = ["model", "images x draws", "bare loop, us a row", "PRTest, us a row"]
    head += ["ratio of minima", "asked", "where the rest goes"]
    rows = []
    for case in data["cases"]:
        times, (low, high) = case["microseconds_a_row"], case["interval"]
        shares = sorted(case["shares"].items(), key=lambda item: -item[1])[:3]
        rows.append(
            [
                f"`{case['model']}`",
                f"{case['images']} x {case['draws']}",
                f"{times['bare']:,.1f}",
                f"{times['ours']:,.1f}",
                f"{case['ratio']:.2f} [{low:.2f}, {high:.2f}]",
                f">= {case['asked']:.2f}",
                ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares),
            ]
        )
    counts = sorted({case["alternations"] for case in data["cases"]})
    words = f"\nMinima of {' to '.join(map(str, counts))} alternations.\n"
    return table(head, rows) + words + origin(data)


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "prtest_data": prtest_data,
    "verified_rows": verified_rows,
    "data_audit": data_audit,
    "budgeted_accuracy": budgeted_accuracy,
    "budgeted_truth": budgeted_truth,
    "import_time": import_time,
    "models_table": models_table,
    "fast_models": fast_models,
    "ellips_mnist": ellips_mnist,
    "bracket": bracket,
    "certify": certify,
    "certify_audit": certify_audit,
    "smoothing_logs": smoothing_logs,
    "fim_blackbox": fim_blackbox,
    "fim_cost": fim_cost,
    "fim_validity": fim_validity,
    "fisher_bounds": fisher_bounds,
    "bootstrap_coverage": bootstrap_coverage,
    "lipschitz_tightness": lipschitz_tightness,
    "stress": stress,
    "ood": ood,
    "ood_coverage": ood_coverage,
    "shift": shift,
    "ellips_speed": ellips_speed,
    "ellips_synthetic": ellips_synthetic,
    "hpm_batches": hpm_batches,
    "hpm_sensitivity": hpm_sensitivity,
    "hpm_table": hpm_table,
    "masking": masking,
    "msa_anchor": msa_anchor,
    "msa_cost": msa_cost,
    "msa_masks": msa_masks,
    "msa_parity": msa_parity,
    "msa_truth": msa_truth,
    "own_curves": own_curves,
    "own_gates": own_gates,
    "own_easy": own_easy,
    "own_memory": own_memory,
    "own_successors": own_successors,
    "own_thousand": own_thousand,
    "profiles": profiles,
    "own_vs_autoattack": own_vs_autoattack,
    "prtest_laws": prtest_laws,
    "prtest_throughput": prtest_throughput,
    "prtest_samples": prtest_samples,
}


def filled(text: str) -> str:
    """`text` with every marked block written anew from its record."""

    def block(match: re.Match[str]) -> str:
        name = match.group(2)
        data = record.read(record.RESULTS / f"{name}.json")
        return match.group(1) + "\n" + TABLES[name](data) + match.group(3)

    return BLOCK.sub(block, text)


def main() -> int:
    """Write the tables, or say with exit code 1 which file is stale."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    stale = []
    for path in FILES:
        text = Path(path).read_text(encoding="utf-8")
        if filled(text) != text:
            stale.append(path.name)
            if not check:
                path.write_text(filled(text), encoding="utf-8")
    if check and stale:
        sys.stderr.write(f"stale tables in {stale}; run {Path(__file__).name}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
