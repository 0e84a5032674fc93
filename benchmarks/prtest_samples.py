"""How many draws does a verdict cost, and how often is it wrong? Exact: nothing is drawn.

For each design of designs.py the mean number of draws and the probability of each outcome, from
the law of the failures, at true failure rates from 0 to five times the tolerance.

Run: python benchmarks/prtest_samples.py [--tolerances 0.1 0.01 0.001]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import designs
import record

from torchattacks_ext.numerics.rates.operating import Operating, operating
from torchattacks_ext.numerics.rates.sequential import Boundaries, boundaries
from torchattacks_ext.results.base.facts import versions

RATES = (0, 0.1, 0.5, 1, 2, 5)
"""True failure rates, in units of the tolerance."""
BUDGET = 200
"""Greatest number of draws of PRTest's table, in units of 1 / tolerance: 20,000 at .01."""
RETEST_MAX = 1_000_000
"""Draws after which the rule without an end is stopped here."""


def prtest(tolerance: float, significance: float) -> Boundaries:
    """PRTest's own table: three verdicts, its default looks, 200 / tolerance draws at most."""
    return boundaries(tolerance, significance, round(BUDGET / tolerance))


Design = Callable[[float], Boundaries]
DESIGNS: dict[str, Design] = {
    "prtest": partial(prtest, significance=0.001),
    "fixed": partial(designs.fixed, significance=0.001),
    "prtest at .01": partial(prtest, significance=0.01),
    "fixed at .01": partial(designs.fixed, significance=0.01),
    "curtailed at .01": partial(designs.curtailed, significance=0.01),
    "sprt at .01": partial(designs.sprt, significance=0.01),
    "group_halving at .01": partial(designs.group_halving, significance=0.01),
    "group_equal at .01": partial(designs.group_equal, significance=0.01),
    "e_process_with_futility at .01": partial(
        designs.e_process_with_futility, significance=0.01
    ),
    "zero_failure at .01": partial(designs.zero_failure, significance=0.01),
    "hundred_draws": designs.hundred_draws,
    "retest at .01": partial(designs.retest, significance=0.01, n_max=RETEST_MAX),
}


def rounded(x: float) -> float:
    """Nine digits: what every machine agrees on."""
    return float(f"{x:.9g}")


def measure(design: Design, tolerance: float) -> dict[str, Any]:
    """One entry a design: its size, and for each rate its cost and its outcomes."""
    table = design(tolerance)
    found = [operating(table, rate * tolerance) for rate in RATES]
    columns = zip(Operating._fields, zip(*found))
    return {
        "n_max": table.n_max,
        "looks": len(table.looks),
        **{name: [rounded(x) for x in column] for name, column in columns},
    }


def growth(tolerance: float, significance: float) -> dict[str, Any]:
    """What re-testing at p_fail = tolerance comes to as it goes on."""
    found = {
        str(n_max): operating(designs.retest(tolerance, significance, n_max), tolerance)
        for n_max in (1_024, 10_000, 100_000, 1_000_000)
    }
    return {
        "tolerance": tolerance,
        "significance": significance,
        "by": {n_max: operated(x) for n_max, x in found.items()},
    }


def operated(found: Operating) -> dict[str, float]:
    """As JSON."""
    return {name: rounded(x) for name, x in found._asdict().items()}


def false_passes() -> dict[str, dict[str, float]]:
    """How often the 100-draw rule passes an image at the tolerance and at twice that."""
    return {
        str(tolerance): {
            str(rate): rounded(
                operating(designs.hundred_draws(tolerance), rate * tolerance).certified
            )
            for rate in (1, 2)
        }
        for tolerance in (0.1, 0.05, 0.01)
    }


def main() -> None:
    """Compute everything and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--tolerances", type=float, nargs="+", default=[0.1, 0.01, 0.001]
    )
    parser.add_argument(
        "--out", type=Path, default=record.RESULTS / "prtest_samples.json"
    )
    args = parser.parse_args()
    record.write(
        args.out,
        {
            "question": "mean draws an image and true error rates of tests of p_fail",
            "machine": record.machine(),
            "versions": versions(),
            "rates": RATES,
            "tolerances": {
                str(tolerance): {
                    name: measure(design, tolerance) for name, design in DESIGNS.items()
                }
                for tolerance in args.tolerances
            },
            "provero": {str(x): designs.provero(x, 0.01) for x in args.tolerances},
            "retest": growth(0.05, 0.01),
            "hundred_draws": false_passes(),
        },
    )


if __name__ == "__main__":
    main()
