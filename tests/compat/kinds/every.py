"""Which kinds are there? All of them, in the order of the table in docs/models.md."""

from __future__ import annotations

from . import (
    graphs,
    layers,
    libraries,
    numbers,
    refused,
    shapes,
    shared,
    vision,
    written,
)
from .case import KINDS, Kind

GROUPS = {
    module.__name__.rpartition(".")[2]: (module.__doc__ or "").splitlines()[0]
    for module in (
        written,
        shapes,
        numbers,
        layers,
        graphs,
        shared,
        libraries,
        vision,
        refused,
    )
}
"""Name of a file of kinds -> the question it answers."""


def every() -> list[Kind]:
    """Kinds group by group."""
    return [kind for group in GROUPS for kind in KINDS.values() if kind.group == group]
