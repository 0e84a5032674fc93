"""Which kinds of models have the numbers of a plain module, and what is said of the others?

Each kind of tests/compat/kinds is built and measured by PRTest, FIMScore and MSA, and so is a plain
module with the same weights. Equal: the same verdicts and flags, log lambda within 1e-4.

Resumable: finished kinds are kept; --again measures them anew.

Run: python benchmarks/models_table.py [--only GROUP ...] [--again]
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import record
import torch

sys.path.insert(0, str(record.ROOT / "tests" / "compat"))

from kinds.case import COMPILER, VERBS, Kind, version  # noqa: E402
from kinds.every import GROUPS, every  # noqa: E402
from kinds.verbs import ask, hushed  # noqa: E402

from torchattacks_ext.results.base.facts import versions  # noqa: E402

PATH = record.RESULTS / "models_table.json"


def measured(kind: Kind) -> dict[str, Any]:
    """The answers of one kind."""
    start = time.perf_counter()
    with hushed():
        case = kind.build()
    answers = {verb: ask(case, verb).to_dict() for verb in VERBS}
    case.close()
    packages = {name: version(name) for name in kind.packages if name != COMPILER}
    seconds = round(time.perf_counter() - start, 1)
    return {
        "group": kind.group,
        "packages": packages,
        "answers": answers,
        "seconds": seconds,
    }


def main() -> int:
    """Measure, write the record, say what differs; exit code 1 where something does."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", help="names of kinds or of their groups")
    parser.add_argument(
        "--again", action="store_true", help="also those that are there"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    for kind in every():
        if not any(
            words in (kind.name, kind.group) for words in options.only or [kind.name]
        ):
            continue
        rows = record.read(PATH).get("kinds", {})
        if kind.name in rows and not options.again:
            continue
        why = kind.missing()
        if why:
            sys.stderr.write(f"{kind.name}: left out, {why}\n")
            continue
        row = measured(kind)
        said = {verb: a["status"] for verb, a in row["answers"].items()}
        sys.stderr.write(f"{kind.name}: {said}, {row['seconds']} s\n")
        # read again: another run may have written other kinds
        write(record.read(PATH).get("kinds", {}) | {kind.name: row})
    rows = record.read(PATH).get("kinds", {})
    write(rows)
    odd = [n for n, row in rows.items() if "different" in str(row["answers"].values())]
    sys.stderr.write(f"different: {odd}\n" if odd else "nothing is different\n")
    return 1 if odd else 0


def write(rows: dict[str, Any]) -> None:
    """The record, kinds in the order of the table."""
    names = [kind.name for kind in every() if kind.name in rows]
    record.write(
        PATH,
        {
            "machine": record.machine(),
            "versions": versions(),
            "groups": GROUPS,
            "kinds": {name: rows[name] for name in names},
        },
    )


if __name__ == "__main__":
    sys.exit(main())
