"""What is wrong with a data set before any model sees it? Copies, clashes, odd images; a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from ...errors import InputError
from ..base import codec, words
from ..base.document import Document
from ..base.facts import Flag
from ..base.unknown import known_fields


@dataclass(frozen=True, kw_only=True)
class SplitFacts:
    """One split by itself.

    Arguments:
        name (str): train, val or test.
        n (int): images.
        shapes (tuple): every shape (C, H, W) in it.
        fingerprint (str): SHA-256 of pixels and labels, the same in any order.
        low, high (float): range of the finite pixels; nan without any.
        constant, non_finite (int): images of one colour; with NaN or infinite pixels.
        class_counts (dict): class number -> images; None without labels.
    """

    name: str
    n: int
    shapes: tuple[tuple[int, ...], ...]
    fingerprint: str
    low: float
    high: float
    constant: int = 0
    non_finite: int = 0
    class_counts: Mapping[str, int] | None = None

    @property
    def imbalance(self) -> float | None:
        """Images of the largest class for one of the smallest; None without labels."""
        counts = list((self.class_counts or {}).values())
        return max(counts) / min(counts) if counts else None


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """How many images of `split` are there before: in `other`, or earlier in itself.

    exact: with the same pixels, each copy beyond the first counted. near: with a near copy there
    that is not the same. near_clashes: of those, how many have another label than a near copy.
    """

    split: str
    other: str
    exact: int
    near: int | None = None
    near_clashes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Copy:
    """One pair: row `row` of `split` shows what row `of_row` of `of` shows.

    kind: "exact" or "near". likeness: correlation of the low frequencies, 1 for exact copies.
    label, of_label: their labels; None without.
    """

    kind: str
    split: str
    row: int
    of: str
    of_row: int
    likeness: float = 1.0
    label: int | None = None
    of_label: int | None = None


HARD = (
    "leak",
    "duplicates",
    "label_clash",
    "constant",
    "non_finite",
    "scales_differ",
)
"""Codes of findings that are facts; others are suspicions."""


@dataclass(frozen=True, repr=False, kw_only=True)
class DataAudit(Document):
    """What an audit of images and labels found.

    Arguments:
        splits (tuple): :class:`SplitFacts` in the order train, val, test.
        overlaps (tuple): an :class:`Overlap` for each split with itself and with earlier ones.
        label_clashes (int): pictures that occur with more than one label, in all splits together.
        clash_rows (int): images that show one of them.
        copies (tuple): :class:`Copy` pairs, at most `listed` of each kind and overlap.
        settings (dict): threshold of near copies (None: not looked for), listed.
        extra (dict): fields of a newer file that this version does not know; written back.

    >>> facts = SplitFacts(name="test", n=2, shapes=((1, 8, 8),), fingerprint="ab", low=0, high=1)
    >>> DataAudit(splits=(facts,), overlaps=(Overlap(split="test", other="test", exact=1),))
    DataAudit(test=2, findings=[duplicates])
    """

    schema: ClassVar[str] = "data_audit/1"

    splits: tuple[SplitFacts, ...]
    overlaps: tuple[Overlap, ...] = ()
    label_clashes: int = 0
    clash_rows: int = 0
    copies: tuple[Copy, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def overlap(self, split: str, other: str | None = None) -> Overlap:
        """What is known of `split` against `other`, or against itself. InputError for none."""
        pairs = {(one.split, one.other): one for one in self.overlaps}
        found = pairs.get((split, other or split)) or pairs.get((other or split, split))
        if found is None:
            raise InputError(
                f"no overlap of {split!r} with {other or split!r}; known are {sorted(pairs)}"
            )
        return found

    @property
    def flags(self) -> tuple[Flag, ...]:
        """The findings, the worst first; nothing where the data are sound."""
        return tuple(_findings(self))

    @property
    def sound(self) -> bool:
        """Whether nothing but suspicions was found: no flag whose code is in `HARD`."""
        return not any(flag.code in HARD for flag in self.flags)

    def to_dict(self) -> dict[str, Any]:
        """Everything, in JSON types; the findings too, which are made anew on reading."""
        facts: dict[str, Any] = codec.plain(
            {
                **self.extra,
                "schema": self.schema,
                "settings": self.settings,
                "findings": [flag.to_dict() for flag in self.flags],
                "splits": [asdict(one) for one in self.splits],
                "overlaps": [asdict(one) for one in self.overlaps],
                "label_clashes": self.label_clashes,
                "clash_rows": self.clash_rows,
                "copies": [asdict(one) for one in self.copies],
            }
        )
        return facts

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DataAudit:
        """The inverse of :meth:`to_dict`. Raises InputError for another schema or damage."""
        raw = codec.migrate(dict(data), cls.schema)
        kinds = {"splits": SplitFacts, "overlaps": Overlap, "copies": Copy}
        known: dict[str, Any] = {}
        for name, kind in kinds.items():
            rows = raw.pop(name, None)
            if not isinstance(rows, (list, tuple)):
                raise InputError(f"field {name!r} is missing; is the file damaged?")
            known[name] = tuple(known_fields(kind, _read(row)) for row in rows)
        for name in ("label_clashes", "clash_rows", "settings"):
            if name in raw:
                known[name] = raw.pop(name)
        extra = {k: v for k, v in raw.items() if k not in ("schema", "findings")}
        return cls(**known, extra=extra)

    def __repr__(self) -> str:
        facts = {one.name: one.n for one in self.splits}
        codes = [flag.code for flag in self.flags]
        return words.one_line("DataAudit", facts | {"findings": codes or "none"}, ())


def _read(row: Any) -> Any:
    """A row of a file with its tuples and infinities again."""
    if not isinstance(row, Mapping):
        return row
    found = dict(row)
    if "shapes" in found:
        found["shapes"] = tuple(tuple(shape) for shape in found["shapes"])
    for side in ("low", "high"):
        if side in found:
            found[side] = float(found[side])
    return found


SCALES = (
    "splits hold larger numbers than another, so that their copies are not seen as exact; bring "
    "all to [0, 1]"
)
_APART = 8
"""Times the largest number of another split that an unscaled one exceeds; 255 for 8 bits."""


def _of_another_scale(splits: tuple[SplitFacts, ...]) -> int:
    """Splits whose largest number is far above that of another."""
    tops = [max(abs(one.low), abs(one.high)) for one in splits]
    known = [top for top in tops if 0 < top < float("inf")]
    return sum(top > _APART * min(known) for top in known)


def _findings(audit: DataAudit) -> list[Flag]:
    between = [one for one in audit.overlaps if one.split != one.other]
    within = [one for one in audit.overlaps if one.split == one.other]
    splits, near = audit.splits, [one.near or 0 for one in audit.overlaps]
    inner = sum(one.near_clashes or 0 for one in audit.overlaps)
    candidates = [
        Flag("leak", "images of one split are in another", _sum(between, "exact")),
        Flag("label_clash", "pictures have several labels", audit.label_clashes),
        Flag("duplicates", "images occur again in their split", _sum(within, "exact")),
        Flag("non_finite", "images hold NaN or inf", _sum(splits, "non_finite")),
        Flag("constant", "images have one colour", _sum(splits, "constant")),
        Flag("scales_differ", SCALES, _of_another_scale(splits)),
        Flag("near_copies", "images nearly repeat earlier ones", sum(near)),
        Flag("near_label_clash", "near copies have another label", inner),
    ]
    return [flag for flag in candidates if flag.count]


def _sum(parts: tuple[Any, ...] | list[Any], name: str) -> int:
    return sum(getattr(one, name) for one in parts)
