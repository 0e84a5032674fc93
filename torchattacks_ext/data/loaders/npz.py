"""How is a NumPy archive of images read? Three layouts, uint8 or floats, nothing pickled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from ...errors import InputError
from ..door import check_images, check_labels
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


def load_npz(path: Path, n: int | None) -> NamedData:
    """The first n images of the archive; see :func:`..named.load_data`.

    Raises InputError for a file that is no archive of images and labels.
    """
    raw_images, raw_labels = _arrays(path)
    if len(raw_images) != len(raw_labels) or not len(raw_images):
        raise InputError(
            f"{path} holds {len(raw_images)} images and {len(raw_labels)} labels; "
            "expected as many of each, and at least one"
        )
    try:
        images = check_images(_pixels(raw_images[:n]), (0.0, 1.0), torch.float32)
        labels = _classes(raw_labels[:n])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return NamedData(
        name=path.stem,
        dataset=TensorDataset(images, labels),
        n=len(images),
        n_total=len(raw_images),
        source=path.name,
    )


def npz_splits(path: Path) -> dict[str, Arrays]:
    """Images and labels as stored, by split: train_images or x_train, and so on for val, test.

    An archive without such names is one split, "test". Raises InputError as :func:`load_npz`.
    """
    pairs = {
        split: ((f"{split}_images", f"{split}_labels"), (f"x_{split}", f"y_{split}"))
        for split in SPLITS
    }
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


def _arrays(path: Path) -> Arrays:
    """Images and labels as stored."""
    with _opened(path) as archive:
        for pair in NPZ_KEYS:
            if all(key in archive for key in pair):
                return archive[pair[0]], archive[pair[1]]
        keys = sorted(archive)
    raise InputError(f"{path} holds the arrays {keys}; expected 'images' and 'labels'")


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
    labels = check_labels(torch.from_numpy(raw.astype(np.float64)), len(raw))
    if int(labels.min()) < 0:
        raise InputError(
            f"labels start at {int(labels.min())}, expected class numbers 0 .. K-1"
        )
    return labels
