"""How does a result become JSON and come back? Non-finite numbers are strings, codes are names."""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError, StateError
from .columns import ColumnSpec

_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}

Migration = Callable[[dict[str, Any]], dict[str, Any]]
MIGRATIONS: dict[str, Migration] = {}
"""Old schema ("prob_robustness/1") -> function that lifts its dict to the next major version."""


def plain(value: Any) -> Any:
    """`value` in JSON types: nan and infinities as the strings "nan", "inf", "-inf".

    Raises InputError for what JSON cannot hold.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [plain(item) for item in value]
    raise InputError(
        f"{type(value).__name__} cannot be written as JSON; "
        "give numbers, strings, lists or dicts"
    )


def encode(values: Tensor, spec: ColumnSpec) -> list[Any]:
    """One column as a list: enum names in lower case, null for unknown, floats as JSON numbers.

    Raises StateError for a code that the enum does not have.
    """
    items = values.tolist()
    if spec.nullable:
        flags = spec.dtype == torch.int8
        return [None if v == -1 else bool(v) if flags else v for v in items]
    if spec.enum is not None:
        names = {code.value: code.name.lower() for code in spec.enum}
        odd = set(items) - set(names)
        if odd:
            raise StateError(
                f"column {spec.name!r} holds {sorted(odd)}, expected codes of {spec.enum.__name__}"
            )
        return [names[v] for v in items]
    if spec.dtype.is_floating_point and not bool(values.isfinite().all()):
        return [v if math.isfinite(v) else str(v) for v in items]
    return items


def decode(items: Sequence[Any], spec: ColumnSpec) -> Tensor:
    """The inverse of :func:`encode`. Raises InputError naming the column that cannot be read."""
    try:
        if not isinstance(items, (list, tuple)):
            raise TypeError(f"it is a {type(items).__name__}, expected a list")
        if spec.enum is not None:
            codes = {code.name.lower(): code.value for code in spec.enum}
            items = [codes[v] for v in items]
        elif spec.dtype.is_floating_point:
            items = [_NON_FINITE[v] if isinstance(v, str) else v for v in items]
        else:
            items = [_whole(v, spec.nullable) for v in items]
        values = torch.tensor(items, dtype=spec.dtype)
        if values.dim() != 1:
            raise ValueError(f"it has {values.dim()} dimensions, expected one")
        return values
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"column {spec.name!r} cannot be read: {error}; is the file damaged?"
        ) from error


def _whole(value: Any, nullable: bool) -> int:
    """An integer or truth value as it is, null as -1; torch.tensor would cut 1.7 to 1."""
    if value is None and nullable:
        return -1
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no whole number")
    return int(value)


def migrate(data: dict[str, Any], schema: str) -> dict[str, Any]:
    """`data` lifted to `schema` ("name/major") through :data:`MIGRATIONS`.

    Raises InputError for another family, a newer major version, or one without a migration.
    """
    seen = data.get("schema")
    wanted, _, ours = schema.partition("/")
    while seen != schema:
        family, _, major = str(seen).partition("/")
        newer = major.isdigit() and int(major) > int(ours)
        if family != wanted or newer or seen not in MIGRATIONS:
            hint = "it is no version of this package; is the file damaged?"
            if family != wanted:
                hint = "load it with its own class"
            elif newer:
                hint = "it was written by a newer version: update torchattacks_ext"
            raise InputError(f"schema={seen!r} cannot be read as {schema!r}; {hint}")
        data = MIGRATIONS[str(seen)](dict(data))
        if data.get("schema") == seen:
            raise InputError(f"the migration of schema={seen!r} does not advance")
        seen = data.get("schema")
    return data


def canonical(value: Any) -> bytes:
    """The same bytes for the same content: sorted keys, no spaces, JSON types only."""
    text = json.dumps(
        plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return text.encode()


def differences(
    ours: Mapping[str, Any], theirs: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Key -> both values, where they differ once they are JSON; None where missing."""
    sides = [{str(k): canonical(v) for k, v in side.items()} for side in (ours, theirs)]
    return {
        key: (ours.get(key), theirs.get(key))
        for key in sorted(sides[0].keys() | sides[1].keys())
        if sides[0].get(key) != sides[1].get(key)
    }


def digest(parts: Sequence[bytes]) -> str:
    """SHA-256 in hex over length-prefixed parts (so that no two lists of parts read the same)."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "little") + part)
    return total.hexdigest()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 file in one step: readers see the old one or the new one, never half of it.

    Raises InputError where the folder is missing or refuses.
    """
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A name of its own beside `path`, moved there if the body succeeds and removed if it fails.

    Raises InputError for what the file system refuses.
    """
    target = Path(path)
    part = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
    try:
        yield part
        os.replace(part, target)
    except OSError as error:
        raise InputError(
            f"{str(target)!r} cannot be written: {error}; give another place"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink()


def read_json(source: str | os.PathLike[str]) -> dict[str, Any]:
    """A JSON object from text (starting with "{") or from a file.

    Raises InputError for anything else.
    """
    text = str(source)
    if not text.lstrip().startswith("{"):
        try:
            text = Path(source).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise InputError(f"{str(source)!r} cannot be read: {error}") from error
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON: {error}") from error
    if not isinstance(data, dict):
        raise InputError(f"JSON holds a {type(data).__name__}, expected an object")
    return data
