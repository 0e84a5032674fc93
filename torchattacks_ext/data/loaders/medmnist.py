"""How is a set of MedMNIST read? Its own archive, checked against the published MD5 each time."""

from __future__ import annotations

import hashlib
from importlib import import_module
from pathlib import Path
from typing import Any

from torch.utils.data import TensorDataset

from ...errors import ConfigError, InputError, MissingExtra
from .ask import Ask
from .labelled import LabelledTensors, NamedData
from .npz import SPLITS, checked_arrays, npz_splits

SIZES = ("28", "64", "128", "224")


def load_medmnist(ask: Ask) -> NamedData:
    """At most n images of a split of MedMNIST; see :func:`..named.load_data`.

    Read is FLAG.npz (FLAG_64.npz, ...) in the folder of the package medmnist or the one that is
    given, plain arrays only. Raises ConfigError for a name that is no set, one of volumes or of
    several labels an image; InputError for a file that is missing or not the published one;
    MissingExtra without medmnist, which knows names and checksums.
    """
    package = _package()
    info = package.INFO.get(ask.name)
    if info is None:
        raise ConfigError(f"{ask.spec} is not one of {', '.join(sorted(package.INFO))}")
    task = str(info.get("task", ""))
    if "multi-label" in task or ask.name.endswith("3d"):
        what = (
            "has several labels an image" if "multi-label" in task else "holds volumes"
        )
        raise ConfigError(
            f"{ask.spec} {what}; classifiers of pictures with one label are measured"
        )
    split = ask.option("split", SPLITS, "test")
    size = ask.option("size", SIZES, "28")
    path = _file(package, info, ask, size)
    found = npz_splits(path)
    if split not in found:
        raise InputError(f"{path} has no {split}_images and {split}_labels")
    images, labels, total = checked_arrays(path, found[split], ask)
    classes = _names(info)
    whole: Any = TensorDataset(images, labels)
    if classes is not None:
        whole = LabelledTensors(images, labels, classes)
    return NamedData(
        name=ask.name if size == "28" else f"{ask.name}_{size}",
        dataset=whole,
        n=len(images),
        n_total=total,
        n_classes=None if classes is None else len(classes),
        source=f"MedMNIST, {path.name}",
        licence=str(info.get("license", "not stated")),
        classes=classes,
        notes=(f"split {split}", f"task {task}", "MD5 as published"),
    )


def _package() -> Any:
    try:
        return import_module("medmnist")
    except ImportError as error:
        raise MissingExtra(
            "medmnist: needs the package medmnist (its list of sets and checksums); "
            "pip install medmnist, or read the file itself: npz:PATH,split=test"
        ) from error


def _file(package: Any, info: Any, ask: Ask, size: str) -> Path:
    """The archive, which is the published one."""
    tail = "" if size == "28" else f"_{size}"
    root = Path(ask.options.get("root") or ask.root or Path.home() / ".medmnist")
    path = root / f"{ask.name}{tail}.npz"
    if not path.is_file() and ask.download:
        _download(package, info, root, size, ask)
    if not path.is_file():
        raise InputError(
            f"{ask.spec}: there is no {path}; it is downloaded with --download only (--data-root "
            "says where it lies)"
        )
    wanted = info.get("MD5" + tail)
    seen = _md5(path)
    if wanted and seen != wanted:
        raise InputError(
            f"{path} has MD5 {seen}, published is {wanted}: it is damaged or another file; remove "
            "it and say --download, or read it as it is: npz:PATH,split=test"
        )
    return path


def _md5(path: Path) -> str:
    total = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as content:
        while block := content.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def _download(package: Any, info: Any, root: Path, size: str, ask: Ask) -> None:
    kind = getattr(package, info["python_class"])
    try:
        root.mkdir(parents=True, exist_ok=True)
        kind(split="test", root=str(root), download=True, size=int(size))
    except (
        Exception
    ) as error:  # the package raises RuntimeError for all that went wrong
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{ask.spec} could not be downloaded ({said})") from error


def _names(info: Any) -> tuple[str, ...] | None:
    """Of the classes; the package keeps them under "0", "1", ..."""
    names = info.get("label")
    try:
        return tuple(str(names[str(i)]) for i in range(len(names)))
    except (KeyError, TypeError):
        return None
