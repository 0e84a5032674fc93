"""What do fresh draws say of a target that answers at random? Counts of right answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...engines.judge.active import Array
from ...results.base.facts import Flag


@dataclass(frozen=True, eq=False)
class Fresh:
    """Votes of fresh draws over some rows; counts of right answers (B,) of `n` draws each.

    clean, control: on the clean image, two separate sets of draws; found: on the candidate. right:
    most of `clean` are right. broken: and most of `found` are wrong; doubted: and most of `control`
    are, though nobody touched the image.

    >>> one = np.ones(1, dtype=np.int64)
    >>> some = Fresh(2, one, one, one, one > 0, one < 0, one < 0)
    >>> (some + some).facts()["expected_accuracy"]
    0.5
    """

    n: int
    clean: Array = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    control: Array = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    found: Array = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    right: Array = field(default_factory=lambda: np.zeros(0, dtype=bool))
    doubted: Array = field(default_factory=lambda: np.zeros(0, dtype=bool))
    broken: Array = field(default_factory=lambda: np.zeros(0, dtype=bool))

    def __add__(self, other: Fresh) -> Fresh:
        names = ("clean", "control", "found", "right", "doubted", "broken")
        joined = {
            k: np.concatenate([getattr(self, k), getattr(other, k)]) for k in names
        }
        return Fresh(self.n, **joined)

    def facts(self) -> dict[str, Any]:
        """Shares over all rows, in JSON types; `nan` without rows."""
        kept = self.right & ~self.broken

        def share(values: Array) -> float:
            return float(values.mean()) if len(values) else float("nan")

        return {
            "draws": self.n,
            "clean_expected_accuracy": share(self.clean / self.n),
            "clean_majority_accuracy": share(self.right),
            "expected_accuracy": share(np.where(self.right, self.found, 0) / self.n),
            "majority_accuracy": share(kept),
            "control_broken_by_majority": share(self.doubted[self.right]),
            "control_broken_by_one_draw": share(
                (self.control < self.n)[self.right],
            ),
        }

    def flag(self) -> Flag:
        """The numbers as one sentence; they stand beside every result of a randomised target."""
        facts = self.facts()
        text = (
            f"randomised target, {self.n} fresh draws an image: expected accuracy "
            f"{facts['expected_accuracy']:.3f} (clean {facts['clean_expected_accuracy']:.3f}), by "
            f"majority {facts['majority_accuracy']:.3f} (clean "
            f"{facts['clean_majority_accuracy']:.3f}); on untouched images the rule breaks "
            f"{facts['control_broken_by_majority']:.3f}, one unlucky draw in {self.n} would break "
            f"{facts['control_broken_by_one_draw']:.3f}"
        )
        return Flag("fresh_draws", text)
