"""How is a folder of image files read? As ImageFolder, lazily, sizes checked first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset, Subset

from ...errors import InputError
from ..digits import ranks
from .ask import Ask
from .labelled import NamedData
from .pictures import shaping, torchvision_part
from .pixels import open_image, read_image, three_channels

_ORIENTATION = 274
"""Of EXIF: 1 is upright."""
_EXIF = ("JPEG", "MPO", "TIFF")
_UNREAD = (".gif", ".jfif", ".heic", ".avif", ".jp2")
"""Endings of images that ImageFolder does not read."""


def load_folder(ask: Ask) -> NamedData:
    """At most n images of the folder, taken in turn from its classes; see
    :func:`..named.load_data`.

    Reads the header of each file that is used, and pixels only when an item is asked
    for. Hidden folders and files are no classes and no images. Raises InputError for a folder
    without classes, a file that is no image, and unequal sizes without `resize`; MissingExtra
    where torchvision cannot be imported.
    """
    path = Path(ask.name)
    if not path.is_dir():
        raise InputError(
            f"{path} is not a folder; give imagefolder:PATH of class folders"
        )
    whole, notes = _classes(path)
    order = ranks(torch.tensor(whole.targets)).argsort(stable=True)[: ask.n].tolist()
    files = [whole.samples[row][0] for row in order]
    turned = _look_at(path, files, ask.resize is None)
    if turned:
        notes.append(f"{turned} files have an EXIF orientation, which is not applied")
    shape = shaping(ask.resize)
    whole.transform = lambda image: three_channels(shape(image))
    return NamedData(
        name=path.resolve().name,
        dataset=Subset(whole, order),
        n=len(order),
        n_total=len(whole.samples),
        n_classes=len(whole.classes),
        source=path.resolve().name,
        classes=tuple(whole.classes),
        notes=tuple(notes),
    )


def _classes(path: Path) -> tuple[Any, list[str]]:
    """The folder as torchvision's data set, and what was passed over."""
    base: Any = torchvision_part("datasets").ImageFolder
    hidden: list[str] = []
    unread = 0

    class Visible(base):  # type: ignore[misc]
        """Without folders and files that a tool left behind."""

        def find_classes(self, directory: Any) -> tuple[list[str], dict[str, int]]:
            """Sorted as text; hidden ones are none."""
            found = super().find_classes(directory)[0]
            hidden.extend(name for name in found if _is_hidden(name))
            shown = [name for name in found if not _is_hidden(name)]
            return shown, {name: i for i, name in enumerate(shown)}

    def is_image(file: str) -> bool:
        nonlocal unread
        inside = Path(file).relative_to(path).parts
        if any(_is_hidden(part) for part in inside):
            return False
        unread += file.lower().endswith(_UNREAD)
        return file.lower().endswith(endings)

    endings = torchvision_part("datasets.folder").IMG_EXTENSIONS
    try:
        whole: Dataset[Any] = Visible(
            str(path), loader=read_image, is_valid_file=is_image
        )
    except (FileNotFoundError, ValueError) as error:
        raise InputError(
            f"{path} is not one folder of images a class: "
            f"{' '.join(str(error).split())}"
        ) from error
    notes = ["classes: the folders in the order of text"]
    if hidden:
        notes.append(f"no classes: {', '.join(sorted(hidden)[:3])}")
    if unread:
        notes.append(f"{unread} files are not read ({', '.join(_UNREAD)})")
    return whole, notes


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "__pycache__")


def _look_at(path: Path, files: Sequence[str], one_size: bool) -> int:
    """How many files have an orientation; InputError unless all have one size, where that is
    asked. Reads headers only.
    """
    first: tuple[int, int] | None = None
    turned = 0
    for file in files:
        with open_image(file) as image:
            first = first or image.size
            if one_size and image.size != first:
                raise InputError(
                    f"{path} holds images of unequal size (width x height "
                    f"{first[0]}x{first[1]} and {image.size[0]}x{image.size[1]}, say "
                    f"{Path(file).name}); pass --resize N (resize=N)"
                )
            if image.format in _EXIF:  # of the others it would read the pixels
                turned += image.getexif().get(_ORIENTATION, 1) != 1
    return turned
