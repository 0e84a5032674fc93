"""What stands in for packages that read data sets, with the interface that is used of them?"""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np


class Image:
    """As the feature type of the package datasets: its name is what counts."""

    dtype = "PIL.Image.Image"


class ClassLabel:
    """Whole numbers with names."""

    dtype = "int64"

    def __init__(self, names: list[str]) -> None:
        self.names = names


class Value:
    """A plain column."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype


class Table:
    """As datasets.Dataset: columns with features."""

    split = None

    def __init__(self, features: dict[str, Any], columns: dict[str, list[Any]]) -> None:
        self.features, self.columns = features, columns
        self.info = SimpleNamespace(license="mit")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, key: str | int) -> Any:
        if isinstance(key, str):
            return self.columns[key]
        return {name: values[key] for name, values in self.columns.items()}

    def select_columns(self, names: list[str]) -> Table:
        return Table(
            {name: self.features[name] for name in names},
            {name: self.columns[name] for name in names},
        )

    def cast_column(self, name: str, feature: Any) -> Table:
        import io

        from PIL import Image as pil

        held = [
            one["bytes"] if isinstance(one, dict) else one for one in self.columns[name]
        ]
        found = [pil.open(io.BytesIO(one)) for one in held]
        return Table(self.features | {name: feature}, self.columns | {name: found})


def datasets(found: Any) -> Any:
    """The package datasets; `found` is what a folder holds, an exception is raised."""
    package: Any = ModuleType("datasets")
    package.Image = Image

    def load_dataset(path: str, name: str | None = None) -> Any:
        if isinstance(found, Exception):
            raise found
        return found

    package.load_dataset = package.load_from_disk = load_dataset
    package.are_progress_bars_disabled = lambda: False
    package.disable_progress_bars = package.enable_progress_bars = nullcontext
    return package


def medmnist(path: Path, **more: Any) -> Any:
    """The package medmnist, which knows the set in `path` by the MD5 that it has now."""
    package: Any = ModuleType("medmnist")
    seen = hashlib.md5(path.read_bytes()).hexdigest() if path.is_file() else ""
    one = {
        "python_class": "TinyMNIST",
        "task": "binary-class",
        "label": {"0": "normal", "1": "pneumonia"},
        "license": "CC BY 4.0",
        "MD5": seen,
    }
    many = one | {"task": "multi-label, binary-class"}
    package.INFO = {"tiny": one | more, "chest": many, "organ3d": one}
    return package


def medmnist_file(path: Path, n: int = 6) -> Path:
    """An archive as MedMNIST's: labels of shape (N, 1)."""
    images = np.arange(n * 64, dtype=np.uint8).reshape(n, 8, 8)
    labels = (np.arange(n) % 2).astype(np.uint8)[:, None]
    parts = {f"{s}_images": images for s in ("train", "val", "test")}
    np.savez(path, **parts, **{f"{s}_labels": labels for s in ("train", "val", "test")})
    return path


def digits_file(root: Path, n: int = 6) -> None:
    """The test files of torchvision's MNIST below `root`: image i has the level 40 i."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images = np.repeat(np.arange(n, dtype=np.uint8) * 40, 28 * 28).tobytes()
    labels = (np.arange(n) % 3).astype(np.uint8).tobytes()
    for name in ("t10k", "train"):
        head = b"\0\0\x08\x03" + b"".join(k.to_bytes(4, "big") for k in (n, 28, 28))
        (raw / f"{name}-images-idx3-ubyte").write_bytes(head + images)
        head = b"\0\0\x08\x01" + n.to_bytes(4, "big")
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(head + labels)
