"""How does robust accuracy fall with the radius? One critical radius a row, from one sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...errors import InputError
from ..base import codec
from ..base.document import Document
from ..base.facts import Cost
from ..base.unknown import known_fields


@dataclass(frozen=True, eq=False)
class Curve(Document):
    """Robust accuracy at each of R ascending radii, never rising.

    radii: R floats. breaks (N,) int64: number of the smallest radius at which the row was broken,
    R for none. clean_correct (N,) bool. cost: row-passes of the sweep. An attack proves nothing:
    accuracies are upper bounds.

    >>> right = torch.tensor([True, True, False])
    >>> curve = Curve((0.1, 0.2), torch.tensor([0, 1, 2]), right, Cost())
    >>> curve.robust_accuracy, round(curve.clean_accuracy, 2)
    ([0.3333333333333333, 0.0], 0.67)
    >>> Curve.from_json(curve.to_json()).to_dict() == curve.to_dict()
    True
    """

    schema: ClassVar[str] = "curve/1"

    radii: tuple[float, ...]
    breaks: Tensor
    clean_correct: Tensor
    cost: Cost

    @property
    def robust(self) -> Tensor:
        """(R, N) bool: right when clean, and not broken at this radius or a smaller one."""
        number = torch.arange(len(self.radii))[:, None]
        return self.clean_correct & (self.breaks > number)

    @property
    def robust_accuracy(self) -> list[float]:
        """One share a radius; nan of no rows."""
        return [float(row.double().mean()) for row in self.robust]

    @property
    def clean_accuracy(self) -> float:
        """Share of right answers without any change."""
        return float(self.clean_correct.double().mean())

    @classmethod
    def joined(cls, parts: Sequence[Curve]) -> Curve:
        """The rows of several sweeps over the same radii, in their order; at least one."""
        if not parts:
            raise InputError("there are no images; give at least one")
        cost = Cost(
            sum(part.cost.forward for part in parts),
            sum(part.cost.backward for part in parts),
            sum(part.cost.seconds for part in parts),
        )
        breaks = torch.cat([part.breaks for part in parts])
        right = torch.cat([part.clean_correct for part in parts])
        return cls(parts[0].radii, breaks, right, cost)

    def to_dict(self) -> dict[str, Any]:
        """In JSON types."""
        return {
            "schema": self.schema,
            "radii": list(self.radii),
            "robust_accuracy": self.robust_accuracy,
            "clean_accuracy": self.clean_accuracy,
            "breaks": self.breaks.tolist(),
            "clean_correct": self.clean_correct.tolist(),
            "cost": vars(self.cost),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Curve:
        """The inverse of :meth:`to_dict`. Raises InputError for what is not whole."""
        raw = codec.migrate(dict(data), cls.schema)
        try:
            return cls(
                tuple(raw["radii"]),
                torch.tensor(raw["breaks"], dtype=torch.int64),
                torch.tensor(raw["clean_correct"], dtype=torch.bool),
                known_fields(Cost, raw["cost"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"not a whole {cls.schema}: {error!r}; is the file damaged?"
            ) from error
