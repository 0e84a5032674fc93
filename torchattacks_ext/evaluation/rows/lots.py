"""Which rows does a stage get at once? Batches as they come, or groups in the order of the data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ...data.stream import Batch
from ...engines.judge.active import Judged


@dataclass(frozen=True, eq=False)
class Lot:
    """Rows at consecutive places of the data, and their clean answers once they are known.

    content: (N,) int64, what each row shows, where a state asks for it.
    """

    batch: Batch
    clean: Judged | None = None
    content: Tensor | None = None

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def start(self) -> int:
        """The place of its first row in the data."""
        return int(self.batch.index[0])

    @property
    def stop(self) -> int:
        """One beyond the place of its last row."""
        return self.start + len(self.batch)

    def cut(self, start: int, stop: int) -> Lot:
        """The rows at places start .. stop - 1 of the data."""
        if (start, stop) == (self.start, self.stop):
            return self
        part, b = slice(start - self.start, stop - self.start), self.batch
        batch = Batch(
            b.ids[part],
            b.images[part],
            None if b.labels is None else b.labels[part],
            b.index[part],
            None if b.groups is None else b.groups[part],
        )
        rows = np.arange(part.start, part.stop)
        clean = None if self.clean is None else self.clean.take(rows)
        return Lot(batch, clean, None if self.content is None else self.content[part])

    def split(self, most: int | None) -> Iterator[Lot]:
        """In parts of at most `most` rows."""
        step = len(self) if most is None else most
        for at in range(self.start, self.stop, step):
            yield self.cut(at, min(at + step, self.stop))


def joined(lots: Sequence[Lot]) -> Lot:
    """Neighbours whose clean answers are known, as one."""
    if len(lots) == 1:
        return lots[0]
    batches = [lot.batch for lot in lots]
    cleans = [lot.clean for lot in lots if lot.clean is not None]
    labels = [b.labels for b in batches if b.labels is not None]
    groups = [b.groups for b in batches if b.groups is not None]
    fields = ("margin", "failed", "close", "finite", "prediction")
    return Lot(
        Batch(
            torch.cat([b.ids for b in batches]),
            torch.cat([b.images for b in batches]),
            torch.cat(labels) if labels else None,
            torch.cat([b.index for b in batches]),
            sum(groups, ()) if groups else None,
        ),
        Judged(**{f: np.concatenate([getattr(c, f) for c in cleans]) for f in fields}),
    )


class Grouping:
    """Lots on their way into groups of `size` rows, counted from the first row of the data.

    A group ends early where rows are missing (the model raised on them) or images change their
    shape: one call cannot take them.
    """

    def __init__(self, size: int) -> None:
        self._size, self._waiting = size, list[Lot]()

    def add(self, lot: Lot) -> Iterator[Lot]:
        """Take neighbours of the lots before; gives what they make complete."""
        for block in range(lot.start // self._size, (lot.stop - 1) // self._size + 1):
            first = block * self._size
            part = lot.cut(max(lot.start, first), min(lot.stop, first + self._size))
            last = self._waiting[-1] if self._waiting else None
            if last is not None and not self._fits(last, part):
                yield from self.rest()
            self._waiting.append(part)
            if part.stop == first + self._size:
                yield from self.rest()

    def _fits(self, last: Lot, part: Lot) -> bool:
        """Whether the two are neighbours in one group, of one shape, alike in having groups."""
        one, two = last.batch, part.batch
        return (
            last.stop == part.start
            and last.start // self._size == part.start // self._size
            and one.images.shape[1:] == two.images.shape[1:]
            and one.images.dtype == two.images.dtype
            and (one.groups is None) == (two.groups is None)
        )

    def rest(self) -> Iterator[Lot]:
        """What waits, as one lot."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            yield joined(waiting)


def with_answers(lot: Lot, clean: Judged) -> Lot:
    """The same rows, their clean answers known."""
    return replace(lot, clean=clean)


def covered(lot: Lot, spans: Iterable[tuple[int, int]]) -> Iterator[tuple[Lot, bool]]:
    """The parts of a lot that lie inside one of the ascending spans, and those that do not."""
    at = lot.start
    for start, stop in spans:
        if stop <= at or start >= lot.stop:
            continue
        if start > at:
            yield lot.cut(at, start), False
        inside = max(start, at), min(stop, lot.stop)
        yield lot.cut(*inside), True
        at = inside[1]
    if at < lot.stop:
        yield lot.cut(at, lot.stop), False
