"""What is left of each class or group? Right when clean, and after every stage that counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..accuracy import Accuracy
from ..base.shares import share_between

Sides = tuple[float, float]


@dataclass(frozen=True)
class Part:
    """name: of the class or group. n: images with an answer. right: of them when clean.

    left: right ones that no stage broke, None where nothing was attacked; what a stage did not get
    through counts as withstanding it. right_interval, left_interval: exact, for a new image of this
    part (Clopper & Pearson 1934), each by itself; (0, 1) where rows were chosen.
    """

    name: str
    n: int
    right: int
    right_interval: Sides
    left: int | None = None
    left_interval: Sides | None = None


def parts(
    clean: Accuracy,
    names: Sequence[str],
    standing: tuple[Tensor, Tensor] | None,
    confidence: float,
) -> tuple[Part, ...]:
    """One a name, in their order of first appearance among the sorted names.

    names: of each row of `clean`. standing: (N,) bool each, rows that withstand and those of them
    that are not known to. Raises ConfigError for a confidence outside (0, 1), where there are rows.

    >>> import torch
    >>> from torchattacks_ext import evaluate
    >>> from torchattacks_ext.testing import RateVictim
    >>> data = torch.arange(8.0).view(2, 1, 2, 2) / 8, torch.tensor([0, 1])
    >>> clean = evaluate(RateVictim(0.0), data, {"eps": 0.1, "stages": ["clean"]})["clean"].result
    >>> [(part.name, part.right) for part in parts(clean, ["a", "b"], None, 0.95)]
    [('a', 1), ('b', 0)]
    """
    known = sorted(
        set(names), key=lambda name: (len(name), name) if name.isdigit() else (0, name)
    )
    number = {name: i for i, name in enumerate(known)}
    which = torch.tensor([number[name] for name in names], dtype=torch.int64)
    size = len(known)

    def count(rows: Tensor) -> list[int]:
        found: list[int] = torch.bincount(which[rows], minlength=size).tolist()
        return found

    n, right = count(clean.answered), count(clean.clean_correct == 1)
    alive = count(standing[0]) if standing else None
    late = count(standing[1]) if standing else None
    said = clean.chosen, clean.n_copies

    def sides(least: int, unknown: int, of: int) -> Sides:
        _, (low, high) = share_between(least, unknown, of, confidence, *said)
        return low, high

    return tuple(
        Part(
            name,
            n[i],
            right[i],
            sides(right[i], 0, n[i]),
            None if alive is None else alive[i],
            (
                None
                if alive is None or late is None
                else sides(alive[i] - late[i], late[i], n[i])
            ),
        )
        for i, name in enumerate(known)
    )
