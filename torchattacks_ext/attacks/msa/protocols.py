"""How accurate is a batch-dependent target under each protocol? Counts over deployed batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...engines.judge.active import Array
from ...results.unfixed import NUMBERS


@dataclass(frozen=True, eq=False)
class Tally:
    """Counts of the deployed batches of one partition, in the order of `NUMBERS`; they add up.

    n: rows in those batches; n_rest: of them, those that stay clean beside attackers.

    >>> (Tally(np.ones(6), 2, 1) + Tally(np.zeros(6), 2, 1)).facts()["n"]
    4
    """

    counts: Array = field(default_factory=lambda: np.zeros(len(NUMBERS)))
    n: int = 0
    n_rest: int = 0

    def __add__(self, other: Tally) -> Tally:
        counts = self.counts + other.counts
        return Tally(counts, self.n + other.n, self.n_rest + other.n_rest)

    def facts(self) -> dict[str, Any]:
        """In JSON types."""
        return {"counts": self.counts.tolist(), "n": self.n, "n_rest": self.n_rest}


def read_tally(facts: Mapping[str, Any]) -> Tally:
    """The inverse of `facts`.

    >>> read_tally(Tally(np.ones(6), 2, 1).facts()).n_rest
    1
    """
    return Tally(np.array(facts["counts"], float), facts["n"], facts["n_rest"])
