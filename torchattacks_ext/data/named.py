"""How does a name like "npz:PATH" become images and labels?"""

from __future__ import annotations

import difflib
from pathlib import Path

from ..errors import ConfigError
from ..numerics.arguments import parse_whole
from . import digits
from .loaders.folder import load_folder
from .loaders.labelled import LabelledTensors
from .loaders.labelled import NamedData as NamedData
from .loaders.npz import load_npz

KINDS = ("digits", "npz:PATH", "imagefolder:PATH")
DIGITS = tuple(map(str, range(digits.N_CLASSES)))


def load_data(
    spec: str, n: int | None = None, *, resize: int | None = None
) -> NamedData:
    """The data set called `spec`, at most its first `n` images (all when None).

    "digits": scikit-learn's digits, the test split of :func:`.digits.load_digits`.
    "npz:PATH": a NumPy archive with `images` (uint8, or floats in [0, 1]; (N, H, W),
    (N, C, H, W) or (N, H, W, C)) and `labels` (N,); `test_images` and `test_labels`
    (MedMNIST), `x` and `y`, `x_test` and `y_test` are understood. Nothing pickled is ever
    read. "imagefolder:PATH": one
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
    n, resize = (
        None if value is None else parse_whole(value, key, 1)
        for key, value in (("n", n), ("resize", resize))
    )
    if resize is not None and kind != "imagefolder":
        raise ConfigError(f"resize={resize} is for imagefolder:PATH only, not {kind}")
    if kind == "digits":
        return _digits(n)
    if kind == "npz":
        return load_npz(Path(path), n)
    return load_folder(Path(path), n, resize)


def _digits(n: int | None) -> NamedData:
    images, labels = digits.load_digits("test")
    return NamedData(
        name="digits",
        dataset=LabelledTensors(images[:n], labels[:n], DIGITS),
        n=len(labels[:n]),
        n_total=len(labels),
        n_classes=digits.N_CLASSES,
        source=digits.SOURCE,
        licence=digits.LICENCE,
    )
