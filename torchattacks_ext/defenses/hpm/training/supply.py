"""Where do training images come from, in whatever order and from whatever step on?

Images are read by position where the data can be (tensors, a Dataset, the Dataset of a loader), so
that a data set larger than memory is trained on as it is, and a run goes on at any step. What can
only be read in its own order is read into memory once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
)

from ....data.batches import RawBatch, raw_batches
from ....data.door import check_images, check_label_range, check_labels
from ....errors import InputError
from ....numerics.ids import content_hashes
from ....numerics.streams import hash64

LOOKED_AT = 64
"""Images of a Dataset that its fingerprint is of."""
BATCH = 256
NOTHING = "there are no images to train on; give at least one a class"
Pair = tuple[Tensor, Tensor]


class Supply(Protocol):
    """Checked images in [0, 1] and labels, by position."""

    n: int

    def pairs(self, orders: Iterable[Tensor]) -> Iterator[Pair]:
        """(images, labels) of each tensor of positions, in turn."""
        ...

    def facts(self) -> list[Any]:
        """A fingerprint of the data, in JSON types."""
        ...


class InMemory:
    """Images (N, ...) and labels (N,) that lie in memory. n_classes: labels must lie below."""

    def __init__(self, images: Any, labels: Any, n_classes: int) -> None:
        self.images, self.labels = _checked(images, labels, n_classes)
        self.n = len(self.labels)

    def pairs(self, orders: Iterable[Tensor]) -> Iterator[Pair]:
        """(images, labels) of each tensor of positions, in turn."""
        for rows in orders:
            yield self.images[rows], self.labels[rows]

    def facts(self) -> list[Any]:
        """Hash of all contents, and their number."""
        rows = content_hashes(self.images, self.labels, None)
        return [hash64(rows.cpu().numpy().tobytes()), self.n]


class ByPosition:
    """A Dataset with a length, read as it is needed.

    Arguments:
        dataset (Dataset): items (image, label) or dicts.
        n_classes (int): labels must lie below.
        collate (callable): items to a batch.
        workers (int): processes that read ahead, as of a DataLoader.
    """

    def __init__(
        self,
        dataset: Any,
        n_classes: int,
        collate: Callable[[list[Any]], Any] = default_collate,
        workers: int = 0,
    ) -> None:
        self.dataset, self.n_classes = dataset, n_classes
        self.collate, self.workers = collate, workers
        self.n = len(dataset)

    def pairs(self, orders: Iterable[Tensor]) -> Iterator[Pair]:
        """(images, labels) of each tensor of positions, in turn; workers read ahead."""
        rows = [order.tolist() for order in orders]
        loader = DataLoader(
            self.dataset,
            batch_sampler=rows,
            collate_fn=self.collate,
            num_workers=self.workers,
            generator=torch.Generator(),  # a loader draws from the global one when it starts
        )
        for asked, raw in zip(rows, raw_batches(loader, None, BATCH)):
            images, labels = _pair(raw, self.n_classes)
            if len(labels) != len(asked):
                raise InputError(
                    f"the data gave {len(labels)} images for {len(asked)} positions; let "
                    "collate_fn keep every item"
                )
            yield images, labels

    def facts(self) -> list[Any]:
        """Number of images, and a hash of at most 64 of them, at even steps.

        They are read twice; where the data set answers differently (it draws crops, say), the hash
        is that of their labels alone.
        """
        at = torch.linspace(0, self.n - 1, min(self.n, LOOKED_AT)).long()
        one, other = (next(self.pairs([at])) for _ in range(2))
        if torch.equal(one[0], other[0]):
            rows = content_hashes(*one, None)
            return [hash64(rows.numpy().tobytes()), self.n, "looked at"]
        return [hash64(one[1].numpy().tobytes()), self.n, "labels looked at"]


def make_supply(data: Any, n_classes: int) -> Supply:
    """The supply of whatever holds images and labels.

    data: a tuple (images, labels) of tensors or arrays; a Dataset with a length; a DataLoader (of
    which Dataset, collate_fn and workers are used; batches and order are those of the training); or
    an iterable of batches, as tuples or dicts, which is read into memory, as is a loader whose
    sampler picks some images. Raises InputError for anything else, for no images, and, when it is
    read, for what the door refuses.

    >>> make_supply((torch.rand(3, 2, 2), torch.arange(3)), 3).n
    3
    """
    found = _supply(data, n_classes)
    if not found.n:
        raise InputError(NOTHING)
    return found


def _supply(data: Any, n_classes: int) -> Supply:
    if isinstance(data, tuple):
        if len(data) != 2:
            raise InputError(
                f"data is a tuple of {len(data)}, expected (images, labels); a list holds batches"
            )
        return InMemory(*data, n_classes)
    if isinstance(data, DataLoader):
        if _takes_all(data) and _by_position(data.dataset):
            workers = data.num_workers
            return ByPosition(data.dataset, n_classes, data.collate_fn, workers)
    elif _by_position(data):
        return ByPosition(data, n_classes)
    elif hasattr(data, "__array__") or not isinstance(data, Iterable):
        raise InputError(
            f"data is {type(data).__name__}, expected (images, labels), a Dataset with a length, a "
            "DataLoader or an iterable of batches with labels"
        )
    pairs = [_pair(raw, n_classes) for raw in raw_batches(data, None, BATCH)]
    if not pairs:
        raise InputError(NOTHING)
    images, labels = (torch.cat(side) for side in zip(*pairs))
    return InMemory(images, labels, n_classes)


def _takes_all(loader: DataLoader[Any]) -> bool:
    """Whether a loader gives every item of its Dataset once: no sampler picks some of them."""
    kinds, sampler = (SequentialSampler, RandomSampler), loader.sampler
    plain = type(loader.batch_sampler) is BatchSampler and type(sampler) in kinds
    if not plain or not isinstance(sampler, RandomSampler):
        return plain
    every: Any = loader.dataset
    return not sampler.replacement and sampler.num_samples == len(every)


def _by_position(data: Any) -> bool:
    odd = (list, str, bytes, Mapping, IterableDataset)
    if isinstance(data, odd) or hasattr(data, "__array__"):
        return False
    return hasattr(data, "__getitem__") and hasattr(data, "__len__")


def _pair(raw: RawBatch, n_classes: int) -> Pair:
    if raw.labels is None:
        raise InputError(
            "labels are needed to train; let the data yield (image, label) or dicts with 'labels'"
        )
    return _checked(raw.images, raw.labels, n_classes)


def _checked(images: Any, labels: Any, n_classes: int) -> Pair:
    pixels = check_images(images, (0.0, 1.0), torch.float32)
    whole = check_labels(labels, len(pixels))
    check_label_range(whole, n_classes)
    return pixels, whole
