"""Is class 3 of the data class 3 of the model? Compared by name, never by place alone.

Folders sort as text ('10' before '2'), a missing or a stray one moves every label behind it, and
two sets of one name number their classes differently: all of it runs without an error and costs
the accuracy. Where both sides name their classes, the labels are turned into the model's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...errors import ConfigError, InputError
from .labelled import NamedData

Names = tuple[tuple[str, ...], ...]
"""Of each class of a model, in the order of its outputs: the names it goes by."""
_SHOWN = 3


class Relabelled(Dataset[Any]):
    """`dataset` with label k turned into `numbers[k]`; `classes` are those of the new numbers."""

    def __init__(
        self, dataset: Any, numbers: Sequence[int], classes: Sequence[str]
    ) -> None:
        self.inner, self.numbers, self.classes = dataset, tuple(numbers), list(classes)

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        image, label = self.inner[index]
        return image, torch.tensor(self.numbers[int(label)])


def match_classes(data: Sequence[str], model: Names) -> list[int]:
    """The model's number of each class of the data, by name; letters, spaces and signs apart.

    Raises InputError, naming classes of both sides, where a class of the data has no name of the
    model, or could be two of its classes, or shares one.

    >>> match_classes(["swan", "Mute_Duck"], (("mute duck", "n01"), ("goose",), ("swan",)))
    [2, 0]
    """
    known: dict[str, set[int]] = {}
    for number, names in enumerate(model):
        for name in names:
            known.setdefault(_plain(name), set()).add(number)
    firsts = [names[0] if names else "" for names in model]
    if [_plain(name) for name in data] == [_plain(name) for name in firsts]:
        return list(range(len(data)))
    found = [known.get(_plain(name), set()) for name in data]
    lost = [name for name, numbers in zip(data, found) if not numbers]
    if lost:
        raise InputError(
            f"{len(lost)} classes of the data are none of the model's: {_few(lost)}; the model has "
            f"{_few(firsts)}; rename the data's, or name the model's (--classes FILE)"
        )
    double = [name for name, numbers in zip(data, found) if len(numbers) > 1]
    if double:
        raise InputError(
            f"the model has several classes called {_few(double)}; give its names in order, one of "
            "a kind (--classes FILE)"
        )
    numbers = [next(iter(one)) for one in found]
    if len(set(numbers)) < len(numbers):
        shared = [name for name, k in zip(data, numbers) if numbers.count(k) > 1]
        raise InputError(
            f"the classes {_few(shared)} of the data are one class of the model "
            f"({firsts[numbers[data.index(shared[0])]]})"
        )
    return numbers


def _plain(name: str) -> str:
    text = re.sub(r"[\s_\-]+", " ", name.casefold()).strip()
    return str(int(text)) if text.isascii() and text.isdigit() else text


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def as_model(data: NamedData, model: Names | None) -> NamedData:
    """The data with the model's numbers of classes, and a note of how they were found.

    model: None where the model does not name its classes. Without names on both sides the data stay
    as they are, except that classes called by numbers whose order as text is another (1, 10, 2) are
    refused with ConfigError: one of two readings is wrong, and nothing tells which. Raises
    InputError as :func:`match_classes`.
    """
    if data.classes is None:
        return data
    if model is None:
        _refuse_numbers(data.classes)
        return data
    numbers = match_classes(data.classes, model)
    if numbers == list(range(len(model))):
        return _noted(data, "classes: the model's names in the model's order")
    names = [names[0] for names in model]
    whole = replace(
        data,
        dataset=Relabelled(data.dataset, numbers, names),
        n_classes=len(model),
        classes=tuple(names),
    )
    moved = sum(number != place for place, number in enumerate(numbers))
    return _noted(
        whole,
        f"classes: {len(numbers)} of the model's {len(model)}, found by name; {moved} have another "
        "number than in the data",
    )


def _noted(data: NamedData, note: str) -> NamedData:
    return replace(data, notes=(*data.notes, note))


def _refuse_numbers(classes: Sequence[str]) -> None:
    if not all(name.isascii() and name.isdigit() for name in classes):
        return
    values = [int(name) for name in classes]
    if values != sorted(values):
        raise ConfigError(
            f"the classes are called {', '.join(classes[:4])}, ...: in the order of text, which is "
            "not that of the numbers, and the model does not say which it learnt; name its classes "
            "in the order of its outputs (--classes FILE), or say --classes as-is"
        )
