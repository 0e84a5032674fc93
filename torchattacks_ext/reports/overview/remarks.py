"""What stands below a line of the scorecard? The share of each group; what a worst case lacks."""

from __future__ import annotations

from ..._typing import Status
from ...results.accuracy import Accuracy
from ...results.attack import AttackResult
from ...results.base.result import Result
from ..words import listing, one_line, share


def group_shares(result: Result) -> tuple[str, ...]:
    """The share of each group, the lowest first; () without groups, or where another table tells.

    Rows that failed are in no share, as in that of the whole.
    """
    if not isinstance(result, (Accuracy, AttackResult)):
        return ()
    found = []
    for name, part in result.by_group().items():
        ok = part.status != int(Status.FAILED)
        held = (
            part.robust if isinstance(part, AttackResult) else part.clean_correct == 1
        )
        found.append((name, int((held & ok).sum()), int(ok.sum())))
    found.sort(key=lambda one: one[1] / one[2] if one[2] else 0.0)
    told = [
        f"{one_line(name, 40) or '(no name)'} {share(k, n)}" for name, k, n in found
    ]
    return (f"groups: {listing(told, 12)}",) if told else ()


def outside_note(names: list[str]) -> tuple[str, ...]:
    """Random tests that are not in the worst case."""
    shown = listing([one_line(name, 40) for name in names]) if names else ""
    text = f"not in it: {shown}, whose draws leave the ball of the plan"
    return (text,) * bool(names)
