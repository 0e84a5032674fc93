"""How does any data set become a stream of checked batches with ids? Tensors, data sets, loaders, batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from ..errors import InputError
from ..models.checks import ModelTraits, look_cost
from ..models.meter import Budget
from ..numerics.ids import IdBook
from ..results.base import Result
from .door import Bounds, check_label_range, check_labels

IMAGE_KEYS = ("images", "image", "img", "pixel_values")
LABEL_KEYS = ("labels", "label")


@dataclass(frozen=True, eq=False)
class Batch:
    """Checked rows: ids (B,) int64, images (B, ...) pixels, labels (B,) or None, index (B,) positions."""

    ids: Tensor
    images: Tensor
    labels: Tensor | None
    index: Tensor
    groups: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True, eq=False)
class RawBatch:
    """A batch as it came from the loader, taken apart but not checked."""

    images: Any
    labels: Any = None
    ids: Any = None
    groups: Any = None


def _pick(batch: Mapping[str, Any], keys: Sequence[str]) -> Any:
    found = [key for key in keys if key in batch]
    return batch[found[0]] if found else None


def open_batch(batch: Any) -> RawBatch:
    """One batch of a loader as its parts; InputError for a form that is not known."""
    if isinstance(batch, Mapping):
        images = _pick(batch, IMAGE_KEYS)
        if images is None:
            raise InputError(
                f"a batch has the keys {sorted(map(str, batch))}, expected one of {IMAGE_KEYS}"
            )
        return RawBatch(
            images, _pick(batch, LABEL_KEYS), batch.get("sample_ids"), batch.get("groups")
        )
    if isinstance(batch, Tensor):
        return RawBatch(batch)
    if isinstance(batch, (tuple, list)) and len(batch) in (1, 2):
        return RawBatch(*batch)
    size = f" of {len(batch)}" if isinstance(batch, (tuple, list)) else ""
    raise InputError(
        f"a batch is a {type(batch).__name__}{size}, expected (images, labels), a tensor or a dict "
        f"with {IMAGE_KEYS[0]!r} and {LABEL_KEYS[0]!r}"
    )


def _slices(images: Tensor, labels: Any, ids: Any, size: int) -> Iterator[RawBatch]:
    for start in range(0, len(images), size):
        rows = slice(start, start + size)
        yield RawBatch(
            images[rows],
            None if labels is None else labels[rows],
            None if ids is None else ids[rows],
        )


def _size(data: Any) -> int | None:
    source: Any = data.dataset if isinstance(data, DataLoader) else data
    try:
        return len(source)
    except TypeError:
        return None


class Stream:
    """Checked batches of `data`, each row with its id and its position.

    data: tensor (N, ...) (or array), Dataset, DataLoader, or an iterable of batches; `labels` and `ids`
    belong to tensors (ids also to anything, in the order of the data). prepare: maps raw images to checked
    pixels on the device. look: asked once, with the first batch, what the model is like; then labels are
    held against its number of classes. Iterating it twice starts a new count of occurrences. After a pass,
    `n_duplicates` says how many rows had the content of an earlier one. Raises InputError at the door.
    """

    def __init__(
        self,
        data: Any,
        labels: Any = None,
        *,
        ids: Any = None,
        batch_size: int = 256,
        bounds: Bounds | None = (0.0, 1.0),
        prepare: Callable[[Any], Tensor],
        need_labels: bool = True,
        look: Callable[[Tensor], ModelTraits] | None = None,
        budget: Budget | None = None,
        resume: Result | None = None,
    ) -> None:
        self.n_duplicates = 0
        self.traits: ModelTraits | None = None
        self.budget, self.resume, self._look = budget, resume, look
        self._bounds, self._prepare, self._need = bounds, prepare, need_labels
        self._ids = ids
        self._batch_size = batch_size
        self._labels = labels
        if hasattr(data, "__array__") and not isinstance(data, Tensor):
            data = torch.as_tensor(data)
        self._data = data
        self._check()
        self.total = len(data) if isinstance(data, Tensor) else self._length()

    def _check(self) -> None:
        data = self._data
        if isinstance(data, tuple):
            raise InputError(
                "data is a tuple; pass images and labels as two arguments, or a list of batches"
            )
        if not isinstance(data, (Tensor, Iterable)) and not hasattr(data, "__getitem__"):
            raise InputError(
                f"data is {type(data).__name__}, expected a tensor, a Dataset, a DataLoader or an "
                "iterable of batches"
            )
        if isinstance(data, Tensor):
            if self._labels is not None and len(self._labels) != len(data):
                raise InputError(
                    f"{len(data)} images but {len(self._labels)} labels; expected as many"
                )
            if self._labels is None and self._need:
                raise InputError("labels are needed here; pass measure(images, labels)")
        elif self._labels is not None:
            raise InputError(
                "labels= belongs to image tensors; a loader or data set brings its own labels"
            )
        if self._ids is not None and isinstance(data, Tensor):
            if len(self._ids) != len(data):
                raise InputError(
                    f"{len(data)} images but {len(self._ids)} ids; expected as many"
                )

    def _length(self) -> int | None:
        data = self._data
        batches = isinstance(data, (list, IterableDataset))
        return None if batches else _size(data)

    def _raw(self) -> Iterator[RawBatch]:
        data = self._data
        if isinstance(data, Tensor):
            yield from _slices(data, self._labels, None, self._batch_size)
            return
        dataset = hasattr(data, "__getitem__") or isinstance(data, IterableDataset)
        if dataset and not isinstance(data, (DataLoader, list)):
            # with a generator of its own: a loader draws from the global one when it starts
            data = DataLoader(
                data, batch_size=self._batch_size, generator=torch.Generator()
            )
        for batch in data:
            yield open_batch(batch)

    def __iter__(self) -> Iterator[Batch]:
        book, start = IdBook(), 0
        for raw in self._raw():
            images = self._prepare(raw.images)
            n = len(images)
            if not n:
                continue
            labels = self._label(raw, n, images.device)
            if self._look is not None and self.traits is None and self._affords(n):
                self.traits = self._look(images)
            if self.traits is not None and labels is not None:
                check_label_range(labels, self.traits.n_classes)
            yield Batch(
                self._identify(book, raw, images, start),
                images,
                labels,
                torch.arange(start, start + n),
                None if raw.groups is None else tuple(map(str, raw.groups)),
            )
            start += n
            self.n_duplicates = book.n_duplicates
        if self._ids is not None and len(self._ids) != start:
            raise InputError(
                f"{start} images but {len(self._ids)} ids; expected as many, in the data's order"
            )

    def _affords(self, n: int) -> bool:
        """False where the budget has no room for a look at the model; then it has none at all."""
        return self.budget is None or self.budget.allows(look_cost(n))

    def _identify(self, book: IdBook, raw: RawBatch, images: Tensor, start: int) -> Tensor:
        given = raw.ids
        if self._ids is not None:
            given = self._ids[start : start + len(images)]
            if len(given) != len(images):
                raise InputError(
                    f"more than {len(self._ids)} images but {len(self._ids)} ids; "
                    "expected as many, in the data's order"
                )
        if given is not None:
            ids = book.given(given)
        else:
            labels = None if raw.labels is None else check_labels(raw.labels, len(images))
            ids = book.assign(images, labels, self._bounds)
        return ids.to(images.device)

    def _label(self, raw: RawBatch, n: int, device: torch.device) -> Tensor | None:
        if raw.labels is None:
            if self._need:
                raise InputError(
                    "labels are needed here; let the loader yield (images, labels) or a dict with "
                    "'labels'"
                )
            return None
        return check_labels(raw.labels, n).to(device)
