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
from readme_monitor import monitor
from readme_msa import msa_anchor, msa_cost, msa_masks, msa_parity, msa_truth
from readme_own import own_curves, own_gates, own_vs_autoattack
from readme_profiles import profile_three
from readme_prtest import (
    import_time,
    prtest_data,
    prtest_laws,
    prtest_samples,
    prtest_throughput,
    verified_rows,
)
from readme_radii import ellips_speed, ellips_synthetic
from readme_sets import ood, ood_coverage, shift
from readme_stress import stress

FILES = (
    record.ROOT / "README.md",
    record.ROOT / "benchmarks" / "README.md",
    record.ROOT / "docs" / "models.md",
)
BLOCK = re.compile(r"(<!-- from: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "prtest_data": prtest_data,
    "verified_rows": verified_rows,
    "data_audit": data_audit,
    "budgeted_accuracy": budgeted_accuracy,
    "budgeted_truth": budgeted_truth,
    "import_time": import_time,
    "models_table": models_table,
    "monitor": monitor,
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
    "profile_three": profile_three,
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
