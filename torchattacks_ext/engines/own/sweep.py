"""At which of many radii does each row fall? The largest first, then those below it.

A row that withstands a radius counts as unbroken below it. Of a row that falls the change that
broke it may be shorter than the radius; it breaks the row at every radius that is no shorter. Moved
into a smaller ball it is the first candidate there, and the own engine climbs on from it. What
gradients broke at a larger radius they lead to from there, so that for such a row the gates of
noise and squares, most of the price of a row that withstands, are a quarter as wide.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ...data.stream import Batch
from ...errors import ConfigError
from ...numerics.arguments import parse_number
from ...numerics.norms import per_row
from ...results.base.facts import Cost
from ...results.datasets.curve import Curve
from ..judge.active import Array
from ..judge.ledger import Ledger
from ..judge.spec import AttackSpec
from .plans import LATE

Lines = tuple[AttackSpec, ...]
Attack = Callable[
    [Tensor, Tensor, Tensor, Tensor, "Tensor | None", "Lines | None"], Ledger
]
"""(images (m, ...), labels (m,), ids (m,), eps (m,), first candidates or None, lines or None for
the whole plan) -> its judge."""
ONWARD = AttackSpec("warm", on="target", loss="pm-t", steps=20)
"""The climb from what broke a row at a larger radius."""
DOWN = 8
"""The radii that are left for a row are gone down by this part of them."""
BLIND = (*LATE, "noise")
"""Kinds that need no gradient."""
NARROW = 0.25
"""A gate of noise and squares after that climb, as a part of the plan's. Set on resnet2b_at2 of
CIFAR-10 and mnist_fast_pgd (128 images): rows that noise still broke had come below .06."""


def ascending(radii: Sequence[float]) -> tuple[float, ...]:
    """The radii as floats. Raises ConfigError unless they ascend from above 0.

    >>> ascending(["1/255", 0.1])
    (0.00392156862745098, 0.1)
    """
    if isinstance(radii, str) or not isinstance(radii, Iterable):
        raise ConfigError(f"radii={radii!r:.80} are to be several, in a list")
    found = tuple(parse_number(radius, "radii") for radius in radii)
    if not found or found[0] <= 0 or any(a >= b for a, b in zip(found, found[1:])):
        raise ConfigError(f"radii={list(radii)!r:.80} must ascend, from above 0")
    return found


def below(lines: Lines) -> tuple[Lines, Lines]:
    """What is run below the largest radius: on rows that a gradient broke above, and on others.

    >>> from .plans import PLANS
    >>> few, whole = below(PLANS["fast"][:3])
    >>> [(line.label, line.gate) for line in few[1:]]
    [('warm-pm-t-20', inf), ('malt-1-30', 0.5), ('smooth-2-100', 0.075)]
    """
    onward = (*lines[:1], ONWARD, *lines[1:])
    narrow = (replace(one, gate=NARROW * one.gate) for one in onward)
    return (
        tuple(n if n.kind in LATE else one for n, one in zip(narrow, onward)),
        onward,
    )


@dataclass(eq=False)
class _Fallen:
    """What is known of n rows at R radii, while they are asked.

    low, high (n,): numbers of the largest radius that a row withstood (-1), and of the smallest at
    which it fell (R). best (n, ...): what broke it there. late (n,) bool: whether something that
    needs no gradient ever did. right (n,) bool: clean rows.
    """

    radii: tuple[float, ...]
    low: Array
    high: Array
    best: Tensor
    late: Array
    right: Array

    @classmethod
    def before(cls, radii: tuple[float, ...], images: Tensor) -> _Fallen:
        n = len(images)
        low, high = np.full(n, -1), np.full(n, len(radii))
        return cls(radii, low, high, images.clone(), high < 0, high > 0)

    @property
    def open(self) -> Array:
        """Rows that fell somewhere, and of which it is not known whether they do below."""
        fell = self.high < len(self.radii)
        return np.flatnonzero(self.right & fell & (self.high - self.low > 1))

    def next(self, rows: Array) -> Array:
        """Number of the radius to ask these rows (m,) about: an eighth of the way down.

        A row that falls costs a few steps, one that withstands all of them: by halves most rows
        would withstand more than once.
        """
        low, high = self.low[rows], self.high[rows]
        found: Array = high - np.maximum(1, (high - low) // DOWN)
        return found

    def note(self, rows: Array, asked: Array, ledger: Ledger) -> None:
        """Rows (m,) were asked about radii number `asked` (m,)."""
        fallen = ledger.breaker >= 0
        self.low[rows[~fallen]] = asked[~fallen]
        place = torch.from_numpy(rows).to(self.best.device)
        broken = torch.from_numpy(fallen).to(self.best.device)
        self.best[place] = torch.where(
            per_row(broken, self.best), ledger.best, self.best[place]
        )
        reach = np.searchsorted(
            np.array(self.radii) * (1 + 1e-6), ledger.lengths()[fallen]
        )
        self.high[rows[fallen]] = np.minimum(reach, asked[fallen])
        kinds = [name.partition("/")[2].startswith(BLIND) for name in ledger.sources]
        self.late[rows[fallen]] |= np.array(kinds, dtype=bool)[ledger.breaker[fallen]]


def sweep(
    attack: Attack,
    batch: Batch,
    radii: Sequence[float],
    meter: Callable[[], Cost],
    lines: Lines | None = None,
) -> Curve:
    """The curve of the rows of a batch with labels. meter: row-passes so far.

    One attack at the largest radius on all rows, and on those that it breaks others further down,
    until each has withstood one: of 8 radii the next smaller one each time.
    lines: of the own engine, which below that radius are those of :func:`below`; None runs the
    whole plan everywhere.
    """
    known, images, labels, ids = ascending(radii), batch.images, batch.labels, batch.ids
    assert labels is not None
    before, started = meter(), time.perf_counter()

    def ask(rows: Array, asked: Array, plan: Lines | None, first: bool) -> Ledger:
        place = torch.from_numpy(rows).to(images.device)
        eps = torch.tensor([known[i] for i in asked], dtype=torch.float64).to(images)
        given = images[place], labels[place], ids[place.to(ids.device)], eps
        ledger = attack(*given, None if first else found.best[place], plan)
        found.note(rows, asked, ledger)
        return ledger

    found, every = _Fallen.before(known, images), np.arange(len(images))
    found.right = ask(every, every * 0 + len(known) - 1, None, True).right.copy()
    few, whole = (None, None) if lines is None else below(lines)
    while len(found.open):
        rows, late = found.open, found.late[found.open]
        for part, plan in ((rows[~late], few), (rows[late], whole)):
            if len(part):
                ask(part, found.next(part), plan, False)
    after = meter()
    cost = Cost(
        after.forward - before.forward,
        after.backward - before.backward,
        time.perf_counter() - started,
    )
    breaks = torch.from_numpy(found.high.astype(np.int64))
    return Curve(known, breaks, torch.from_numpy(found.right), cost)
