"""How accurate is a batch-dependent target under each protocol? Counts over deployed batches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ...engines.judge.active import Array
from ...results.base.facts import Flag

NUMBERS = ("clean", "iso", "union", "realised", "bystanders_clean", "bystanders")


@dataclass(frozen=True, eq=False)
class Tally:
    """Counts of the deployed batches of one partition, in the order of `NUMBERS`; they add up.

    n: rows in those batches; n_rest: of them, those that stay clean beside attackers.

    >>> (Tally(np.ones(6), 2, 1) + Tally(np.zeros(6), 2, 1)).numbers()["iso"]
    0.25
    """

    counts: Array = field(default_factory=lambda: np.zeros(len(NUMBERS)))
    n: int = 0
    n_rest: int = 0

    def __add__(self, other: Tally) -> Tally:
        counts = self.counts + other.counts
        return Tally(counts, self.n + other.n, self.n_rest + other.n_rest)

    def numbers(self) -> dict[str, float]:
        """Accuracies by name; the bystanders' are shares of the rest, others of all rows."""
        of = [self.n] * 4 + [self.n_rest] * 2
        return {
            name: float(count / max(whole, 1))
            for name, count, whole in zip(NUMBERS, self.counts, of)
        }


def finished(partitions: Iterable[Tally]) -> list[dict[str, float]]:
    """The numbers of the first partition, and of others that are of as many rows.

    The budget may end a run within a partition; numbers of fewer rows are no second deployment.

    >>> len(finished([Tally(n=8), Tally(n=8), Tally(n=4)]))
    2
    """
    found = list(partitions)
    return [tally.numbers() for tally in found if tally.n == found[0].n]


def protocols_flag(found: list[dict[str, float]], headline: str, size: int) -> Flag:
    """All protocols as one sentence; they stand beside every result of such a target."""
    said = []
    for name in NUMBERS:
        values = [one[name] for one in found]
        low, high = min(values), max(values)
        spread = f" ({low:.3f} to {high:.3f})" if len(values) > 1 else ""
        said.append(f"{name.replace('_', ' ')} {values[0]:.3f}{spread}")
    text = (
        f"batch-dependent target in batches of {size}, {len(found)} partitions: accuracy "
        f"{', '.join(said)}; the rows hold {headline} of the first partition"
    )
    return Flag("batch_protocols", text, details={"partitions": found})
