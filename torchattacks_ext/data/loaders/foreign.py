"""How does an object of a user's become a data set with a name? By its form, whatever its class.

MAITE's data sets (`metadata` with an `id`; items image (C, H, W), target (K,), metadata) are known
by their form alone; nothing of MAITE is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from ...errors import InputError
from ...models.adapters.maite import has_metadata, labels_of
from ..door import check_images, check_labels
from .labelled import NamedData


def as_named(value: Any, name: str, n: int | None = None) -> NamedData:
    """At most the first n items of what a factory returned.

    value: a NamedData, (images, labels), or an object with a length and items: (image, label), or
    MAITE's (image, target, metadata), where the target is a class number or scores whose largest
    is the class. Images are (C, H, W): bytes, which are divided by 255, or floats in [0, 1], which
    are checked when they are read. Raises InputError for anything else.

    >>> data = as_named((torch.zeros(3, 1, 2, 2), torch.arange(3)), "mine", n=2)
    >>> data.n, data.n_total
    (2, 3)
    """
    if isinstance(value, NamedData):
        return _first(value, n)
    if isinstance(value, tuple) and len(value) == 2:
        return _of_tensors(*value, name, n)
    if not hasattr(value, "__getitem__") or not hasattr(value, "__len__"):
        raise InputError(
            f"{name} returned {type(value).__name__}, expected a data set: an object with a length "
            "and items (image, label), or (images, labels)"
        )
    total = len(value)
    if not total:
        raise InputError(f"{name} returned an empty data set")
    own = labels_of(value)
    classes = own or _classes(value)
    used = total if n is None else min(n, total)
    told: tuple[str, ...] = ()
    if has_metadata(value):
        told = (
            f"MAITE's form, id {value.metadata['id']}: the class is the largest target",
        )
    return NamedData(
        name=name,
        dataset=Items(value, used, name, classes),
        n=used,
        n_total=total,
        n_classes=None if classes is None else len(classes),
        source=name,
        classes=classes,
        notes=told,
    )


class Items(Dataset[Any]):
    """Items of a foreign data set as (pixels (C, H, W) float32 in [0, 1], class number)."""

    def __init__(
        self, inner: Any, n: int, name: str, classes: tuple[str, ...] | None
    ) -> None:
        self.inner, self.n, self.name = inner, n, name
        self.classes = list(classes or ())

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if not 0 <= index < self.n:
            raise IndexError(index)
        item = self.inner[index]
        where = f"{self.name}: item {index}"
        fits = isinstance(item, (tuple, list)) and len(item) in (2, 3)
        if not fits or (len(item) == 3 and not isinstance(item[2], Mapping)):
            raise InputError(
                f"{where} is a {type(item).__name__}, expected (image, label) or MAITE's (image, "
                "target, metadata)"
            )
        return _pixels(item[0], where), _class(item[1], where)


def _pixels(image: Any, where: str) -> Tensor:
    try:
        found = torch.as_tensor(
            np.asarray(image) if not isinstance(image, Tensor) else image
        )
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{where}: the image is a {type(image).__name__}") from error
    if found.dim() != 3 or found.shape[0] not in (1, 3, 4):
        raise InputError(
            f"{where}: the image has shape {tuple(found.shape)}, expected (C, H, W) with 1, 3 or 4 "
            "channels"
        )
    if found.dtype == torch.uint8:
        return found.float() / 255
    try:
        return check_images(found[None], (0.0, 1.0), torch.float32)[0]
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _class(target: Any, where: str) -> int:
    """The class number of a target: itself, or the place of its largest score."""
    scores = torch.as_tensor(target).detach().cpu()
    if scores.numel() == 1 and not scores.is_floating_point():
        return int(scores)
    if scores.dim() != 1 or not len(scores):
        raise InputError(
            f"{where}: the target has shape {tuple(scores.shape)}, expected (K,)"
        )
    best = scores.max()
    if int((scores == best).sum()) != 1:
        raise InputError(
            f"{where}: the target {scores.tolist()[:8]} has no single largest score"
        )
    return int(scores.argmax())


def _classes(value: Any) -> tuple[str, ...] | None:
    names = getattr(value, "classes", None)
    if (
        isinstance(names, (list, tuple))
        and names
        and all(isinstance(x, str) for x in names)
    ):
        return tuple(names)
    return None


def _first(data: NamedData, n: int | None) -> NamedData:
    if n is None or n >= data.n:
        return data
    subset = torch.utils.data.Subset(data.dataset, range(n))
    return replace(data, dataset=subset, n=n)


def _of_tensors(images: Any, labels: Any, name: str, n: int | None) -> NamedData:
    try:
        pixels = check_images(images, (0.0, 1.0), torch.float32)
        classes = check_labels(labels, len(pixels))
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    if not len(pixels):
        raise InputError(f"{name} returned no images")
    return NamedData(
        name=name,
        dataset=TensorDataset(pixels[:n], classes[:n]),
        n=len(pixels[:n]),
        n_total=len(pixels),
        source=name,
    )
