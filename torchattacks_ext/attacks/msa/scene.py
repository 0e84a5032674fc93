"""What does one run of MSA need to know? Settings, models and limits, frozen for the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from ..._typing import LogitsFn
from ...models.checks import ModelTraits
from ...models.meter import Budget, Meter
from .reach import Price
from .settings import MSASettings


@dataclass(frozen=True, eq=False)
class Scene:
    """One target among its surrogates, inside a session of the target.

    ask: pixels (N, ...) to the target's logits (N, K). model: the target as its owner gave it.
    surrogates: by name, as they were given. meter: counts the row-passes of all of them. scale:
    pixels to what the target is given, None where it takes pixels. budget: of the measurement.
    bar: of tqdm, on which it is said what is at work. n_classes: K, None where it is to be asked.
    """

    settings: MSASettings
    ask: LogitsFn
    model: Any
    surrogates: Mapping[str, nn.Module]
    meter: Meter
    scale: LogitsFn | None = None
    budget: Budget | None = None
    bar: Any = None
    n_classes: int | None = None

    def knowing(self, traits: ModelTraits | None) -> Scene:
        """The same of a target with fixed answers that has shown these traits."""
        if traits is None or traits.draws:  # each call moves what it draws next
            return self
        return replace(self, n_classes=traits.n_classes)

    @property
    def sources(self) -> tuple[str, ...]:
        """Everything in the plan that may break a row, "model/attack"."""
        return self.settings.sources(self.surrogates)

    def has_room(self, n: int, more: int = 0) -> bool:
        """Whether the budget has room for a look at n rows and for `more` row-passes.

        Where it has none, fewer rows may still fit.
        """
        return self.budget is None or self.budget.fits(2 * n + 1 + more)

    def reach(self, n: int, price: Price) -> int:
        """How many of n rows are begun at once; all where what is found depends on the others."""
        if self.budget is None:
            return n
        if self.settings.unit_is_batch:
            return n * self.has_room(n, n * price.after)
        models = len(self.surrogates) + 1
        looks = 40 * models if self.settings.version == "rand" else 0
        found = price.rows(self.budget, n, 1 + looks)
        if not found:
            self.budget.spent = True
        return found
