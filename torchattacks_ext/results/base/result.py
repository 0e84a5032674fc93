"""What is a result? Frozen per-sample columns, settings, doubts, cost and digest; JSON both ways.

Nothing of the size of images is inside; kept images lie in side-cars (:mod:`.sidecar`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
from torch import Tensor

from ...errors import InputError, StateError
from ...numerics.ids import from_hex, to_hex
from . import codec, frames, joining, words
from .columns import ColumnSpec, Table, column_specs, present
from .document import Document
from .facts import Cost, Flag, merge_flags
from .groups import check_groups
from .origin import chosen, cut_origin, groups_hash, named_beforehand
from .reading import read_fields
from .sidecar import SideCar, lookup
from .unknown import check_rows, join_rows, take_rows

if TYPE_CHECKING:
    import pandas

ResultT = TypeVar("ResultT", bound="Result")


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Result(Document):
    """Base of all results; one row an image, in input order, tensors on the CPU.

    Arguments:
        ids (Tensor): (N,) int64 sample ids.
        settings (dict): what decides a decision; part of the digest.
        provenance (dict): versions, model, device, batch size; not part of it.
        flags (tuple): doubts, as :class:`Flag`.
        cost (Cost): row-passes and seconds.
        sidecars (tuple): where kept images lie.
        groups (tuple): the group of each row, (N,) strings; None where the data name none.
        extra (dict): fields of a newer file that this version does not know; written back.

    >>> Result(ids=torch.tensor([3, 1])).sort().ids.tolist()
    [1, 3]
    """

    schema: ClassVar[str] = ""
    retold: ClassVar[tuple[str, ...]] = ()
    """Codes of flags that :meth:`told` may give."""
    no_number: ClassVar[str] = "NaN or infinite logits"
    """What status NON_FINITE says, in the words of messages."""

    ids: Tensor
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[Flag, ...] = ()
    cost: Cost = Cost()
    sidecars: tuple[SideCar, ...] = ()
    groups: tuple[str, ...] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.ids) if self.ids.dim() else 0
        kinds = {"ids": torch.int64} | {s.name: s.dtype for s in self.columns()}
        for spec in self.columns():
            if spec.missing is not None and getattr(self, spec.name) is None:
                filled = torch.full((n,), spec.missing, dtype=spec.dtype)
                object.__setattr__(self, spec.name, filled)
        check_groups(self.groups, n)
        for name, dtype in kinds.items():
            values = getattr(self, name)
            shape, device = tuple(values.shape), values.device.type
            if (shape, values.dtype, device) != ((n,), dtype, "cpu"):
                raise StateError(
                    f"column {name!r} is {shape} {values.dtype} on {device}, expected "
                    f"{(n,)} {dtype} on cpu: one entry an image"
                )
        check_rows(self.extra, n)

    @classmethod
    def columns(cls) -> tuple[ColumnSpec, ...]:
        """The declared columns (name, dtype, kind, enum, nullable)."""
        return column_specs(cls)

    @classmethod
    def from_table(cls: type[ResultT], table: Table, **facts: Any) -> ResultT:
        """Build the result of finished rows; `facts` are the other fields of the class."""
        values: dict[str, Any] = dict(table.columns(cls.columns()))
        return cls(**values, **facts)

    _present = cached_property(present)

    # ------------------------------------------------------------------ rows
    def __len__(self) -> int:
        return len(self.ids)

    def _take(self: ResultT, rows: Tensor) -> ResultT:
        names = ["ids", *(spec.name for spec in self.columns())]
        taken: dict[str, Any] = {name: getattr(self, name)[rows] for name in names}
        taken["extra"] = take_rows(self.extra, rows)
        if self.groups is not None:
            taken["groups"] = tuple(self.groups[row] for row in rows.tolist())
        return replace(self, **taken)

    def find(self, ids: Tensor) -> Tensor:
        """Row numbers (M,) of `ids` (M,) int64; -1 where an id is not in this result.

        Raises InputError for ids of another dtype or shape.
        """
        if ids.dtype != torch.int64 or ids.dim() != 1:
            raise InputError(
                f"ids are {tuple(ids.shape)} {ids.dtype}, expected (M,) int64; take them from "
                "result.ids"
            )
        ids = ids.cpu().contiguous()
        if not len(self):
            return torch.full_like(ids, -1)
        order = self.ids.argsort(stable=True)
        place = torch.searchsorted(self.ids[order], ids).clamp(max=len(self) - 1)
        rows = order[place]
        return torch.where(self.ids[rows] == ids, rows, -1)

    def select(
        self: ResultT, ids: Tensor | Sequence[str], *, declared: bool = False
    ) -> ResultT:
        """The rows of `ids` (int64 tensor or hex strings), in that order.

        The selection remembers of how many rows it is a part: what needs all rows is then left out
        of its summary, unless the ids were written down before any outcome was seen (declared).
        Cost and counts of flags stay those of the whole run. Raises InputError for an unknown id,
        StateError for one that is given twice.
        """
        if not isinstance(ids, Tensor) and not all(isinstance(i, str) for i in ids):
            raise InputError(
                "ids are neither an int64 tensor nor strings of 16 hex digits"
            )
        wanted = ids if isinstance(ids, Tensor) else from_hex(list(ids))
        rows = self.find(wanted)
        missing = wanted[rows < 0]
        if len(missing):
            raise InputError(
                f"{len(missing)} ids are not in this result (first: {to_hex(missing[:3])}); "
                "take them from result.ids"
            )
        joining.refuse_repeated(wanted, "in the selection; give each row once")
        return self._part(rows, declared)

    def _part(self: ResultT, rows: Tensor, declared: bool) -> ResultT:
        """These rows, each once; fewer than all of them remember that they are a part."""
        taken = self._take(rows)
        if len(rows) == len(self):
            return taken
        n, of = len(rows), len(self)
        origin = cut_origin(self.provenance, self.digest(), n, of, declared)
        if "groups" in self.provenance:
            known = named_beforehand(self.provenance, self.ids, self.groups)
            now = groups_hash(taken.ids, taken.groups)
            origin["groups"] = now if known else self.provenance["groups"]
        return replace(taken, provenance=origin).retell()

    @property
    def chosen(self) -> str | None:
        """Why nothing is said here that needs all rows of a run: which part these are; or None."""
        return chosen(self.provenance)

    def sort(self: ResultT) -> ResultT:
        """The rows in ascending order of id, an order that no shuffling changes."""
        return self._take(self.ids.argsort(stable=True))

    @classmethod
    def concat(cls: type[ResultT], results: Iterable[ResultT]) -> ResultT:
        """Results of disjoint data with the same settings as one; costs and counts add up.

        Provenance says what holds for the rows of all parts; unknown fields stay where all agree.
        What was spent on one run counts once. Raises StatusError for another class, StateError for
        another model, other settings or repeated ids, InputError for nothing at all.
        """
        parts = list(results)
        joining.check_parts(parts, cls)
        columns: dict[str, Any] = dict(joining.joined_columns(parts))
        remedy = (
            "(the same image in two parts?); pass ids= so that every row has its own"
        )
        joining.refuse_repeated(columns["ids"], remedy)
        if len(parts) == 1:
            return parts[0]
        groups = joining.joined_groups(parts)
        facts = joining.joined_provenance(parts, columns["ids"], groups)
        whole = replace(
            parts[0],
            **columns,
            provenance=facts | cls._joined_facts(parts),
            flags=joining.joined_flags(parts),
            cost=joining.joined_cost(parts),
            sidecars=tuple(car for part in parts for car in part.sidecars),
            groups=groups,
            extra=join_rows(part.extra for part in parts),
        )
        return whole.retell()

    @classmethod
    def _joined_facts(cls, parts: Sequence[Any]) -> dict[str, Any]:
        """What counts of a run in the provenance add up to; a family says it of its own."""
        return {}

    def told(self) -> tuple[Flag, ...]:
        """Flags whose sentences are numbers of the rows; a family says its own."""
        return ()

    def retell(self: ResultT) -> ResultT:
        """The same rows with the sentences that they make, whatever stood there before."""
        now = {flag.code: flag for flag in self.told()}
        kept = [flag for flag in self.flags if flag.code not in {*now, *self.retold}]
        return replace(self, flags=(*kept, *now.values()))

    def with_flags(self: ResultT, flags: Iterable[Flag]) -> ResultT:
        """The same result with these flags added."""
        more = tuple(flags)
        return replace(self, flags=merge_flags([self.flags, more])) if more else self

    def images(self) -> Tensor:
        """(N, ...) kept images in row order, in pixels. Raises InputError if none were kept."""
        return lookup(self.sidecars, self.ids)

    def digest(self) -> str:
        """SHA-256 over ids, decision columns and settings; the same for any order of the rows."""
        order = self.ids.argsort(stable=True)
        ids = self.ids[order].numpy().astype("<i8").tobytes()
        parts = [self.schema.encode(), codec.canonical(self.settings), ids]
        for spec in sorted(self._present, key=lambda spec: spec.name):
            if spec.kind == "decision":
                values = getattr(self, spec.name)[order].numpy().astype("<i8")
                parts += [spec.name.encode(), values.tobytes()]
        return codec.digest(parts)

    def to_dict(self) -> dict[str, Any]:
        """Everything but images, in JSON types."""
        cars = [car.to_dict() for car in self.sidecars]
        return {
            **self.extra,
            "schema": self.schema,
            "settings": codec.plain(self.settings),
            "provenance": codec.plain(self.provenance),
            "flags": [codec.plain(flag.to_dict()) for flag in self.flags],
            "cost": codec.plain(asdict(self.cost)),
            "sidecars": [car for car in cars if car is not None],
            "digest": self.digest(),
            "ids": to_hex(self.ids),
            **({} if self.groups is None else {"groups": list(self.groups)}),
            "columns": {
                **self.extra.get("columns", {}),
                **{
                    spec.name: codec.encode(getattr(self, spec.name), spec)
                    for spec in self._present
                },
            },
        }

    @classmethod
    def from_dict(cls: type[ResultT], data: Mapping[str, Any]) -> ResultT:
        """The inverse of :meth:`to_dict`; older schemas are migrated, unknown fields are kept.

        Those inside flags, cost and side-cars are not; the digest is computed anew. Raises
        InputError for another schema, missing or damaged columns.
        """
        raw = codec.migrate(dict(data), cls.schema)
        try:
            return cls(**read_fields(raw, cls.columns()))
        except InputError:
            raise
        except (AttributeError, StateError, TypeError, ValueError) as error:
            raise InputError(
                f"not a whole {cls.schema}: {error}; is the file damaged?"
            ) from error

    def _filled(self) -> frames.Columns:
        return [(spec, getattr(self, spec.name)) for spec in self.columns()]

    def to_records(self) -> list[dict[str, Any]]:
        """One dict a row: id, group (if any) and columns, in the form of :meth:`to_dict`."""
        return frames.to_records(self.ids, self.groups, self._filled())

    def to_frame(self) -> pandas.DataFrame:
        """A pandas DataFrame indexed by id. Raises MissingExtra without pandas."""
        return frames.to_frame(self.ids, self.groups, self._filled())

    def summary(self, confidence: float = 0.95) -> dict[str, Any]:
        """The numbers of the whole data set. confidence: of each interval, in (0, 1)."""
        return {"n": len(self), "confidence": confidence}

    def __repr__(self) -> str:
        return words.one_line(type(self).__name__, self.summary(), self.flags)

    def _repr_html_(self) -> str:
        return words.html_table(type(self).__name__, self.summary())
