"""Do the data look like those of another model? Class counts, layouts, labels never answered."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

from ..results.base.facts import Flag

FEW = 10
"""Rows below which a model that is always wrong is nothing odd."""


def named_classes(data: Any) -> int | None:
    """How many classes a data set names, below loaders and subsets; None where it does not say.

    `classes` of torchvision's data sets, `features["label"].names` of Hugging Face's.

    >>> class Birds:
    ...     classes = ["duck", "swan"]
    >>> named_classes(Birds()), named_classes([])
    (2, None)
    """
    for _ in range(8):  # a subset of a subset, and no endless ring
        classes = getattr(data, "classes", None)
        if classes is None:
            features = getattr(data, "features", None)
            label = features.get("label") if isinstance(features, dict) else None
            classes = getattr(label, "names", None)
        if isinstance(classes, Sized) and not isinstance(classes, str) and len(classes):
            return len(classes)
        inner = getattr(data, "dataset", None)
        if inner is None:
            return None
        data = inner
    return None


def class_doubts(n_named: int | None, n_classes: int) -> Iterator[Flag]:
    """A flag where the data name another number of classes than the model has."""
    if n_named is not None and n_named != n_classes:
        yield Flag(
            "class_count",
            f"the data name {n_named:,} classes, the model has {n_classes:,}: where the numbers of "
            "the classes are not the same, every answer is judged wrongly; map the labels, or give "
            "the data of all classes",
        )


def layout_doubts(shape: tuple[int, ...]) -> Iterator[Flag]:
    """A flag for images (N, H, W, C) that stand where (N, C, H, W) is expected.

    >>> [flag.code for flag in layout_doubts((8, 32, 32, 3))], list(layout_doubts((8, 3, 32, 32)))
    (['channels_last'], [])
    """
    if len(shape) != 4 or min(shape[1:3]) <= 4:
        return
    # a width of 1 is usual (signals of many channels); a square of width 1 beside it is not
    if shape[3] in (3, 4) or (shape[3] == 1 and shape[1] == shape[2]):
        yield Flag(
            "channels_last",
            f"images of shape {shape[1:]} look like (H, W, C), models of torch take (C, H, W): "
            "pass images.permute(0, 3, 1, 2), unless the model wants them so",
        )


def unanswered(n: int, labels: set[int], answers: set[int]) -> Iterator[Flag]:
    """A flag for a model that answers no label of the data on any of n images, at least 10.

    >>> [flag.code for flag in unanswered(20, {0, 1}, {7})], list(unanswered(20, {0, 1}, {1}))
    (['labels_never_answered'], [])
    """
    if n < FEW or labels & answers:
        return
    yield Flag(
        "labels_never_answered",
        "the model never answers a class that is a label of the data: are the classes numbered "
        "as the model numbers them? Map the labels",
        n,
    )
