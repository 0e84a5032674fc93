"""Did an attack do what a certificate says cannot be done? Then one of the two is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from .._typing import NORMS, Verdict
from ..results.attack import AttackResult
from ..results.base.facts import Flag
from ..results.certificates import TIERS, Certificates
from ..results.evaluation import StageReport

CODE, CONFIDENT = "broken_certificate", TIERS[1]
FLOAT32 = 1 + 1e-5
"""Sizes of changes may have been measured in float32."""


def contradictions(stages: Iterable[StageReport]) -> Iterator[Flag]:
    """A doubt for each pair of stages of which one breaks what the other certifies.

    Compared are the sizes of the judged changes with the radii, converted to the norm of the
    attack. Of radii that rest on an assumed Lipschitz constant this refutes the assumption. Radii
    of a smoothed classifier are left out: attacks of a run are on the model under it.

    >>> list(contradictions([]))
    []
    """
    known = [stage for stage in stages if stage.result is not None]
    for mine in known:
        for other in known:
            table, attack = mine.result, other.result
            if not isinstance(table, Certificates) or table.norm != "L2":
                continue
            if table.tier == CONFIDENT:
                continue
            if not isinstance(attack, AttackResult):
                continue
            n = _broken(table, attack)
            if n:
                text = (
                    f"{other.name} changed {n} answers within the radius that {mine.name} gives "
                    f"({table.tier}): do not rely on these radii"
                )
                yield Flag(CODE, text, n, {"stage": f"{mine.name}, {other.name}"})


def _broken(table: Certificates, attack: AttackResult) -> int:
    norm = attack.settings.get("norm")
    rows = table.find(attack.ids)
    if norm not in NORMS or (norm == "Linf" and not table.settings.get("n_inputs")):
        return 0
    radius = table.converted(norm).radius[rows]
    right = (table.clean_correct[rows] == 1) & (rows >= 0)
    broken = right & (attack.verdict == int(Verdict.NOT_ROBUST))
    size = torch.nan_to_num(attack.norm, nan=torch.inf) * FLOAT32
    return int((broken & (size < radius)).sum())


def largest(flags: Iterable[Flag]) -> tuple[Flag, ...]:
    """One flag a code, that of the largest count: stages see the same rows, so no sums.

    Those that are about one stage stand for themselves.
    """
    found: dict[tuple[str, Any], Flag] = {}
    for flag in flags:
        key = flag.code, flag.details.get("stage")
        old = found.get(key)
        if old is None or (flag.count or 0) > (old.count or 0):
            found[key] = flag
    return tuple(found.values())
