"""Which tensors does a safetensors file, or a folder of pieces, hold? Plain data, nothing runs."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ...errors import InputError
from .checkpoints import read_weights

SUFFIX = ".safetensors"
INDEX = ".safetensors.index.json"
PICKLED = "pytorch_model.bin"


def read_tensors(path: Path) -> dict[str, Any]:
    """The named tensors of FILE.safetensors, or of all files in FILE.safetensors.index.json.

    Raises InputError for a file that is none or damaged, and for an index that leads elsewhere.
    """
    if path.name.endswith(INDEX):
        found: dict[str, Any] = {}
        for file in index_files(path):
            found |= read_tensors(file)
        return found
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise InputError(f"{path} is not a file")
    try:
        return dict(load_file(str(path), device="cpu"))
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path} is not a safetensors file or is damaged ({said})"
        ) from error


def index_files(path: Path) -> list[Path]:
    """The files that an index names, all beside it. Raises InputError."""
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()
        plain = sorted(set(map(str, names)))
    except (
        OSError,
        UnicodeDecodeError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        raise InputError(
            f"{path} is no index of safetensors files ({error})"
        ) from error
    for name in plain:
        bare = PurePosixPath(name).name == name == PureWindowsPath(name).name
        if not bare or not name.endswith(SUFFIX):
            raise InputError(
                f"{path} names {name!r}, which is no safetensors file beside it"
            )
        if not (path.parent / name).is_file():
            raise InputError(
                f"{path} names {name!r}, and there is no such file beside it"
            )
    return [path.parent / name for name in plain]


def check_index(folder: Path, said: str) -> None:
    """Raises InputError where an index in the folder leads out of it or to nothing."""
    for path in sorted(folder.glob(f"*{INDEX}")):
        try:
            index_files(path)
        except InputError as error:
            raise InputError(f"{said}: {error}") from error


def read_folder(folder: Path, said: str) -> dict[str, Any]:
    """The tensors of model.safetensors, of its pieces, or of pytorch_model.bin by the restricted
    reader. Raises InputError.
    """
    for name in (f"model{SUFFIX}", f"model{INDEX}"):
        if (folder / name).is_file():
            return read_tensors(folder / name)
    if (folder / PICKLED).is_file():
        return read_weights(folder / PICKLED).state
    raise InputError(f"{said} has neither model.safetensors nor {PICKLED}")
