"""Which fields of a result does its JSON hold? Columns decoded, facts made, the rest kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...errors import InputError
from ...numerics.ids import from_hex
from . import codec
from .columns import ColumnSpec
from .facts import Cost, Flag
from .groups import read_groups
from .sidecar import SideCar
from .unknown import known_fields

_KNOWN = ("settings", "provenance", "flags", "cost", "sidecars", "ids", "groups")


def read_fields(raw: dict[str, Any], declared: Iterable[ColumnSpec]) -> dict[str, Any]:
    """The arguments of a result, from its dict (which is used up); declared: its columns.

    Raises InputError for fields that are missing or cannot be read.
    """
    columns = dict(raw.pop("columns", {}))
    specs = [s for s in declared if s.missing is None or s.name in columns]
    lost = [s.name for s in specs if s.name not in columns]
    if lost or "ids" not in raw:
        raise InputError(f"fields {lost or ['ids']} are missing; is the file damaged?")
    values = {s.name: codec.decode(columns.pop(s.name), s) for s in specs}
    facts = {key: raw.pop(key) for key in _KNOWN if key in raw}
    extra = {k: v for k, v in raw.items() if k not in ("schema", "digest")}
    return {
        "ids": from_hex(facts["ids"]),
        "settings": facts.get("settings", {}),
        "provenance": facts.get("provenance", {}),
        "flags": tuple(known_fields(Flag, f) for f in facts.get("flags", ())),
        "cost": known_fields(Cost, facts.get("cost", {})),
        "sidecars": tuple(known_fields(SideCar, c) for c in facts.get("sidecars", ())),
        "groups": read_groups(facts.get("groups")),
        "extra": extra | ({"columns": columns} if columns else {}),
        **values,
    }
