"""How does a name like "npz:PATH" become images and labels?"""

from __future__ import annotations

import difflib
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from ..errors import ConfigError, InputError
from . import digits
from .door import check_images, check_labels

KINDS = ("digits", "npz:PATH", "imagefolder:PATH")
UNKNOWN = "not stated"
NPZ_KEYS = (("images", "labels"), ("test_images", "test_labels"))
"""Names of the arrays, in the order of preference; the second pair is MedMNIST's."""
_CHANNELS = (1, 3, 4)


@dataclass(frozen=True, eq=False)
class NamedData:
    """Labelled images with their origin.

    name: for people. dataset: item i is (image (C, H, W) float32 in [0, 1], label). n:
    its length. n_total: images in the source. n_classes: None where the source does not
    say. source, licence: for the report; "not stated" where nobody knows.
    """

    name: str
    dataset: Dataset[Any]
    n: int
    n_total: int
    n_classes: int | None = None
    source: str = UNKNOWN
    licence: str = UNKNOWN

    def loader(self, batch_size: int) -> DataLoader[Any]:
        """Batches (images (B, C, H, W), labels (B,)) in the order of the data.

        A loader draws a seed for workers each time it starts: here not from the global
        generator.
        """
        own = torch.Generator()
        return DataLoader(self.dataset, batch_size=batch_size, generator=own)

    def facts(self) -> dict[str, Any]:
        """Everything but the images, in JSON types."""
        return {
            "name": self.name,
            "n": self.n,
            "n_total": self.n_total,
            "n_classes": self.n_classes,
            "source": self.source,
            "licence": self.licence,
        }


def load_data(
    spec: str, n: int | None = None, *, resize: int | None = None
) -> NamedData:
    """The data set called `spec`, at most its first `n` images (all when None).

    "digits": scikit-learn's digits, the test split of :func:`.digits.load_digits`.
    "npz:PATH": a NumPy archive with `images` (uint8, or floats in [0, 1]; (N, H, W),
    (N, C, H, W) or (N, H, W, C)) and `labels` (N,); MedMNIST's `test_images` and
    `test_labels` are understood. Nothing pickled is ever read. "imagefolder:PATH": one
    folder a class, as torchvision's ImageFolder; images are read when they are needed,
    as RGB, and taken in turn from all classes, so that the first n are not all of one.
    Of unequal size they need `resize`: the shorter side is scaled to it, then the
    middle square is kept.

    Raises ConfigError for another spec, n or resize; InputError for files that are not
    as said here; MissingExtra without the library that reads them.

    >>> data = load_data("digits", n=20)
    >>> data.n, data.n_total, data.n_classes
    (20, 445, 10)
    """
    kind, _, path = spec.partition(":")
    known = {k.partition(":")[0]: ":" in k for k in KINDS}
    if kind not in known or known[kind] != bool(path):
        close = difflib.get_close_matches(kind, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close and close[0] != kind else ""
        raise ConfigError(f"data={spec!r} is not one of {', '.join(KINDS)}{hint}")
    for key, value in (("n", n), ("resize", resize)):
        if value is not None and value < 1:
            raise ConfigError(f"{key}={value} must be a whole number >= 1")
    if resize is not None and kind != "imagefolder":
        raise ConfigError(f"resize={resize} is for imagefolder:PATH only, not {kind}")
    if kind == "digits":
        return _digits(n)
    if kind == "npz":
        return _npz(Path(path), n)
    from .folder import load_folder

    return load_folder(Path(path), n, resize)


def _digits(n: int | None) -> NamedData:
    images, labels = digits.load_digits("test")
    return NamedData(
        name="digits",
        dataset=TensorDataset(images[:n], labels[:n]),
        n=len(labels[:n]),
        n_total=len(labels),
        n_classes=digits.N_CLASSES,
        source=digits.SOURCE,
        licence=digits.LICENCE,
    )


def _npz(path: Path, n: int | None) -> NamedData:
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


def _arrays(path: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Images and labels as stored."""
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
            for pair in NPZ_KEYS:
                if all(key in archive for key in pair):
                    return archive[pair[0]], archive[pair[1]]
            keys = sorted(archive)
    except InputError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{path} is not a NumPy archive of plain arrays ({error}); "
            "write it with numpy.savez(PATH, images=..., labels=...)"
        ) from error
    raise InputError(f"{path} holds the arrays {keys}; expected 'images' and 'labels'")


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
