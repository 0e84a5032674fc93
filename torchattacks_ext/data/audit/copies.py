"""Which images of these splits are copies, exact or near, and do their labels agree?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...numerics.likeness.pairs import near_pairs
from ...results.datasets.audit import Copy, Overlap
from .scan import Scan

Array = np.ndarray[Any, Any]


@dataclass
class Compared:
    """What comparing splits found.

    marks: (split, other) -> (N,) int8 a row of the split: 2 an exact copy, 1 a near one, 0 none.
    """

    overlaps: list[Overlap] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)
    label_clashes: int = 0
    clash_rows: int = 0
    marks: dict[tuple[str, str], Array] = field(default_factory=dict)


def compare_splits(
    scans: Sequence[Scan], threshold: float | None, listed: int
) -> Compared:
    """Compare each split with itself and with the earlier ones; at most `listed` pairs of each.

    threshold: of near copies; None looks for exact ones only.
    """
    found = Compared()
    ids = _numbered([scan.keys for scan in scans])
    found.label_clashes, found.clash_rows = _clashes(scans, ids)
    for i, scan in enumerate(scans):
        for j in (i, *range(i)):
            rows, of = _exact(ids[i], None if i == j else ids[j])
            exact, mark = len(rows), np.zeros(len(ids[i]), dtype=np.int8)
            found.copies += _listed("exact", scan, scans[j], rows, of, None, listed)
            near, clashes = None, None
            if threshold is not None and scan.portraits and scans[j].portraits:
                rows_near, clashes, copies = _near(
                    scan, scans[j], ids[i], ids[j], i == j, threshold, listed
                )
                near, mark[rows_near] = int(rows_near.sum()), 1
                found.copies += copies
            mark[rows] = 2
            found.marks[scan.facts.name, scans[j].facts.name] = mark
            found.overlaps.append(
                Overlap(
                    split=scan.facts.name,
                    other=scans[j].facts.name,
                    exact=exact,
                    near=near,
                    near_clashes=clashes,
                )
            )
    return found


def _numbered(keys: Sequence[Array]) -> list[Array]:
    """Keys (N, 2) of each split as whole numbers (N,): equal pictures, equal numbers."""
    whole = np.concatenate(keys)
    _, numbers = np.unique(whole, axis=0, return_inverse=True)
    return np.split(numbers.reshape(-1), np.cumsum([len(one) for one in keys])[:-1])


def _exact(ids: Array, other: Array | None) -> tuple[Array, Array]:
    """Rows that are in `other`, or earlier in `ids`, and the first row that they repeat."""
    known, first = np.unique(ids if other is None else other, return_index=True)
    place = np.searchsorted(known, ids).clip(max=len(known) - 1)
    same = known[place] == ids
    if other is None:
        same &= first[place] < np.arange(len(ids))
    rows = np.flatnonzero(same)
    return rows, first[place[rows]]


def _clashes(scans: Sequence[Scan], ids: list[Array]) -> tuple[int, int]:
    """Pictures with more than one label, and the images that show them."""
    kept = [(i, s.labels) for i, s in zip(ids, scans) if s.labels is not None]
    if not kept:
        return 0, 0
    numbers, labels = (np.concatenate(side) for side in zip(*kept))
    seen = np.unique(np.stack([numbers, labels], 1), axis=0)[:, 0]
    pictures, times = np.unique(seen, return_counts=True)
    several = pictures[times > 1]
    return len(several), int(np.isin(numbers, several).sum())


def _near(
    scan: Scan,
    other: Scan,
    ids: Array,
    others: Array,
    same: bool,
    threshold: float,
    listed: int,
) -> tuple[Array, int, list[Copy]]:
    """Whether each row has a near copy (N,), how many of another label, and pairs."""
    assert scan.portraits is not None and other.portraits is not None
    near, clash = np.zeros(len(ids), dtype=bool), np.zeros(len(ids), dtype=bool)
    copies: list[Copy] = []
    theirs = None if same else other.portraits
    for found in near_pairs(scan.portraits, theirs, threshold):
        rows, of, like = (side.numpy() for side in found)
        differ = ids[rows] != others[of]
        rows, of, like = rows[differ], of[differ], like[differ]
        near[rows] = True
        if scan.labels is not None and other.labels is not None:
            clash[rows[scan.labels[rows] != other.labels[of]]] = True
        left = listed - len(copies)
        copies += _listed("near", scan, other, rows, of, like, left)
    return near, int(clash.sum()), copies


def _listed(
    kind: str,
    scan: Scan,
    other: Scan,
    rows: Array,
    of: Array,
    like: Array | None,
    most: int,
) -> list[Copy]:
    return [
        Copy(
            kind=kind,
            split=scan.facts.name,
            row=int(rows[k]),
            of=other.facts.name,
            of_row=int(of[k]),
            likeness=1.0 if like is None else round(float(like[k]), 4),
            label=None if scan.labels is None else int(scan.labels[rows[k]]),
            of_label=None if other.labels is None else int(other.labels[of[k]]),
        )
        for k in range(min(len(rows), most))
    ]
