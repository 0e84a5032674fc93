"""How does a result look as a table of rows? Plain dicts, or a pandas DataFrame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ...errors import MissingExtra
from ...numerics.ids import to_hex
from . import codec
from .columns import ColumnSpec
from .groups import Groups

if TYPE_CHECKING:
    import pandas

Columns = Sequence[tuple[ColumnSpec, Tensor]]
"""Each column beside what it was declared as."""


def to_records(
    ids: Tensor, groups: Groups | None, columns: Columns
) -> list[dict[str, Any]]:
    """One dict a row: id, group (if any) and columns, coded as in JSON."""
    table: dict[str, Any] = {"id": to_hex(ids)}
    if groups is not None:
        table["group"] = groups
    for spec, values in columns:
        table[spec.name] = codec.encode(values, spec)
    return [dict(zip(table, row)) for row in zip(*table.values())]


def to_frame(ids: Tensor, groups: Groups | None, columns: Columns) -> pandas.DataFrame:
    """A DataFrame indexed by id, names in place of codes. Raises MissingExtra without pandas."""
    try:
        import pandas
    except ImportError as error:
        raise MissingExtra(
            "to_frame needs pandas; pip install 'torchattacks_ext[frames]'"
        ) from error
    frame = pandas.DataFrame({"id": to_hex(ids)})
    if groups is not None:
        frame["group"] = list(groups)
    for spec, values in columns:
        coded = spec.nullable or spec.enum is not None
        # a copy: writing into the frame must not reach the frozen columns
        frame[spec.name] = (
            codec.encode(values, spec) if coded else values.numpy().copy()
        )
    return frame.set_index("id")
