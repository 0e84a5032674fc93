"""What is a result? Frozen per-sample columns with their settings, doubts, cost and digest; JSON both ways.

Nothing of the size of images is inside; kept images lie in side-cars (:mod:`.sidecar`).
"""

from __future__ import annotations

import html
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
from torch import Tensor

from ..errors import InputError, MissingExtra, StateError, StatusError
from ..numerics.ids import from_hex, to_hex
from . import codec
from .columns import ColumnSpec, Table, column_specs
from .facts import Cost, Flag, merge_flags
from .sidecar import SideCar, lookup

if TYPE_CHECKING:
    import pandas

ResultT = TypeVar("ResultT", bound="Result")


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Result:
    """Base of all results; one row an image, in input order, tensors on the CPU.

    Arguments:
        ids (Tensor): (N,) int64 sample ids.
        settings (dict): what decides a decision; part of the digest.
        provenance (dict): versions, model, device, batch size; not part of it.
        flags (tuple): doubts, as :class:`Flag`.
        cost (Cost): row-passes and seconds.
        sidecars (tuple): where kept images lie.
        extra (dict): fields of a newer file that this version does not know; written back unchanged.
    """

    schema: ClassVar[str] = ""

    ids: Tensor
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[Flag, ...] = ()
    cost: Cost = Cost()
    sidecars: tuple[SideCar, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for spec in self.columns():
            values = getattr(self, spec.name)
            if values.shape != self.ids.shape or values.dtype != spec.dtype:
                raise StateError(
                    f"column {spec.name!r} is {tuple(values.shape)} {values.dtype}, expected "
                    f"{tuple(self.ids.shape)} {spec.dtype}: one entry an image"
                )

    @classmethod
    def columns(cls) -> tuple[ColumnSpec, ...]:
        """The declared columns (name, dtype, kind, enum, nullable)."""
        return column_specs(cls)

    @classmethod
    def from_table(cls: type[ResultT], table: Table, **facts: Any) -> ResultT:
        """Build the result of finished rows; `facts` are the other fields of the class."""
        return cls(**table.columns(cls.columns()), **facts)

    # ------------------------------------------------------------------ rows
    def __len__(self) -> int:
        return len(self.ids)

    def _take(self: ResultT, rows: Tensor) -> ResultT:
        names = ["ids", *(spec.name for spec in self.columns())]
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def find(self, ids: Tensor) -> Tensor:
        """Row numbers (M,) of `ids` (M,) int64; -1 where an id is not in this result."""
        if not len(self):
            return torch.full_like(ids, -1)
        order = self.ids.argsort()
        place = torch.searchsorted(self.ids[order], ids).clamp(max=len(self) - 1)
        rows = order[place]
        return torch.where(self.ids[rows] == ids, rows, -1)

    def select(self: ResultT, ids: Tensor | Sequence[str]) -> ResultT:
        """The rows of `ids` (int64 tensor or hex strings), in that order.

        Cost and flags stay those of the whole run. Raises InputError for an unknown id.
        """
        wanted = ids if isinstance(ids, Tensor) else from_hex(list(ids))
        rows = self.find(wanted)
        missing = wanted[rows < 0]
        if len(missing):
            raise InputError(
                f"{len(missing)} ids are not in this result (first: {to_hex(missing[:3])}); "
                "take them from result.ids"
            )
        return self._take(rows)

    def sort(self: ResultT) -> ResultT:
        """The rows in ascending order of id, an order that no shuffling changes."""
        return self._take(self.ids.argsort())

    @classmethod
    def concat(cls: type[ResultT], results: Iterable[ResultT]) -> ResultT:
        """Results of disjoint data with the same settings as one; costs and flag counts add up.

        Raises StatusError for another class, StateError for other settings or repeated ids, InputError
        for nothing at all.
        """
        parts = list(results)
        if not parts:
            raise InputError("concat needs at least one result, got none")
        first = parts[0]
        for part in parts:
            if type(part) is not type(first):
                raise StatusError(
                    f"cannot concat {type(part).__name__} to {type(first).__name__}"
                )
            if codec.canonical(part.settings) != codec.canonical(first.settings):
                keys = part.settings.keys() | first.settings.keys()
                odd = {
                    key: (first.settings.get(key), part.settings.get(key))
                    for key in sorted(keys)
                    if first.settings.get(key) != part.settings.get(key)
                }
                raise StateError(
                    f"results of different settings {odd} cannot be one; measure again"
                )
        names = ["ids", *(spec.name for spec in first.columns())]
        merged = {n: torch.cat([getattr(p, n) for p in parts]) for n in names}
        repeated = len(merged["ids"]) - len(merged["ids"].unique())
        if repeated:
            raise StateError(
                f"{repeated} ids occur twice (the same image in two parts?); "
                "pass ids= to measure so that every row has its own"
            )
        return replace(
            first,
            **merged,
            flags=merge_flags(part.flags for part in parts),
            cost=sum((part.cost for part in parts), Cost()),
            sidecars=tuple(car for part in parts for car in part.sidecars),
        )

    def with_flags(self: ResultT, flags: Iterable[Flag]) -> ResultT:
        """The same result with these flags added."""
        return replace(self, flags=merge_flags([self.flags, tuple(flags)]))

    def images(self) -> Tensor:
        """(N, ...) kept images in row order, in the pixel scale. Raises InputError if none were kept."""
        return lookup(self.sidecars, self.ids)

    # ------------------------------------------------------------------ identity
    def digest(self) -> str:
        """SHA-256 over ids, decision columns and settings; equal for any batch size, order or shard."""
        ordered = self.sort()
        parts = [self.schema.encode(), codec.canonical(self.settings)]
        parts.append(ordered.ids.numpy().astype("<i8").tobytes())
        for spec in sorted(self.columns(), key=lambda spec: spec.name):
            if spec.kind == "decision":
                values = getattr(ordered, spec.name).numpy().astype("<i8")
                parts += [spec.name.encode(), values.tobytes()]
        return codec.digest(parts)

    # ------------------------------------------------------------------ out and in
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
            "columns": {
                **self.extra.get("columns", {}),
                **{
                    spec.name: codec.encode(getattr(self, spec.name), spec)
                    for spec in self.columns()
                },
            },
        }

    @classmethod
    def from_dict(cls: type[ResultT], data: Mapping[str, Any]) -> ResultT:
        """The inverse of :meth:`to_dict`; older schemas are migrated, unknown fields are kept.

        Raises InputError for another schema, missing or damaged columns.
        """
        raw = codec.migrate(dict(data), cls.schema)
        columns = dict(raw.pop("columns", {}))
        lost = [s.name for s in cls.columns() if s.name not in columns]
        if lost or "ids" not in raw:
            raise InputError(f"fields {lost or ['ids']} are missing; is the file damaged?")
        values = {s.name: codec.decode(columns.pop(s.name), s) for s in cls.columns()}
        known = ("settings", "provenance", "flags", "cost", "sidecars", "ids")
        facts = {key: raw.pop(key) for key in known if key in raw}
        extra = {k: v for k, v in raw.items() if k not in ("schema", "digest")}
        return cls(
            ids=from_hex(facts["ids"]),
            settings=facts.get("settings", {}),
            provenance=facts.get("provenance", {}),
            flags=tuple(Flag(**flag) for flag in facts.get("flags", ())),
            cost=Cost(**facts.get("cost", {})),
            sidecars=tuple(SideCar(**car) for car in facts.get("sidecars", ())),
            extra=extra | ({"columns": columns} if columns else {}),
            **values,
        )

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """JSON text; with `path` also written there (UTF-8, replaced in one step)."""
        text = json.dumps(self.to_dict(), allow_nan=False, indent=1)
        if path is not None:
            codec.write_text(path, text)
        return text

    @classmethod
    def from_json(cls: type[ResultT], source: str | os.PathLike[str]) -> ResultT:
        """From JSON text or a file's path. Raises InputError if it is neither."""
        return cls.from_dict(codec.read_json(source))

    def to_records(self) -> list[dict[str, Any]]:
        """One dict a row: id and columns, in the form of :meth:`to_dict`."""
        table = {"id": to_hex(self.ids)}
        for spec in self.columns():
            table[spec.name] = codec.encode(getattr(self, spec.name), spec)
        return [dict(zip(table, row)) for row in zip(*table.values())]

    def to_frame(self) -> pandas.DataFrame:
        """A pandas DataFrame indexed by id. Raises MissingExtra without pandas."""
        try:
            import pandas
        except ImportError as error:
            raise MissingExtra(
                "to_frame needs pandas; pip install 'torchattacks_ext[frames]'"
            ) from error
        frame = pandas.DataFrame({"id": to_hex(self.ids)})
        for spec in self.columns():
            values = getattr(self, spec.name)
            coded = spec.nullable or spec.enum is not None
            frame[spec.name] = codec.encode(values, spec) if coded else values.numpy()
        return frame.set_index("id")

    # ------------------------------------------------------------------ words
    def summary(self, confidence: float = 0.95) -> dict[str, Any]:
        """The numbers of the whole data set. confidence: of each interval, in (0, 1)."""
        return {"n": len(self), "confidence": confidence}

    def __repr__(self) -> str:
        facts = {k: v for k, v in self.summary().items() if not isinstance(v, dict)}
        shown = ", ".join(
            f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
            for key, value in facts.items()
        )
        flags = f", flags={[flag.code for flag in self.flags]}" if self.flags else ""
        return f"{type(self).__name__}({shown}{flags})"

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th>{html.escape(str(key))}</th><td>{html.escape(str(value))}</td></tr>"
            for key, value in self.summary().items()
        )
        name = html.escape(type(self).__name__)
        return f"<table><caption>{name}</caption>{cells}</table>"
