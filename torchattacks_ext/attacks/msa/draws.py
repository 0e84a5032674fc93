"""What do fresh draws say of a target that answers at random? Counts of right answers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...engines.judge.active import Array


@dataclass(frozen=True, eq=False)
class Fresh:
    """Votes of fresh draws over some rows; counts of right answers (B,) of `n` draws each.

    clean, control: on the clean image, two separate sets of draws; found: on the candidate. right:
    most of `clean` are right. broken: and most of `found` are wrong; doubted: and most of `control`
    are, though nobody touched the image.

    >>> one = np.ones(1, dtype=np.int64)
    >>> some = Fresh(2, one, one, one, one > 0, one < 0, one < 0)
    >>> (some + some).found.tolist()
    [1, 1]
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
