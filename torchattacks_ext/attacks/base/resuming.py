"""What of an earlier result may stay? Its finished rows, where settings and data are the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ..._typing import Status
from ...data.stream import Batch, Stream
from ...errors import StateError
from ...results.base import codec
from ...results.base.columns import Rows
from ...results.base.result import Result

FINISHED = (int(Status.OK), int(Status.NON_FINITE))
"""How rows end on which nothing is left to do."""


def same_settings(
    ours: dict[str, Any], theirs: Mapping[str, Any], free: Iterable[str]
) -> None:
    """Raises StateError where a result has other settings; those in `free` may differ."""
    left, right = dict(codec.plain(ours)), dict(codec.plain(theirs))
    for key in free:
        left.pop(key, None)
        right.pop(key, None)
    odd = sorted(k for k in left.keys() | right.keys() if left.get(k) != right.get(k))
    if odd:
        shown = {key: (right.get(key), left.get(key)) for key in odd}
        raise StateError(
            f"resume= has other settings (theirs, ours): {shown}; use the same, or start anew"
        )


def places_of(batch: Batch, earlier: Result) -> Tensor:
    """Row numbers (B,) of a batch in an earlier result. Raises StateError for unknown ids."""
    old = earlier.find(batch.ids.cpu())
    if bool((old < 0).any()):
        raise StateError(
            f"{int((old < 0).sum())} images are not in the result to resume; give the same "
            "data (and the same ids=)"
        )
    return old


def same_reference(wanted: Tensor | None, known: Tensor) -> None:
    """Raises StateError where the classes that count (B,) are not those of the earlier rows (B,).

    wanted: None where nobody knows them without asking the model.

    >>> same_reference(torch.tensor([1]), torch.tensor([1]))
    """
    odd = 0 if wanted is None else int((wanted.cpu() != known).sum())
    if odd:
        raise StateError(
            f"resume= has other labels or targets for {odd} of {len(known)} images; use the same, "
            "or start anew"
        )


def taken_over(batch: Batch, earlier: Result | None) -> tuple[Rows | None, Batch]:
    """Rows that an earlier result has finished, as they are, and what of the batch is left to do.

    None where no row is finished; the rest of the batch may be empty. Raises StateError for rows
    that the result does not have, or has with another label.
    """
    if earlier is None:
        return None, batch
    old = places_of(batch, earlier)
    columns = {
        spec.name: getattr(earlier, spec.name)[old] for spec in earlier.columns()
    }
    done = torch.isin(columns["status"], torch.tensor(FINISHED, dtype=torch.int8))
    if not bool(done.any()):
        return None, batch
    labels = None if batch.labels is None else batch.labels.cpu()[done]
    same_reference(labels, columns["reference"][done])
    kept = {"ids": batch.ids.cpu()} | columns
    rows = Rows(batch.index[done], {name: v[done] for name, v in kept.items()})
    return rows, rows_at(batch, (~done).nonzero()[:, 0])


def unfinished(stream: Stream) -> Iterator[Rows | Batch]:
    """What is there of each batch: rows that are finished, then the batch of the others, if any."""
    for batch in stream:
        old, left = taken_over(batch, stream.resume)
        if old is not None:
            yield old
        if len(left):
            yield left


def rows_at(batch: Batch, places: Tensor) -> Batch:
    """The rows of a batch at these positions (M,)."""
    rows = places.to(batch.images.device)
    return Batch(
        batch.ids[places.to(batch.ids.device)],
        batch.images[rows],
        None if batch.labels is None else batch.labels[rows],
        batch.index[places],
    )
