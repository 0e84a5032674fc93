"""At which of many radii does each row fall? The largest first, then bisection, row by row.

A row that withstands a radius counts as unbroken below it. Of a row that falls the change that
broke it may be shorter than the radius; it breaks the row at every radius that is no shorter, and,
moved into a smaller ball, it is the first candidate there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from ...data.stream import Batch
from ...errors import ConfigError
from ...numerics.arguments import parse_number
from ...numerics.norms import per_row
from ...results.base.facts import Cost
from ...results.datasets.curve import Curve
from ..judge.ledger import Ledger

Attack = Callable[[Tensor, Tensor, Tensor, Tensor, "Tensor | None"], Ledger]
"""(images (m, ...), labels (m,), ids (m,), eps (m,), first candidates or None) -> its judge."""


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


def sweep(
    attack: Attack, batch: Batch, radii: Sequence[float], meter: Callable[[], Cost]
) -> Curve:
    """The curve of the rows of a batch with labels. meter: row-passes so far.

    One attack at the largest radius on all rows, and at most log2(R) more on those that it breaks.
    """
    known, images, labels, ids = ascending(radii), batch.images, batch.labels, batch.ids
    assert labels is not None
    n, before, started = len(images), meter(), time.perf_counter()
    low, high = np.full(n, -1), np.full(n, len(known))
    best, right = images.clone(), np.ones(n, dtype=bool)
    asked = np.full(n, len(known) - 1)
    rows = np.arange(n)
    while len(rows):
        place = torch.from_numpy(rows).to(images.device)
        eps = torch.tensor([known[i] for i in asked[rows]], dtype=torch.float64)
        first = best[place] if (high[rows] < len(known)).any() else None
        ledger = attack(
            images[place],
            labels[place],
            ids[place.to(ids.device)],
            eps.to(images),
            first,
        )
        if first is None:
            right = ledger.right.copy()
        fallen = ledger.breaker >= 0
        low[rows[~fallen]] = asked[rows[~fallen]]
        best[place] = torch.where(
            per_row(torch.from_numpy(fallen).to(best.device), best),
            ledger.best,
            best[place],
        )
        length = ledger.lengths()[fallen]
        reach = np.searchsorted(np.array(known) * (1 + 1e-6), length)
        high[rows[fallen]] = np.minimum(reach, asked[rows[fallen]])
        open_rows = right & (high - low > 1) & (high < len(known))
        rows = np.flatnonzero(open_rows)
        asked = (low + high) // 2
    after = meter()
    cost = Cost(
        after.forward - before.forward,
        after.backward - before.backward,
        time.perf_counter() - started,
    )
    breaks = torch.from_numpy(high.astype(np.int64))
    return Curve(known, breaks, torch.from_numpy(right), cost)
