"""Which stages does the worst case of an evaluation rest on, and which speak of another ball?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..attack import AttackResult
from ..base.result import Result
from ..prob_robustness import ProbRobustness


def leaves_the_ball(result: Result | None, plan: Mapping[str, Any]) -> bool:
    """Whether these are draws of a law that may leave the plan's ball, or has another norm.

    False where plan or law say nothing of a radius, and for anything but a random test.

    >>> leaves_the_ball(None, {"eps": 0.1, "norm": "Linf"})
    False
    """
    if not isinstance(result, ProbRobustness):
        return False
    law = result.settings.get("sampler") or {}
    eps, norm = plan.get("eps"), plan.get("norm")
    if eps is None or "eps" not in law:
        return False
    return law["eps"] is None or law["norm"] != norm or law["eps"] > eps


def worst_stages(
    results: Mapping[str, Result | None], plan: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """Names of the stages that count, and of random tests that leave the ball; in their order.

    Clean answers, scores and stages without a result are in neither.
    """
    kinds = (AttackResult, ProbRobustness)
    found = {name: r for name, r in results.items() if isinstance(r, kinds)}
    outside = [name for name, r in found.items() if leaves_the_ball(r, plan)]
    return [name for name in found if name not in outside], outside
