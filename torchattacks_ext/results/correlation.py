"""Which score goes with the outcome, on which models or images, and how sure is that? A table."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..errors import InputError
from ..numerics.correlation.columns import (
    COEFFICIENTS,
    Association,
    Coefficient,
    correlate,
)
from .base import codec
from .base.document import Document
from .base.facts import Flag
from .base.unknown import known_fields
from .base.words import fixed, short

ALL = "all"
"""The subset of every row; it always stands first."""
_FLOATS = ("value", "low", "high", "confidence")


@dataclass(frozen=True, kw_only=True)
class CorrelationRow(Association):
    """One coefficient of one predictor with the outcome, on one subset of the rows.

    Arguments:
        predictor, subset (str): their names.

    The other fields are those of
    :class:`~torchattacks_ext.numerics.correlation.columns.Association`.
    """

    predictor: str
    subset: str

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CorrelationRow:
        """The inverse of ``to_dict`` after JSON. Raises InputError for a damaged row."""
        row = known_fields(cls, data)
        try:
            numbers: dict[str, Any] = {k: float(getattr(row, k)) for k in _FLOATS}
            return replace(row, **numbers)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{data!r} holds no numbers; is the file damaged?"
            ) from error


@dataclass(frozen=True, repr=False)
class Correlation(Document):
    """Coefficients of several predictors with one outcome, subsets side by side.

    Arguments:
        rows (tuple): a :class:`CorrelationRow` for each predictor, subset and coefficient.
        outcome (str): what is predicted. (Default: "outcome")
        seed (int): of the resamples. (Default: 0)
        extra (dict): fields of a newer file that this version does not know; written back.

    >>> x = torch.tensor([1.0, 2.0, 3.0, 4.0])
    >>> table = correlate_columns({"lam": x, "p_max": -x}, x.square())
    >>> table
    Correlation(2 predictors, 1 subset, n=4, spearman lam=1, p_max=-1)
    >>> table.find("p_max", coefficient="kendall").value
    -1.0
    """

    schema: ClassVar[str] = "correlation/1"

    rows: tuple[CorrelationRow, ...]
    outcome: str = "outcome"
    seed: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def predictors(self) -> tuple[str, ...]:
        """Names of the predictors, in their order."""
        return tuple(dict.fromkeys(row.predictor for row in self.rows))

    @property
    def subsets(self) -> tuple[str, ...]:
        """Names of the subsets, in their order."""
        return tuple(dict.fromkeys(row.subset for row in self.rows))

    @property
    def coefficients(self) -> tuple[str, ...]:
        """Names of the coefficients, in their order."""
        return tuple(dict.fromkeys(row.coefficient for row in self.rows))

    def find(
        self, predictor: str, subset: str = ALL, coefficient: Coefficient = "spearman"
    ) -> CorrelationRow:
        """The one row of these names. Raises InputError where there is none."""
        wanted = (predictor, subset, coefficient)
        for row in self.rows:
            if (row.predictor, row.subset, row.coefficient) == wanted:
                return row
        raise InputError(
            f"no row {wanted}; there are predictors {self.predictors}, subsets {self.subsets} and "
            f"coefficients {self.coefficients}"
        )

    @property
    def flags(self) -> tuple[Flag, ...]:
        """Doubts about intervals: how many of the rows have a rare outcome."""
        doubted = [row for row in self.rows if row.doubt]
        text = "; ".join(dict.fromkeys(row.doubt for row in doubted))
        return (Flag("rare_outcome", text, len(doubted)),) if doubted else ()

    def to_records(self) -> list[dict[str, Any]]:
        """One dict a row, in JSON types."""
        return [_named(row) for row in self.rows]

    def to_dict(self) -> dict[str, Any]:
        """Everything, in JSON types: nan as the string "nan"."""
        return {
            **codec.plain(self.extra),
            "schema": self.schema,
            "outcome": self.outcome,
            "seed": self.seed,
            "rows": self.to_records(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Correlation:
        """The inverse of :meth:`to_dict`; unknown fields of the table are kept.

        Raises InputError for another schema or damaged rows.
        """
        raw = codec.migrate(dict(data), cls.schema)
        rows = raw.pop("rows", None)
        if not isinstance(rows, (list, tuple)):
            raise InputError("field 'rows' is missing; is the file damaged?")
        known = {key: raw.pop(key) for key in ("outcome", "seed") if key in raw}
        extra = {key: value for key, value in raw.items() if key != "schema"}
        return cls(tuple(map(CorrelationRow.from_dict, rows)), **known, extra=extra)

    def __repr__(self) -> str:
        first = [r for r in self.rows if r.subset == self.subsets[0]]
        first = [r for r in first if r.coefficient == self.coefficients[0]]
        found = ", ".join(
            f"{_line(r.predictor)}={short(r.value, 3)}" for r in first[:6]
        )
        facts = [
            _things(len(self.predictors), "predictor"),
            _things(len(self.subsets), "subset"),
            *(f"n={r.n + r.n_dropped}" for r in first[:1]),
            *([f"{first[0].coefficient} {found}"] if first else []),
            *(["..."] if len(first) > 6 else []),
            *([f"flags={[flag.code for flag in self.flags]}"] if self.flags else []),
        ]
        return f"Correlation({', '.join(facts)})"

    def _repr_html_(self) -> str:
        """A line for each predictor and coefficient, a column for each subset; escaped."""
        keyed = {(r.predictor, r.coefficient, r.subset): r for r in self.rows}
        heads = ["predictor", "coefficient", *self.subsets]
        lines = [_tags("th", heads)]
        for predictor in self.predictors:
            for coefficient in self.coefficients:
                named = [(predictor, coefficient, subset) for subset in self.subsets]
                cells = [_cell(keyed.get(key)) for key in named]
                if any(cells):
                    lines.append(
                        _tags("th", [predictor, coefficient]) + _tags("td", cells)
                    )
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        caption = html.escape(f"Correlation with {_line(self.outcome)}")
        return f"<table><caption>{caption}</caption>{body}</table>"


def correlate_columns(
    predictors: Mapping[str, Tensor],
    outcome: Tensor,
    subsets: Mapping[str, Tensor] | None = None,
    confidence: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
    *,
    coefficients: tuple[Coefficient, ...] = COEFFICIENTS,
    outcome_name: str = "outcome",
) -> Correlation:
    """Correlate every predictor with the outcome, on all rows and on each subset.

    Signs are the caller's: nothing is turned here. If every predictor is written as "higher is less
    robust" (lambda as it is, p_max and a margin with a minus) and the outcome as "higher is more
    robust" (a radius, robust accuracy), then a good predictor is near -1. All predictors of a
    subset without nan see the same resamples. Rows must be independent: images of one model, or
    models, not both in one column.

    Args:
        predictors: name -> (N,) real numbers; nan where there is none.
        outcome: (N,) real numbers or truth values; nan where there is none.
        subsets: name -> (N,) bool; ``"all"`` is added in front.
        confidence: of each interval alone, in (0, 1).
        n_resamples: at least ``2 / (1 - confidence)``.
        seed: any integer.
        coefficients: which of spearman, kendall, pearson, in their order.
        outcome_name: for the table's title.

    Returns:
        A :class:`Correlation`: predictors x subsets x coefficients, rows in that order.

    Raises:
        InputError: columns or masks of another shape or dtype, or no predictor.
        ConfigError: a setting outside its domain.

    Example:
        >>> lam = torch.tensor([4.0, 3.0, 2.0, 1.0, 0.5, 0.1])
        >>> radius = torch.tensor([0.1, 0.2, 0.3, 0.5, 0.4, 0.9])
        >>> defended = torch.tensor([False, False, False, True, True, True])
        >>> table = correlate_columns({"lam": lam}, radius, {"defended": defended})
        >>> [round(table.find("lam", name).value, 3) for name in table.subsets]
        [-0.943, -0.5]
    """
    masks = _masks(outcome, subsets or {})
    if not predictors:
        raise InputError("predictors is empty; give at least one named column")
    for name, values in predictors.items():
        if values.shape != outcome.shape:
            raise InputError(
                f"predictor {name!r} is {tuple(values.shape)}, expected {tuple(outcome.shape)} "
                "like the outcome: one entry a row"
            )
    rows = []
    for name, values in predictors.items():
        for subset, mask in masks.items():
            x, y = values.detach().cpu()[mask], outcome.detach().cpu()[mask]
            for coefficient in coefficients:
                found = correlate(
                    x,
                    y,
                    coefficient,
                    confidence=confidence,
                    n_resamples=n_resamples,
                    seed=seed,
                )
                rows.append(
                    CorrelationRow(predictor=name, subset=subset, **found.to_dict())
                )
    return Correlation(tuple(rows), outcome_name, seed)


def _masks(outcome: Tensor, subsets: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if outcome.dim() != 1:
        raise InputError(
            f"outcome is {tuple(outcome.shape)}, expected (N,): one entry a row"
        )
    every = torch.ones(len(outcome), dtype=torch.bool)
    for name, mask in subsets.items():
        if mask.dtype != torch.bool or mask.shape != outcome.shape:
            raise InputError(
                f"subset {name!r} is {tuple(mask.shape)} {mask.dtype}, expected "
                f"{tuple(outcome.shape)} torch.bool: True for the rows that belong to it"
            )
    return {ALL: every} | {name: mask.cpu() for name, mask in subsets.items()}


def _named(row: CorrelationRow) -> dict[str, Any]:
    """Names first, then numbers."""
    facts: dict[str, Any] = codec.plain(row.to_dict())
    names = ("predictor", "subset", "coefficient")
    return {name: facts[name] for name in names} | facts


def _tags(tag: str, cells: list[str]) -> str:
    return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)


def _cell(row: CorrelationRow | None) -> str:
    if row is None:
        return ""
    if row.reason:
        return f"n/a ({_line(row.reason)})"
    value, low, high = (fixed(one) for one in (row.value, row.low, row.high))
    doubt = f" ({_line(row.doubt)})" if row.doubt else ""
    return f"{value} [{low}, {high}], n = {row.n}{doubt}"


def _line(text: str) -> str:
    return " ".join(str(text).split())


def _things(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
