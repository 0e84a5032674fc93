"""How is a NumPy archive of images read? Three layouts, uint8 or floats, nothing pickled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from ...errors import InputError
from ..door import check_images, check_labels
from .ask import Ask
from .labelled import NamedData

NPZ_KEYS = (
    ("images", "labels"),
    ("test_images", "test_labels"),
    ("x", "y"),
    ("x_test", "y_test"),
)
"""Names of the arrays, in the order of preference; the second pair is MedMNIST's."""
SPLITS = ("train", "val", "test")
_CHANNELS = (1, 3, 4)

Arrays = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def load_npz(ask: Ask) -> NamedData:
    """The first n images of the archive; see :func:`..named.load_data`.

    Raises InputError for a file that is no archive of images and labels.
    """
    path = Path(ask.name)
    split = ask.option("split", ("", *SPLITS), "")
    taken = _taken(path, split)
    images, labels, total = checked_arrays(path, taken.arrays, ask)
    return NamedData(
        name=path.stem,
        dataset=TensorDataset(images, labels),
        n=len(images),
        n_total=total,
        source=path.name,
        notes=(
            f"arrays {taken.names[0]!r} and {taken.names[1]!r}",
            *turned(taken.arrays[0]),
            *taken.left,
        ),
    )


def load_unlabelled(ask: Ask) -> NamedData:
    """As :func:`load_npz`, for those who look at images alone: labels that are missing are 0.

    Raises InputError as it does.
    """
    path = Path(ask.name)
    split = ask.option("split", ("", *SPLITS), "")
    with _opened(path) as archive:
        found = next((p for p in _names(split) if p[0] in archive), None)
        bare = found is not None and found[1] not in archive
        raw = archive[found[0]] if found is not None and bare else None
    if found is None or raw is None:
        return load_npz(ask)
    none = np.zeros(raw.shape[:1] or 1, dtype=np.int64)
    images, labels, total = checked_arrays(path, (raw, none), ask)
    return NamedData(
        name=path.stem,
        dataset=TensorDataset(images, labels),
        n=len(images),
        n_total=total,
        source=path.name,
        notes=(f"array {found[0]!r}, no labels",),
    )


def checked_arrays(path: Path, arrays: Arrays, ask: Ask) -> tuple[Tensor, Tensor, int]:
    """Images (n, C, H, W), labels (n,) of the first n rows, and the number of all.

    Raises InputError, naming the file, for other counts, shapes and ranges.
    """
    raw_images, raw_labels = arrays
    if not raw_images.ndim or not raw_labels.ndim:
        raise InputError(
            f"{path} holds one number where images or labels are expected; write "
            "labels=[3] for the label of one image"
        )
    if len(raw_images) != len(raw_labels) or not len(raw_images):
        raise InputError(
            f"{path} holds {len(raw_images)} images and {len(raw_labels)} labels; "
            "expected as many of each, and at least one"
        )
    try:
        images = check_images(_pixels(raw_images[: ask.n]), (0.0, 1.0), torch.float32)
        labels = _classes(raw_labels[: ask.n])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    told = ask.option("channels", ("", "1", "3"), "")
    if told and images.shape[1] != int(told):
        if told == "1" or images.shape[1] != 1:
            raise InputError(
                f"{path}: the images have {images.shape[1]} channels, channels={told} does not fit"
            )
        images = images.expand(-1, 3, -1, -1).clone()
    return images, labels, len(raw_images)


def npz_splits(path: Path) -> dict[str, Arrays]:
    """Images and labels as stored, by split: train_images or x_train, and so on for val, test.

    An archive without such names is one split, "test". Raises InputError as :func:`load_npz`.
    """
    pairs = {split: _pairs(split) for split in SPLITS}
    found = {}
    with _opened(path) as archive:
        for split, names in pairs.items():
            for pair in names:
                if split not in found and all(key in archive for key in pair):
                    found[split] = archive[pair[0]], archive[pair[1]]
    return found or {"test": _arrays(path)}


def channels_last(shape: tuple[int, ...]) -> bool:
    """Whether (N, H, W, C) is the only reading of a shape of four sides.

    >>> channels_last((9, 32, 32, 3)), channels_last((9, 3, 32, 32)), channels_last((9, 3, 8, 3))
    (True, False, False)
    """
    return shape[3] in _CHANNELS and shape[1] not in _CHANNELS


