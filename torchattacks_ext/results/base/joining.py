"""May these results be one, and what do their facts add up to?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError, StateError, StatusError
from . import codec
from .facts import Cost, Flag, merge_flags
from .groups import Groups, join_groups
from .origin import (
    groups_hash,
    joined_origin,
    joined_selection,
    named_beforehand,
    refuse_other_model,
    selections,
)

Parts = Sequence[Any]
"""Results, each with its columns and facts."""

_MOST = 3
"""Sentences of one flag that a joined result repeats."""


def check_parts(parts: Parts, wanted: type[Any]) -> None:
    """Raises InputError for nothing at all, StatusError for another class than the first one's or

    `wanted`, StateError for other settings or another model.
    """
    if not parts:
        raise InputError("concat needs at least one result, got none")
    first = parts[0]
    for part in parts:
        if type(part) is not type(first) or not isinstance(part, wanted):
            whose = type(first) if isinstance(first, wanted) else wanted
            pair = f"{type(part).__name__} as {whose.__name__}"
            raise StatusError(f"cannot concat {pair}; give results of one class")
        odd = codec.differences(first.settings, part.settings)
        if odd:
            raise StateError(
                f"results of different settings {odd} cannot be one; measure again"
            )
        refuse_other_model(first.provenance, part.provenance, "a part")


def refuse_repeated(ids: Tensor, remedy: str) -> None:
    """Raises StateError where an id (N,) occurs twice.

    >>> refuse_repeated(torch.tensor([1, 2]), "")
    """
    repeated = len(ids) - len(set(ids.tolist()))
    if repeated:
        raise StateError(f"{repeated} ids occur twice {remedy}")


def joined_cost(parts: Parts) -> Cost:
    """The sum; what was spent on one run counts once, however many parts of it there are."""
    total, seen = Cost(), set[str]()
    for part in parts:
        runs = {str(one["run"]) for one in selections(part.provenance)}
        if not runs or runs - seen:
            total += part.cost
        seen |= runs
    return total


def joined_flags(parts: Parts) -> tuple[Flag, ...]:
    """One flag a code: counts are added; other sentences of the same code are told as well.

    A selection has the counts of its whole run: further ones of the same run add nothing.
    """
    said: dict[str, list[str]] = {}
    for flag in (flag for part in parts for flag in part.flags):
        texts = said.setdefault(flag.code, [])
        if flag.message not in texts:
            texts.append(flag.message)
    found, seen, counted = [], set[str](), []
    for part in parts:
        runs = {str(one["run"]) for one in selections(part.provenance)}
        whole = not runs or bool(runs - seen)
        seen |= runs
        counted.append(
            part.flags if whole else tuple(replace(f, count=None) for f in part.flags)
        )
    for flag in merge_flags(counted):
        texts = said[flag.code]
        more = f" (and {len(texts) - _MOST} more)" * (len(texts) > _MOST)
        text = "; of other parts: ".join(texts[:_MOST]) + more
        found.append(Flag(flag.code, text, flag.count, flag.details))
    return tuple(found)


def joined_provenance(
    parts: Parts, ids: Tensor, groups: Groups | None
) -> dict[str, Any]:
    """What holds for each row of all parts, and which of their runs they are not the whole of."""
    origins = [part.provenance for part in parts]
    found = joined_origin(origins)
    selection = joined_selection(origins)
    if selection:
        found["selection"] = selection
    if any("groups" in origin for origin in origins):
        known = all(named_beforehand(p.provenance, p.ids, p.groups) for p in parts)
        found["groups"] = groups_hash(ids, groups) if known else "named later"
    return found


def joined_groups(parts: Parts) -> Groups | None:
    """Groups of the rows of all parts, end to end."""
    return join_groups([(part.groups, len(part)) for part in parts])


def joined_columns(parts: Parts) -> dict[str, Tensor]:
    """ids and every declared column, end to end."""
    names = ["ids", *(spec.name for spec in parts[0].columns())]
    return {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
