"""How is a folder of image files read? As ImageFolder, lazily, sizes checked first."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Subset

from ...errors import InputError, MissingExtra
from ..digits import ranks
from .labelled import NamedData
from .pixels import open_image, read_image, three_channels


def load_folder(path: Path, n: int | None, resize: int | None) -> NamedData:
    """At most n images of the folder, taken in turn from its classes; see
    :func:`..named.load_data`.

    Reads the header of each file that is used, and pixels only when an item is asked
    for. Raises InputError for a folder without classes, a file that is no image, and
    unequal sizes without `resize`; MissingExtra where torchvision cannot be imported.
    """
    datasets, transforms = _torchvision()
    if not path.is_dir():
        raise InputError(
            f"{path} is not a folder; give imagefolder:PATH of class folders"
        )
    steps = [transforms.ToTensor(), three_channels]
    if resize is not None:
        steps = [transforms.Resize(resize), transforms.CenterCrop(resize), *steps]
    try:
        whole = datasets.ImageFolder(
            str(path), transform=transforms.Compose(steps), loader=read_image
        )
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is not one folder of images a class: "
            f"{' '.join(str(error).split())}"
        ) from error
    order = ranks(torch.tensor(whole.targets)).argsort(stable=True)[:n].tolist()
    files = [whole.samples[row][0] for row in order]
    if resize is None:
        _check_sizes(path, files)
    return NamedData(
        name=path.resolve().name,
        dataset=Subset(whole, order),
        n=len(order),
        n_total=len(whole.samples),
        n_classes=len(whole.classes),
        source=path.resolve().name,
    )


def _torchvision() -> tuple[Any, Any]:
    """The modules datasets and transforms."""
    try:
        names = ("torchvision.datasets", "torchvision.transforms")
        return import_module(names[0]), import_module(names[1])
    except Exception as error:  # a build for another torch fails with RuntimeError
        raise MissingExtra(
            f"torchvision cannot be imported ({error}); "
            "`torchattacks-ext doctor` says how to repair it"
        ) from error


def _check_sizes(path: Path, files: Sequence[str]) -> None:
    """InputError unless all files have one size; reads headers only."""
    first: tuple[int, int] | None = None
    for file in files:
        with open_image(file) as image:
            first = first or image.size
            if image.size != first:
                raise InputError(
                    f"{path} holds images of unequal size (width x height "
                    f"{first[0]}x{first[1]} and {image.size[0]}x{image.size[1]}, say "
                    f"{Path(file).name}); pass --resize N (resize=N)"
                )
