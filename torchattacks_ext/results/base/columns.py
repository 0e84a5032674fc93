"""What does one column of a result hold, and may it change a decision? Columns, rows, table.

Columns are of three kinds. *decision*: verdicts, statuses, integer counts; equal for every batch
size, order and shard, and part of the digest. *measurement*: margins, bounds, p-values; equal
within float noise. *provenance*: cost, which draw was worst; free to differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from typing import Any, Literal

import torch
from torch import Tensor

from ..._typing import Status
from ...errors import ModelContractError, StateError

Kind = Literal["decision", "measurement", "provenance"]


@dataclass(frozen=True)
class ColumnSpec:
    """The declaration of one per-sample column (see :func:`column`)."""

    name: str
    dtype: torch.dtype
    kind: Kind
    enum: type[IntEnum] | None = None
    nullable: bool = False
    missing: float | None = None


def column(
    dtype: torch.dtype,
    kind: Kind,
    *,
    enum: type[IntEnum] | None = None,
    nullable: bool = False,
    missing: float | None = None,
) -> Any:
    """Declare a per-sample column of a :class:`~torchattacks_ext.results.Result` dataclass.

    dtype: of the (N,) tensor. enum: codes are written as names in JSON. nullable: -1 of an integer
    column means "not known" and is written as null. missing: what every row has where the column
    is not given, as in files that are older than the column; None for a column that must be there.
    """
    meta = {"column": (dtype, kind, enum, nullable, missing)}
    if missing is None:
        return field(metadata=meta)
    return field(default=None, metadata=meta)


_SPECS: dict[type[Any], tuple[ColumnSpec, ...]] = {}


def column_specs(cls: type[Any]) -> tuple[ColumnSpec, ...]:
    """The declared columns of a result class, in the order of declaration."""
    if cls not in _SPECS:
        _SPECS[cls] = tuple(
            ColumnSpec(f.name, *f.metadata["column"])
            for f in fields(cls)
            if "column" in f.metadata
        )
    return _SPECS[cls]


def present(result: Any) -> list[ColumnSpec]:
    """Columns that hold more than what a missing one would, so that old files stay as they are.

    A column that a later version added changes neither the digest nor the JSON of a result that
    has no use for it.
    """
    return [
        spec
        for spec in column_specs(type(result))
        if spec.missing is None
        or bool((getattr(result, spec.name) != spec.missing).any())
    ]


@dataclass(frozen=True, eq=False)
class Rows:
    """Finished rows on their way into a table.

    index: (n,) int64, positions in the input. columns: name -> (n,) tensor, `ids` among them.
    images: (n, ...) tensor for the side-car, or None. failure: what the model raised on them, where
    they are FAILED.
    """

    index: Tensor
    columns: Mapping[str, Tensor]
    images: Tensor | None = None
    failure: ModelContractError | None = None

    def __len__(self) -> int:
        return len(self.index)

    def failed(self, failure: ModelContractError) -> Rows:
        """The same rows, on which the model raised: of status FAILED, else as they are.

        >>> rows = Rows(torch.tensor([0]), {"status": torch.tensor([2])})
        >>> rows.failed(ModelContractError("no")).columns["status"].tolist()
        [3]
        """
        return replace(self._all(Status.FAILED), failure=failure)

    def unreached(self) -> Rows:
        """The same rows, before which the run ended: of status NOT_REACHED."""
        return self._all(Status.NOT_REACHED)

    def _all(self, status: Status) -> Rows:
        codes = torch.full_like(self.columns["status"], int(status))
        return replace(self, columns={**self.columns, "status": codes})


class Table:
    """Collects :class:`Rows` in completion order and gives the columns back in input order."""

    def __init__(self, rows: Iterable[Rows] = ()) -> None:
        self._rows: list[Rows] = []
        for part in rows:
            self.append(part)

    def __len__(self) -> int:
        return sum(len(part) for part in self._rows)

    def append(self, rows: Rows) -> None:
        """Add finished rows. Raises StateError for other columns than before or another length."""
        if self._rows and set(rows.columns) != set(self._rows[0].columns):
            odd = sorted(set(rows.columns) ^ set(self._rows[0].columns))
            raise StateError(
                f"rows disagree about the columns {odd}; expected the same in all"
            )
        odd = sorted(n for n, v in rows.columns.items() if v.shape != rows.index.shape)
        if odd:
            raise StateError(
                f"columns {odd} are not ({len(rows)},), one entry for each of the rows' positions"
            )
        self._rows.append(rows)

    def columns(self, specs: Iterable[ColumnSpec]) -> dict[str, Tensor]:
        """ids and every declared column as CPU tensors of shape (N,), in input order."""
        empty = torch.zeros(0, dtype=torch.int64)
        order = torch.cat(
            [part.index.cpu() for part in self._rows] or [empty]
        ).argsort()
        wanted = {"ids": torch.int64} | {spec.name: spec.dtype for spec in specs}
        return {
            name: torch.cat(
                [part.columns[name].detach().cpu() for part in self._rows]
                or [torch.zeros(0, dtype=dtype)]
            )[order].to(dtype)
            for name, dtype in wanted.items()
        }
