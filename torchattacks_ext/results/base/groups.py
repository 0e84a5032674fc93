"""Which group does each row belong to? Names that come with the data, one a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError, StateError

Groups = tuple[str, ...]


def check_groups(groups: Groups | None, n: int) -> None:
    """Raises StateError unless there is one name for each of `n` rows, or none at all."""
    if groups is not None and len(groups) != n:
        raise StateError(f"{n} rows have {len(groups)} groups; expected one a row")


def join_groups(parts: Sequence[tuple[Groups | None, int]]) -> Groups | None:
    """Groups of several parts (groups, rows) end to end; "" for the rows of a part without any.

    >>> join_groups([(("a",), 1), (None, 2)])
    ('a', '', '')
    """
    if all(groups is None for groups, _ in parts):
        return None
    named = [("",) * n if groups is None else groups for groups, n in parts]
    return tuple(name for groups in named for name in groups)


def rows_by_group(groups: Groups | None) -> dict[str, Tensor]:
    """Name -> row numbers (M,) int64, in order of name; {} where the data name no groups.

    >>> rows_by_group(("b", "a", "b"))
    {'a': tensor([1]), 'b': tensor([0, 2])}
    """
    found: dict[str, list[int]] = {name: [] for name in sorted(set(groups or ()))}
    for row, name in enumerate(groups or ()):
        found[name].append(row)
    return {name: torch.tensor(rows) for name, rows in found.items()}


def read_groups(value: Any) -> Groups | None:
    """Groups as they stand in a file. Raises InputError for anything but a list of strings."""
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise InputError(
            f"groups={value!r:.60} are no list of names; is the file damaged?"
        )
    return tuple(value)