def turned(images: np.ndarray[Any, Any]) -> tuple[str, ...]:
    """What is said of images (N, H, W, C), as which (N, C, H, W) are read; nothing of others.

    >>> turned(np.zeros((2, 8, 8, 1)))
    ('images turned from (N, 8, 8, 1) to (N, 1, 8, 8)',)
    """
    if images.ndim != 4 or not channels_last(images.shape):
        return ()
    height, width, colours = images.shape[1:]
    now = f"(N, {colours}, {height}, {width})"
    return (f"images turned from (N, {height}, {width}, {colours}) to {now}",)


@dataclass(frozen=True, eq=False)
class _Taken:
    """Two arrays of an archive, their names, and a word on what was left."""

    arrays: Arrays
    names: tuple[str, str]
    left: tuple[str, ...] = ()


def _arrays(path: Path) -> Arrays:
    """Images and labels as stored."""
    return _taken(path, "").arrays


def _taken(path: Path, split: str) -> _Taken:
    """Images and labels of a split; of "" the first pair of :data:`NPZ_KEYS`."""
    pairs = _names(split)
    with _opened(path) as archive:
        keys = sorted(archive)
        for pair in pairs:
            if all(key in archive for key in pair):
                rest = [key for key in keys if key not in pair]
                left = (f"arrays not read: {', '.join(rest)}",) if rest else ()
                return _Taken((archive[pair[0]], archive[pair[1]]), pair, left)
    raise InputError(
        f"{path} holds the arrays {keys}; expected {pairs[0][0]!r} and {pairs[0][1]!r}"
    )


def _names(split: str) -> tuple[tuple[str, str], ...]:
    """How images and labels may be called, the preferred ones first; "" is no split."""
    return _pairs(split) if split else NPZ_KEYS


def _pairs(split: str) -> tuple[tuple[str, str], ...]:
    """How the arrays of a split may be called."""
    return (f"{split}_images", f"{split}_labels"), (f"x_{split}", f"y_{split}")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The archive, nothing pickled. Raises InputError, also for what breaks while it is read."""
    if not path.is_file():
        raise InputError(f"{path} is not a file; give npz:PATH of a NumPy archive")
    try:
        # numpy leaves a file open that it opened itself and that is no archive
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise InputError(
                    f"{path} holds one array; expected an archive with images and "
                    "labels (numpy.savez)"
                )
            yield archive
    except InputError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{path} is not a NumPy archive of plain arrays ({error}); "
            "write it with numpy.savez(PATH, images=..., labels=...)"
        ) from error


def _pixels(raw: np.ndarray[Any, Any]) -> Tensor:
    """Any of the three layouts as float32 (N, C, H, W); uint8 becomes [0, 1]."""
    if raw.dtype == np.uint8:
        scaled = raw.astype(np.float32) / np.float32(255)
    elif raw.dtype.kind == "f":
        scaled = raw.astype(np.float32)
    else:
        raise InputError(
            f"images are {raw.dtype}, expected uint8 (0..255) or floats in [0, 1]"
        )
    if scaled.ndim == 3:
        return torch.from_numpy(scaled[:, None])
    if scaled.ndim == 4:
        first, last = (scaled.shape[axis] in _CHANNELS for axis in (1, 3))
        if first != last:
            order = (0, 1, 2, 3) if first else (0, 3, 1, 2)
            return torch.from_numpy(np.ascontiguousarray(scaled.transpose(order)))
    raise InputError(
        f"images have shape {raw.shape}, expected (N, H, W), (N, C, H, W) or "
        f"(N, H, W, C) with C in {_CHANNELS} on one of the two axes only; reshape them"
    )


def _classes(raw: np.ndarray[Any, Any]) -> Tensor:
    """Class numbers (N,) int64."""
    if raw.dtype.kind not in "iufb":
        raise InputError(f"labels are {raw.dtype}, expected class numbers 0 .. K-1")
    several = raw.ndim == 2 and raw.shape[1] > 1
    if several and np.isin(raw, (0, 1)).all() and (raw.sum(axis=1) != 1).any():
        raise InputError(
            f"labels have shape {raw.shape} with several marks a row: many labels an image, and "
            "accuracy is of one; take one column, or another set"
        )
    labels = check_labels(torch.from_numpy(raw.astype(np.float64)), len(raw))
    if int(labels.min()) < 0:
        raise InputError(
            f"labels start at {int(labels.min())}, expected class numbers 0 .. K-1"
        )
    return labels
