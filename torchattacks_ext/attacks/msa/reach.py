"""How many rows does the rest of a budget reach? The whole plan for some, or a part for more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ...engines.autoattack.runs import NO_GRADIENT, TARGET, passes_of_run
from ...engines.judge.spec import AttackSpec
from ...engines.judge.watch import Prices
from ...engines.own.engine import WRITTEN, passes_of_own
from ...models.meter import Budget
from .settings import MSASettings

EOT_DRAWS = 20
"""Draws of one gradient in version "rand", as in AutoAttack's version of that name."""
LOOK = 2.0
"""Row-passes of the clean image: it is asked, and once more where the answer is close."""


@dataclass(frozen=True)
class Price:
    """Forward row-passes of one row that withstands everything, at most.

    steps: of the whole plan and what comes after it; then of ever smaller parts of it that are
    worth a try where the whole does not fit. after: of what comes after the plan.

    >>> from torchattacks_ext.models.meter import Meter
    >>> Price((100.0, 40.0, 10.0)).rows(Budget(Meter(), max_queries=250), 8)
    2
    """

    steps: tuple[float, ...]
    after: int = 0

    def rows(self, budget: Budget, most: int, base: int = 0) -> int:
        """How many of `most` rows are to be begun at once, after `base` row-passes for all.

        As many as can be finished; where that is none, as many as can be tried by what is cheaper;
        0 where there is no room for any of it.
        """
        for each in self.steps:
            left = budget.left - base
            if left >= most * each:
                return most
            if left >= each:
                return int(left // each)
        return 0


def price_of(
    settings: MSASettings, surrogates: Iterable[str], n_classes: int, after: int
) -> Price:
    """The price of a plan with these surrogates (names); after: row-passes for what follows it.

    Where something follows, a part of the plan is of no use.

    >>> price_of(MSASettings(eps=0.1, norm="Linf", version="quick"), [], 10, 0).steps
    (599.0, 90.0, 32.0, 2.0)
    """
    names, draws = list(surrogates), EOT_DRAWS if settings.version == "rand" else 1
    lines = []
    for line in settings.lines:
        if not line.gate:  # for rows of which gradients say nothing, as a rule none
            continue
        if settings.engine == "own" and line.kind in WRITTEN:
            lines.append(_own(line, names, n_classes, draws))
        else:
            lines.append(_line(line, names, settings.probe_every, n_classes, draws))
    whole = LOOK + after + sum(lines)
    if after or not lines:
        return Price((whole,), after)
    return Price((whole, whole - max(lines), LOOK + lines[0], LOOK))


def prices_of(
    settings: MSASettings,
    lines: Iterable[AttackSpec],
    surrogates: Iterable[str],
    n_classes: int,
) -> Prices:
    """Row-passes of one row, forward and backward, of each line on each of its models; about."""
    names, found = list(surrogates), {}
    for line in lines:
        for name in _on(line, names):
            alone, probe = [name] * (name != TARGET), settings.probe_every
            single = replace(line, on=name)
            if settings.engine == "own" and line.kind in WRITTEN:
                each = _own(single, alone, n_classes, 1)
            else:
                each = _line(single, alone, probe, n_classes, 1)
            found[name, line] = each * (1 if line.kind in NO_GRADIENT else 2)
    return found


def _line(
    line: AttackSpec, names: list[str], probe_every: int, n_classes: int, draws: int
) -> float:
    """All runs of one line on all its models."""
    runs = {
        "apgd": line.restarts,
        "warm": line.restarts,
        "apgd-t": min(line.targets, n_classes - 1),
        "fab-t": min(line.targets, n_classes - 1),
    }.get(line.kind, 1)
    every = [0 if name == TARGET else probe_every for name in _on(line, names)]
    return runs * sum(passes_of_run(line, one, draws) for one in every)


def _own(line: AttackSpec, names: list[str], n_classes: int, draws: int) -> float:
    """The same of a line that the own engine runs by its own stages."""
    each = [passes_of_own(line, n_classes, n != TARGET) for n in _on(line, names)]
    return draws * sum(each)


def _on(line: AttackSpec, names: list[str]) -> list[str]:
    """The models of a line."""
    every = [*names, TARGET]
    on = {"each": every, "best": every, "surrogates": names}
    return on.get(line.on, [line.on])
