"""Which files does an ONNX file refer to? Read from its bytes, before any runtime opens them.

Weights may lie in further files, named inside the first. A name that leads out of its folder would
let a file from the net read any other of the machine, so names are looked at first. Of the format
(protocol buffers) only the way to the tensors is followed; their values are skipped.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from ...errors import InputError

_FIELDS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse",
        23: "sparse",
    },
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
"""Message: number of a field: the message in it. Entries are (key, value) of a tensor's file."""
_DEEP = 64
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5


def external_files(path: Path) -> tuple[Path, ...]:
    """The files beside an ONNX file in which its weights lie, sorted; nothing is run.

    Raises InputError for a file that is no ONNX, a name that leads out of the folder, and a file
    that is not there. Cost: a look at each tensor's head.
    """
    home = path.resolve().parent
    found = {}
    for name in sorted(set(_locations(path))):
        found[name] = _inside(path, home, name)
    return tuple(found.values())


def _inside(path: Path, home: Path, name: str) -> Path:
    """The file called `name` in the folder."""
    absolute = PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor
    file = (home / name).resolve()
    if not name or absolute or "\0" in name or home not in file.parents:
        raise InputError(
            f"{path} keeps weights in {name!r}, which leads out of its folder: it is not opened"
        )
    if not file.is_file():
        raise InputError(
            f"{path} keeps weights in {name!r}, and there is no such file beside it: copy both, or "
            "export with external_data=False"
        )
    return file


def _locations(path: Path) -> Iterator[str]:
    if not path.is_file():
        raise InputError(f"{path} is not a file")
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise InputError(f"{path} is empty, no ONNX file")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
            try:
                yield from _walk(whole, 0, len(whole), "model", 0)
            except (IndexError, ValueError, UnicodeDecodeError) as error:
                raise InputError(
                    f"{path} is not an ONNX file or is damaged ({error})"
                ) from error


def _walk(
    data: mmap.mmap, start: int, end: int, kind: str, depth: int
) -> Iterator[str]:
    """The locations in the message of `kind` at data[start:end]."""
    if depth > _DEEP:
        raise ValueError("graphs are nested too deeply")
    inner = _FIELDS[kind]
    for number, first, last in _parts(data, start, end):
        wanted = inner.get(number)
        if wanted == "entry":
            entry = {
                n: bytes(data[a:b]).decode() for n, a, b in _parts(data, first, last)
            }
            if entry.get(1) == "location":
                yield entry.get(2, "")
        elif wanted is not None:
            yield from _walk(data, first, last, wanted, depth + 1)


def _parts(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(number, start, end) of the fields of a message that hold bytes."""
    place = start
    while place < end:
        key, place = _varint(data, place, end)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            _, place = _varint(data, place, end)
        elif kind == _BYTES:
            size, place = _varint(data, place, end)
            if place + size > end:
                raise ValueError("it breaks off")
            yield number, place, place + size
            place += size
        elif kind in (_EIGHT, _FOUR):
            place += 8 if kind == _EIGHT else 4
        else:
            raise ValueError(f"field of kind {kind}")
    if place != end:
        raise ValueError("it breaks off")


def _varint(data: mmap.mmap, place: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= end:
            raise ValueError("it breaks off")
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError("a number is too long")
