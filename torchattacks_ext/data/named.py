"""How does a name like "npz:PATH" become images and labels?"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

from ..errors import ConfigError
from ..numerics.arguments import parse_whole
from . import digits
from .loaders.ask import Ask, Resize, split_spec
from .loaders.folder import load_folder
from .loaders.hub import load_hub
from .loaders.labelled import LabelledTensors
from .loaders.labelled import NamedData as NamedData
from .loaders.medmnist import load_medmnist
from .loaders.npz import load_npz
from .loaders.vision import load_vision

KINDS = (
    *(
        "digits",
        "npz:PATH",
        "imagefolder:PATH",
        "torchvision:NAME",
        "medmnist:FLAG",
        "hf:REPO",
    ),
)
OPTIONS = {
    "npz": ("split", "channels"),
    "imagefolder": (),
    "torchvision": ("split", "root", "channels"),
    "medmnist": ("split", "size", "root", "channels"),
    "hf": ("split", "image", "label", "config", "revision", "channels"),
}
"""Options of each kind, written after its name: "hf:OWNER/NAME,split=test"."""
_READERS: dict[str, Callable[[Ask], NamedData]] = {
    "npz": load_npz,
    "imagefolder": load_folder,
    "torchvision": load_vision,
    "medmnist": load_medmnist,
    "hf": load_hub,
}
RESIZED = ("imagefolder", "torchvision", "hf")
"""Kinds whose images are files: resized by PIL, before they are 8-bit pixels no more."""
DIGITS = tuple(map(str, range(digits.N_CLASSES)))


def load_data(
    spec: str,
    n: int | None = None,
    *,
    resize: Resize = None,
    root: Path | str | None = None,
    download: bool = False,
) -> NamedData:
    """The data set called `spec`, at most its first `n` images (all when None).

    - "digits": scikit-learn's digits, the test split of :func:`.digits.load_digits`.
    - "npz:PATH[,split=test]": a NumPy archive with `images` (uint8, or floats in [0, 1]; (N, H,
      W), (N, C, H, W) or (N, H, W, C)) and `labels` (N,) or (N, 1); `test_images` and
      `test_labels` (MedMNIST), `x` and `y`, `x_test` and `y_test` are understood. Nothing pickled
      is ever read.
    - "imagefolder:PATH": one folder a class, as torchvision's ImageFolder; images are read when
      they are needed, as RGB, and taken in turn from all classes, so that the first n are not all
      of one.
    - "torchvision:NAME[,split=test]": CIFAR10, SVHN, ... from `root` (default: ./data).
    - "medmnist:FLAG[,split=test,size=28]": from `root` (default: ~/.medmnist), MD5 checked.
    - "hf:OWNER/NAME[,split=,image=,label=,config=,revision=]", "hf:./FOLDER": parquet files from
      the cache of the hub, or what the package datasets reads in a folder.

    Grey images stay of one channel (`channels=3` repeats it), but for "imagefolder". The network is
    used only with `download`. Images are never resized unasked, for then eps would be that of
    another picture: `resize` scales the shorter side to it and keeps the middle square, or is a
    function of the image (RGB of PIL) to pixels, say the transform of a published model.

    Raises ConfigError for another spec, option, n or resize; InputError for files that are not
    there or not as said here; MissingExtra without the library that reads them.

    >>> data = load_data("digits", n=20)
    >>> data.n, data.n_total, data.n_classes
    (20, 445, 10)
    """
    kind, path, options = split_spec(spec, OPTIONS)
    known = {k.partition(":")[0]: ":" in k for k in KINDS}
    if kind not in known or known[kind] != bool(path):
        close = difflib.get_close_matches(kind, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close and close[0] != kind else ""
        raise ConfigError(f"data={spec!r} is not one of {', '.join(KINDS)}{hint}")
    n = None if n is None else parse_whole(n, "n", 1)
    if resize is not None and not callable(resize):
        resize = parse_whole(resize, "resize", 1)
    if resize is not None and kind not in RESIZED:
        raise ConfigError(
            f"resize={resize if isinstance(resize, int) else 'model'} is for "
            f"{', '.join(RESIZED)} only, not {kind}: the images of the others are arrays already"
        )
    if kind == "digits":
        return _digits(n)
    folder = None if root is None else Path(root)
    return _READERS[kind](Ask(kind, path, options, n, resize, folder, download))


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
        classes=DIGITS,
    )
