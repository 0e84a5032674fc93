"""Which tables of certificates stand side by side? One entry each, of one norm and with labels."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...errors import InputError, StatusError
from ...results.base.facts import Cost
from ...results.certificates import TIERS, Certificates, CertifiedShare
from ..drawing.axes import FloatArray
from ..words import number, one_line

MOST = len(string.ascii_uppercase)
"""Tables that a picture can name by a letter."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One table in a picture.

    letter: its short name there. name: as it was given. table: as it was given. radii (N,): those
    of right answers, -1 for the others, sorted. forward, seconds: row-passes and wall time of one
    image; nan where they are not known.
    """

    letter: str
    name: str
    table: Certificates
    radii: FloatArray
    forward: float
    seconds: float

    @property
    def tier(self) -> str:
        """What its radii may be called."""
        return self.table.tier

    @property
    def axis(self) -> str:
        """Name of the axis of radii."""
        converted = ", converted" * ("converted" in self.table.settings)
        return f"{self.table.norm} radius in pixel units{converted}"

    @property
    def rank(self) -> int:
        """Place of the tier in :data:`TIERS`: how a line is drawn goes by it alone."""
        return TIERS.index(self.tier) if self.tier in TIERS else len(TIERS) - 1

    def at(self, eps: float, confidence: float) -> CertifiedShare | None:
        """Certified accuracy at a radius; None where the table says nothing of it."""
        only = self.table.fixed_radius
        if only is not None and eps != only:
            return None
        return self.table.certified_accuracy(eps, confidence)


def entries_of(
    tables: Mapping[str, Certificates], costs: Mapping[str, Cost] | None = None
) -> tuple[Entry, ...]:
    """Entries in the order of their status, then as given; costs: those of the tables if None.

    Raises InputError for no tables or more than 26, empty ones, ones without labels and what is no
    table; StatusError for radii in different norms: convert them first.
    """
    if not 0 < len(tables) <= MOST:
        raise InputError(f"{len(tables)} tables of certificates; give 1 to {MOST}")
    for name, table in tables.items():
        _check(name, table)
    norms = {table.norm for table in tables.values()}
    if len(norms) > 1:
        raise StatusError(
            f"radii in {' and '.join(sorted(norms))} cannot share an axis; use converted()"
        )
    found = []
    for letter, (name, table) in zip(string.ascii_uppercase, _ordered(tables)):
        cost = table.cost if costs is None else costs[name]
        known = cost.forward > 0 or cost.seconds > 0
        right = (table.clean_correct == 1).numpy()
        found.append(
            Entry(
                letter,
                one_line(name, 60),
                table,
                np.sort(np.where(right, table.radius.numpy(), -1.0)),
                cost.forward / len(table) if known else np.nan,
                cost.seconds / len(table) if known else np.nan,
            )
        )
    return tuple(found)


def short_time(value: float) -> str:
    """The time of one image.

    >>> short_time(4.21), short_time(0.00051), short_time(2e-8)
    ('4.21 s', '0.51 ms', '0.02 us')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= 0.1 * size:
            break
    return f"{number(value / size)} {unit}"


def _ordered(tables: Mapping[str, Certificates]) -> list[tuple[str, Certificates]]:
    ranks = {tier: i for i, tier in enumerate(TIERS)}
    return sorted(tables.items(), key=lambda one: ranks.get(one[1].tier, len(TIERS)))


def _check(name: str, table: Certificates) -> None:
    if not isinstance(table, Certificates):
        raise InputError(f"{name!r} is a {type(table).__name__}, expected Certificates")
    if not bool(table.answered.any()):
        raise InputError(f"{name!r} has no images that were reached: there is no curve")
    if bool((table.reference[table.answered] < 0).any()):
        raise InputError(
            f"{name!r} has no labels, without which nothing is right; certify(images, labels)"
        )
