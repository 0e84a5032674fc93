"""Whose rows are these, and are they all of a run? What stands in the provenance when rows are cut.

Facts of a run that hold for each of its rows stay with any part of them; counts of the run do not.
A part remembers how many rows it was taken from: of rows that were chosen after their outcome was
seen nothing may be said that needs all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from ...errors import StateError
from .facts import resumes

OF_EACH_ROW = (
    "model",
    "device",
    "batch_size",
    "normalised_input",
    "normalization",
    "versions",
    "finished",
)
"""What a provenance says of each row of a run."""

Provenance = Mapping[str, Any]


def refuse_other_model(one: Provenance, two: Provenance, whose: str) -> None:
    """Raises StateError where two provenances name other weights, or another scale of the input.

    whose: what the second one is, for the message. Models whose weights cannot be hashed go by
    their class.

    >>> refuse_other_model({"model": {"sha256": "a"}}, {}, "a part")
    """
    left, right = one.get("model") or {}, two.get("model") or {}
    for key in ("sha256", "class"):
        before, now = left.get(key), right.get(key)
        if before and now:
            if before != now:
                what = (
                    "weights have another hash"
                    if key == "sha256"
                    else "class is another"
                )
                raise StateError(
                    f"{whose} is of another model (its {what}: {str(now)[:12]}, not "
                    f"{str(before)[:12]}); measure anew with one model"
                )
            break
    for key in ("normalised_input", "normalization"):
        if key in one and key in two and one[key] != two[key]:
            raise StateError(
                f"{whose} is of another scale of the input ({key}={two[key]}, not {one[key]}); "
                "call set_normalization_used with the same numbers, and measure anew"
            )


def joined_origin(parts: Sequence[Provenance]) -> dict[str, Any]:
    """What holds for each row of all parts; facts on which they differ are left out.

    >>> joined_origin([{"device": "cpu", "batch_size": 1}, {"device": "cpu", "batch_size": 2}])
    {'device': 'cpu'}
    """
    first = parts[0]
    found = {
        key: first[key]
        for key in OF_EACH_ROW
        if key in first and all(part.get(key) == first[key] for part in parts)
    }
    if "model" in first:  # the same weights by their hash; class names may differ
        found["model"] = first["model"]
    times = [str(part["finished"]) for part in parts if "finished" in part]
    if len(times) == len(parts):
        found["finished"] = max(times)
    return found | resumes(parts)


def selections(provenance: Provenance) -> list[dict[str, Any]]:
    """What parts of runs the rows are: "run", "rows" taken "of" its rows, whether "declared"."""
    return [dict(one) for one in provenance.get("selection", ())]


def cut_origin(
    provenance: Provenance, run: str, rows: int, of: int, declared: bool
) -> dict[str, Any]:
    """The provenance of `rows` rows taken from a result of `of` rows, whose digest is `run`."""
    kept = {key: provenance[key] for key in OF_EACH_ROW if key in provenance}
    kept |= resumes([provenance])
    before = selections(provenance)
    entry = {"run": run[:16], "rows": rows, "of": of, "declared": declared}
    if before:  # rows of a part: how many there were at first still counts
        entry["of"] = of + sum(one["of"] - one["rows"] for one in before)
        entry["declared"] = declared and all(one["declared"] for one in before)
        if len(before) == 1:
            entry["run"] = before[0]["run"]
    return kept | {"selection": [entry]}


def joined_selection(parts: Iterable[Provenance]) -> list[dict[str, Any]]:
    """The selections of several results as one; a run of which every row is there again is none."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for one in (one for part in parts for one in selections(part)):
        key = str(one["run"]), int(one["of"])
        old = found.get(key)
        if old is not None:
            one["rows"] += old["rows"]
            one["declared"] = one["declared"] and old["declared"]
        found[key] = one
    return [one for one in found.values() if one["rows"] < one["of"]]


def chosen(provenance: Provenance) -> str | None:
    """Why claims that need all rows are left out: these were chosen; None where they were not.

    >>> part = cut_origin({}, "0f", 2, 9, declared=False)
    >>> chosen(part)
    '2 of 9 rows, chosen after the run: say select(ids, declared=True) if written down before'
    """
    parts = selections(provenance)
    if all(one["declared"] for one in parts):
        return None
    rows, of = sum(one["rows"] for one in parts), sum(one["of"] for one in parts)
    return (
        f"{rows} of {of} rows, chosen after the run: say select(ids, declared=True) if written "
        "down before"
    )


def groups_hash(ids: Tensor, groups: Sequence[str] | None) -> str | None:
    """Which group each row has, as 16 hex digits that do not depend on the order; None without.

    >>> import torch
    >>> groups_hash(torch.tensor([1, 2]), "ab") == groups_hash(torch.tensor([2, 1]), "ba")
    True
    """
    if groups is None:
        return None
    total = 0
    for number, name in zip(ids.tolist(), groups):
        text = f"{number}/{name}".encode()
        total += int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
    return f"{total % 2**64:016x}"


def named_beforehand(
    provenance: Provenance, ids: Tensor, groups: Sequence[str] | None
) -> bool:
    """Whether the groups are those that came with the data, as far as the provenance knows."""
    if "groups" not in provenance:
        return True
    return bool(provenance["groups"] == groups_hash(ids, groups))
