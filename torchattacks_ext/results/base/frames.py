"""How does a result look as a table of rows? Plain dicts, or a pandas DataFrame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import MissingExtra
from ...numerics.ids import to_hex
from . import codec

if TYPE_CHECKING:
    import pandas

    from .result import Result


def to_records(result: Result) -> list[dict[str, Any]]:
    """One dict a row: id, group (if any) and columns, coded as in JSON."""
    table: dict[str, Any] = {"id": to_hex(result.ids)}
    if result.groups is not None:
        table["group"] = result.groups
    for spec in result.columns():
        table[spec.name] = codec.encode(getattr(result, spec.name), spec)
    return [dict(zip(table, row)) for row in zip(*table.values())]


def to_frame(result: Result) -> pandas.DataFrame:
    """A DataFrame indexed by id, names in place of codes. Raises MissingExtra without pandas."""
    try:
        import pandas
    except ImportError as error:
        raise MissingExtra(
            "to_frame needs pandas; pip install 'torchattacks_ext[frames]'"
        ) from error
    frame = pandas.DataFrame({"id": to_hex(result.ids)})
    if result.groups is not None:
        frame["group"] = list(result.groups)
    for spec in result.columns():
        values = getattr(result, spec.name)
        coded = spec.nullable or spec.enum is not None
        # a copy: writing into the frame must not reach the frozen columns
        frame[spec.name] = (
            codec.encode(values, spec) if coded else values.numpy().copy()
        )
    return frame.set_index("id")
