"""How is a data set of torchvision read? From its folder, by its checks, not downloaded unasked."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ...errors import ConfigError, InputError, MissingExtra
from ..digits import ranks
from .ask import Ask
from .labelled import NamedData
from .pictures import Pictures, torchvision_part

SETS = tuple(
    "CIFAR10 CIFAR100 Country211 DTD EMNIST EuroSAT FGVCAircraft FakeData FashionMNIST Flowers102 "
    "Food101 GTSRB Imagenette KMNIST MNIST OxfordIIITPet PCAM Places365 QMNIST RenderedSST2 STL10 "
    "SUN397 SVHN StanfordCars USPS".split()
)
"""Those whose items are an image and one class; pickles are read after their MD5 is right."""
ROOT = Path("data")
"""Where they lie when nobody says."""
_NUMBERED = re.compile(r"(\d+) - .*")


def load_vision(ask: Ask) -> NamedData:
    """At most n images of a data set of torchvision; see :func:`..named.load_data`.

    Its order is kept; where all labels are in the order of the classes, images are taken in turn
    from them. Raises ConfigError for a name, and for a split that it does not have; InputError
    where its files are not in the folder or damaged; MissingExtra without torchvision.
    """
    if ask.name not in SETS:
        raise ConfigError(f"{ask.spec} is not one of {', '.join(SETS)}")
    kind = getattr(torchvision_part("datasets"), ask.name)
    root = Path(ask.options.get("root") or ask.root or ROOT)
    split, settings = _settings(kind, ask)
    if "download" in inspect.signature(kind).parameters and ask.download:
        settings["download"] = True
    whole = _opened(kind, root, settings, ask)
    labels, classes = _labels(whole), _names(whole)
    rows, notes = range(len(whole)), [f"split {split}"] if split else []
    order: Sequence[int] = rows
    if labels is not None and in_order(labels) and ask.n is not None:
        order = ranks(torch.tensor(labels)).argsort(stable=True).tolist()
        notes.append("taken in turn from the classes, which lie one after another")
    used = order[: ask.n]
    return NamedData(
        name=ask.name,
        dataset=Pictures(lambda row: whole[row], used, ask, classes),
        n=len(used),
        n_total=len(whole),
        n_classes=None if classes is None else len(classes),
        source=f"torchvision.datasets.{ask.name}",
        classes=classes,
        notes=tuple(notes),
    )


def in_order(labels: Sequence[int]) -> bool:
    """Whether labels never fall, and are not all one.

    >>> in_order([0, 0, 1]), in_order([1, 0]), in_order([2, 2])
    (True, False, False)
    """
    ordered = all(one <= other for one, other in zip(labels, labels[1:]))
    return ordered and len(set(labels)) > 1


def _settings(kind: Any, ask: Ask) -> tuple[str, dict[str, Any]]:
    """The split in words, and as the class is told it."""
    known = inspect.signature(kind).parameters
    if ask.name == "EMNIST":
        split = ask.option("split", ("test", "train"), "test")
        return f"balanced, {split}", {"split": "balanced", "train": split == "train"}
    if "train" in known:
        split = ask.option("split", ("test", "train"), "test")
        return split, {"train": split == "train"}
    if "split" in known:
        default = "val" if ask.name in ("Imagenette", "Places365") else "test"
        split = ask.options.get("split", default)
        return split, {"split": split}
    if "split" in ask.options:
        raise ConfigError(f"{ask.spec}: {ask.name} has one split; leave split= out")
    if ask.name == "FakeData":  # noise, to try a command line with
        return "", {"size": 100, "image_size": (3, 32, 32), "num_classes": 10}
    return "", {}


def _opened(kind: Any, root: Path, settings: dict[str, Any], ask: Ask) -> Any:
    """The data set; what torchvision raises in one line."""
    given = settings if ask.name == "FakeData" else {"root": str(root), **settings}
    try:
        return kind(**given)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"{ask.spec} needs {error.name}: pip install {error.name}"
        ) from error
    except (
        Exception
    ) as error:  # files, checksums, splits, the network: all of them differ
        said = " ".join(str(error).split())[:200]
        remedy = (
            "nothing was downloaded: see the error"
            if ask.download
            else f"it is looked for in {root} (--data-root, or root= in the name) and downloaded "
            "with --download only"
        )
        raise InputError(f"{ask.spec} cannot be read ({said}); {remedy}") from error


def _labels(whole: Any) -> list[int] | None:
    """Of all rows, where the data set has them at hand."""
    for name in ("targets", "labels", "_labels"):
        found = getattr(whole, name, None)
        if found is not None and len(found) == len(whole):
            try:
                return [int(label) for label in found]
            except (TypeError, ValueError, RuntimeError):
                return None
    return None


def _names(whole: Any) -> tuple[str, ...] | None:
    """Of the classes; "3 - three" is called 3, and ImageNet's go by their synsets."""
    names = getattr(whole, "wnids", None) or getattr(whole, "classes", None)
    if not names or not all(isinstance(name, str) for name in names):
        return None
    found = [_NUMBERED.fullmatch(name) for name in names]
    if all(found):
        return tuple(one[1] for one in found if one is not None)
    return tuple(names)
