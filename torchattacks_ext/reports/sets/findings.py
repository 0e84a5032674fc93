"""What does the audit of a data set say, whatever the renderer? Findings, and a few tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...results.base.words import short
from ...results.datasets.audit import HARD, Copy, DataAudit, SplitFacts

Rows = list[list[str]]
_SHOWN = 10
"""Pairs shown of each kind; the JSON has more."""


def audit_tables(audit: DataAudit) -> list[tuple[str, Rows]]:
    """Titles and tables (the head first): splits, copies, and the first pairs of each kind."""
    parts: list[tuple[str, Rows]] = [
        ("Splits", _splits(audit)),
        ("Copies", _overlaps(audit)),
    ]
    for kind in ("exact", "near"):
        pairs = [copy for copy in audit.copies if copy.kind == kind]
        if pairs:
            shown = f" (the first {_SHOWN} listed)" if len(pairs) > _SHOWN else ""
            parts.append((f"{kind.capitalize()} copies{shown}", _pairs(pairs)))
    return parts


def verdict(audit: DataAudit) -> str:
    """In one or two words."""
    if not audit.flags:
        return "nothing found"
    return "suspicions only" if audit.sound else "findings"


def audit_findings(audit: DataAudit) -> list[str]:
    """A sentence a finding, and what was not looked for."""
    lines = [
        f"{flag.count:,} {flag.message} [{flag.code}]"
        + ("" if flag.code in HARD else ": a suspicion")
        for flag in audit.flags
    ]
    near = audit.settings.get("near")
    if near is None:
        lines.append("near copies were not looked for")
    for one in audit.overlaps:
        if near is not None and one.near is None:
            lines.append(f"{one.split} and {one.other}: no pictures to compare nearly")
    return lines


def _splits(audit: DataAudit) -> Rows:
    head = ["split", "images", "shape", "range", "constant", "not finite"]
    head += ["classes", "largest / smallest", "fingerprint"]
    return [head, *(_split(one) for one in audit.splits)]


def _split(one: SplitFacts) -> list[str]:
    shapes = " and ".join("x".join(map(str, shape)) for shape in one.shapes[:2])
    shapes += " and others" if len(one.shapes) > 2 else ""
    known = one.class_counts is not None
    return [
        one.name,
        f"{one.n:,}",
        shapes,
        "n/a" if math.isnan(one.low) else f"{short(one.low)} to {short(one.high)}",
        f"{one.constant:,}",
        f"{one.non_finite:,}",
        f"{len(one.class_counts or {}):,}" if known else "no labels",
        f"{one.imbalance:.2f}" if one.imbalance is not None else "n/a",
        one.fingerprint[:12],
    ]


def _overlaps(audit: DataAudit) -> Rows:
    head = ["images of", "that are in", "exact", "near", "near, other label"]
    rows = []
    for one in audit.overlaps:
        other = "itself, earlier" if one.split == one.other else one.other
        near = ["n/a" if n is None else f"{n:,}" for n in (one.near, one.near_clashes)]
        rows.append([one.split, other, f"{one.exact:,}", *near])
    pictures, images = audit.label_clashes, audit.clash_rows
    rows.append(["all", "label clashes", f"{pictures:,} ({images:,} images)", "", ""])
    return [head, *rows]


def _pairs(pairs: Sequence[Copy]) -> Rows:
    head = ["row", "shows what row", "likeness", "labels"]
    return [
        head,
        *(
            [
                f"{one.split} {one.row}",
                f"{one.of} {one.of_row}",
                f"{one.likeness:.4f}",
                "" if one.label is None else f"{one.label}, {one.of_label}",
            ]
            for one in pairs[:_SHOWN]
        ),
    ]
