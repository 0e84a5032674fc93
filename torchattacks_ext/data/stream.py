"""How does any data set, loader or iterable become a stream of checked batches with ids?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from ..errors import InputError
from ..models.checks import ModelTraits, look_cost, random_look_cost
from ..models.meter import Budget
from ..numerics.ids import Contents, IdBook
from ..results.base.columns import Rows
from ..results.base.facts import Flag
from ..results.base.groups import Groups, join_groups
from ..results.base.result import Result
from .batches import PIL_REMEDY, RawBatch, is_pil, raw_batches
from .copies import Copies
from .door import Bounds, as_tensor, check_label_range, check_labels
from .doubts import class_doubts, layout_doubts, named_classes, unanswered


@dataclass(frozen=True, eq=False)
class Batch:
    """Checked rows: ids (B,) int64, images (B, ...), labels (B,) or None, index (B,) positions."""

    ids: Tensor
    images: Tensor
    labels: Tensor | None
    index: Tensor
    groups: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.index)


def _as_list(values: Any, what: str) -> list[Any]:
    """One entry a row, as a list. Raises InputError for anything else, a single string included."""
    if isinstance(values, (Tensor, np.ndarray)):
        values = values.tolist()
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InputError(
            f"{what}={values!r} must be a list or a tensor, one entry an image"
        )
    return list(values)


def _groups(groups: Any, n: int) -> tuple[str, ...] | None:
    """Group names of n rows. Raises InputError for another number of them."""
    if groups is None:
        return None
    names = tuple(map(str, _as_list(groups, "groups")))
    if len(names) != n:
        raise InputError(
            f"a batch has {n} images but {len(names)} groups; one an image"
        )
    return names


def _size(data: Any) -> int | None:
    """Number of rows, where the data know it."""
    if isinstance(data, DataLoader):
        data = None if data.batch_size is None else data.dataset
    if isinstance(data, (list, IterableDataset)) or not hasattr(data, "__getitem__"):
        return None
    try:
        return len(data)
    except TypeError:
        return None


class Stream:
    """Checked batches of `data`, each row with its id and its position.

    data: tensor or array (N, ...), Dataset, DataLoader, or an iterable of batches. labels (N,): of
    a tensor only; other data bring their own. ids: one a row in the order of the data, before those
    of the batches. prepare: maps raw images to checked pixels on the device. look: asked once, with
    the first batch, what the model is like; then labels are held against its number of classes.
    Batches are taken one at a time. Iterating it twice starts a new count of occurrences. shown: a
    bar on which a run may say what it is at, or None.
    `copies` counts rows so far whose image an earlier one had, `groups` holds the group names so
    far (None if no batch brought any). Raises InputError at the door, for a batch when it is its
    turn.
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
        self.copies = Copies()
        self.groups: Groups | None = None
        self.traits: ModelTraits | None = None
        self._shapes: set[tuple[int, ...]] = set()
        self._n_answers = 0
        self._asked: set[int] = set()
        self._answers: set[int] = set()
        self.budget, self.resume, self._look = budget, resume, look
        self.shown: Any = None
        self._bounds, self._prepare, self._need = bounds, prepare, need_labels
        self._ids = None if ids is None else _as_list(ids, "ids")
        self._batch_size = batch_size
        if hasattr(data, "__array__"):
            data = as_tensor(data, "images")
        self._data, self._labels = data, labels
        if isinstance(data, Tensor):
            self._check_tensor(data)
        else:
            self._check()
        self.total = len(data) if isinstance(data, Tensor) else _size(data)

    def _check_tensor(self, images: Tensor) -> None:
        if not images.dim():
            raise InputError("images are a single number, expected (N, ...)")
        if self._labels is not None:
            self._labels = check_labels(self._labels, len(images))
        elif self._need:
            raise InputError("labels are needed here; pass measure(images, labels)")
        if self._ids is not None and len(self._ids) != len(images):
            raise InputError(
                f"{len(images)} images but {len(self._ids)} ids; expected as many"
            )

    def _check(self) -> None:
        data = self._data
        if isinstance(data, (tuple, Mapping)):
            raise InputError(
                f"data is a {type(data).__name__}; pass images and labels as two arguments, or a "
                "list of batches"
            )
        if is_pil(data):
            raise InputError(PIL_REMEDY)
        indexed = hasattr(data, "__getitem__") and hasattr(data, "__len__")
        if isinstance(data, (str, bytes)) or not (
            indexed or isinstance(data, Iterable)
        ):
            raise InputError(
                f"data is {type(data).__name__}, expected a tensor, a Dataset with a length, a "
                "DataLoader or an iterable of batches"
            )
        if self._labels is not None:
            raise InputError(
                "labels= belongs to image tensors; a loader or data set brings its own labels"
            )

    def _raw(self) -> Iterator[RawBatch]:
        return raw_batches(self._data, self._labels, self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        book, start = IdBook(), 0
        self.groups, self.copies = None, Copies()
        for raw in self._raw():
            images = self._prepare(raw.images)
            n = len(images)
            if not n:
                continue
            self._shapes.add(tuple(images.shape[1:]))
            labels = self._label(raw, n, images.device)
            if self._look is not None and self.traits is None and self._affords(n):
                self.traits = self._look(images)
            if self.traits is not None and labels is not None:
                check_label_range(labels, self.traits.n_classes)
            contents = Contents(images, self._bounds)
            ids = self._identify(book, raw.ids, contents, labels, start, n)
            self.copies.add(contents, labels)
            self.copies.quiet |= self._ids is not None or raw.ids is not None
            index = torch.arange(start, start + n)
            groups = _groups(raw.groups, n)
            self.groups = join_groups([(self.groups, start), (groups, n)])
            yield Batch(ids.to(images.device), images, labels, index, groups)
            start += n
        if self._ids is not None and len(self._ids) != start:
            raise InputError(
                f"{start} images but {len(self._ids)} ids; expected as many, in the data's order"
            )

    @property
    def shapes(self) -> frozenset[tuple[int, ...]]:
        """Shapes of the images so far, without the number of rows."""
        return frozenset(self._shapes)

    @property
    def n_duplicates(self) -> int:
        """Rows so far whose image an earlier one had, whatever their ids and labels."""
        return self.copies.n

    def doubts(self) -> Iterator[Flag]:
        """What speaks against the rows so far: classes, labels and a layout of another model."""
        if self.traits is not None:
            yield from class_doubts(named_classes(self._data), self.traits.n_classes)
        flags = (
            f for shape in sorted(self._shapes) for f in layout_doubts((1, *shape))
        )
        yield from islice(flags, 1)
        yield from unanswered(self._n_answers, self._asked, self._answers)

    def answered(
        self, labels: Tensor | None, predictions: np.ndarray[Any, Any]
    ) -> None:
        """Take note of clean answers (B,), for :meth:`doubts`."""
        if labels is not None:
            self._n_answers += len(labels)
            self._asked.update(labels.tolist())
            self._answers.update(predictions.tolist())

    def noted(self, rows: Rows) -> Rows:
        """The same rows, after their clean answers were taken note of, for :meth:`doubts`.

        Of a right row that is its label, of a wrong one its prediction, where both are known.
        """
        right, label, said = (
            rows.columns[name].cpu()
            for name in ("clean_correct", "reference", "prediction")
        )
        known = (right >= 0) & (label >= 0) & (said >= 0)
        answers = torch.where(right > 0, label, said)
        self.answered(label[known], answers[known].numpy())
        return rows

    def _affords(self, n: int) -> bool:
        """False where the budget has no room for a look at the model; then it has none at all."""
        n = max(n, 2)  # one image is looked at beside a draw of it
        return self.allows(max(look_cost(n), random_look_cost(n)))

    def allows(self, rows: int) -> bool:
        """Whether the budget, if there is one, has room for so many forward row-passes."""
        return self.budget is None or self.budget.allows(rows)

    def _identify(
        self,
        book: IdBook,
        given: Any,
        contents: Contents,
        labels: Tensor | None,
        start: int,
        n: int,
    ) -> Tensor:
        if self._ids is not None:
            given = self._ids[start : start + n]
            if len(given) != n:
                raise InputError(
                    f"more than {len(self._ids)} images but {len(self._ids)} ids; "
                    "expected as many, in the data's order"
                )
        if given is None:
            ids = book.of(contents.hashes(labels))
        else:
            ids = book.given(given)
        if len(ids) != n:
            raise InputError(
                f"a batch has {n} images but {len(ids)} sample_ids; expected as many"
            )
        return ids

    def _label(self, raw: RawBatch, n: int, device: torch.device) -> Tensor | None:
        if raw.labels is None:
            if self._need:
                raise InputError(
                    "labels are needed here; let the loader yield (images, labels) or a dict with "
                    "'labels'"
                )
            return None
        return check_labels(raw.labels, n).to(device)
