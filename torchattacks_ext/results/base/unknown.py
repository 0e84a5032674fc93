"""What becomes of fields that a newer version wrote? They stay; their columns follow the rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from torch import Tensor

from ...errors import InputError

T = TypeVar("T")


def known_fields(cls: type[T], data: Mapping[str, Any]) -> T:
    """The dataclass `cls` from its fields in `data`; fields that it does not have are left out.

    Raises InputError where a field is missing or `data` is no mapping.
    """
    names = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    try:
        return cls(**{key: value for key, value in data.items() if key in names})
    except (AttributeError, TypeError) as error:
        raise InputError(
            f"{data!r} is not a {cls.__name__}: {error}; is the file damaged?"
        ) from error


def check_rows(extra: Mapping[str, Any], n: int) -> None:
    """Raises InputError unless every unknown column in `extra` is a list of `n` entries."""
    for name, values in extra.get("columns", {}).items():
        if not isinstance(values, Sequence) or len(values) != n:
            raise InputError(
                f"column {name!r} must be a list of {n} entries, one a row; is the file damaged?"
            )


def take_rows(extra: Mapping[str, Any], rows: Tensor) -> Mapping[str, Any]:
    """`extra` with its columns cut to `rows` (M,), positions."""
    if "columns" not in extra:
        return extra
    places = rows.tolist()
    taken = {n: [v[place] for place in places] for n, v in extra["columns"].items()}
    return {**extra, "columns": taken}


def join_rows(extras: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One `extra` of several: fields that are the same in all; columns of all, end to end."""
    parts = list(extras)
    first, *rest = [part.get("columns", {}) for part in parts]
    columns = {
        name: sum((list(other[name]) for other in rest), list(values))
        for name, values in first.items()
        if all(name in other for other in rest)
    }
    same = {
        key: value
        for key, value in parts[0].items()
        if key != "columns"
        and all(key in part and part[key] == value for part in parts)
    }
    return same | ({"columns": columns} if columns else {})
