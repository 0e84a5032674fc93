"""What does one run of MSA need to know? Settings, models and limits, frozen for the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..._typing import LogitsFn
from ...models.meter import Budget, Meter
from .settings import MSASettings


@dataclass(frozen=True, eq=False)
class Scene:
    """One target among its surrogates, inside a session of the target.

    ask: pixels (N, ...) to the target's logits (N, K). model: the target as its owner gave it.
    surrogates: by name, as they were given. meter: counts the row-passes of all of them. scale:
    pixels to what the target is given, None where it takes pixels. budget: of the measurement.
    """

    settings: MSASettings
    ask: LogitsFn
    model: Any
    surrogates: Mapping[str, nn.Module]
    meter: Meter
    scale: LogitsFn | None = None
    budget: Budget | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """Everything in the plan that may break a row, "model/attack"."""
        return self.settings.sources(self.surrogates)

    def has_room(self, n: int, more: int = 0) -> bool:
        """Whether the budget has room for a look at n rows and for `more` row-passes."""
        return self.budget is None or self.budget.allows(2 * n + 1 + more)
