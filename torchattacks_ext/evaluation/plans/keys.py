"""What do the short keys of a plan stand for? `threat_model` for a ball, `budget` for a stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import ConfigError
from ...numerics.arguments import parse_number
from .threats import threat_model

BUDGETED = "budgeted"
"""The stage that the key `budget` is short for."""


def whole_plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a plan without its short ones. Raises ConfigError where they contradict others.

    >>> whole_plan({"threat_model": "mnist-linf-0.3"})["eps"]
    '0.3'
    """
    return _with_ball(_with_budget(dict(plan)))


def _with_ball(plan: dict[str, Any]) -> dict[str, Any]:
    """The radius and norm of the threat model, where it is named."""
    name = plan.get("threat_model")
    if name is None:
        return plan
    threat = threat_model(name)
    for key, wanted in (("eps", threat.eps), ("norm", threat.norm)):
        given = plan.get(key, wanted)
        if not _same(key, given, wanted):
            raise ConfigError(
                f"threat_model={threat.name!r} has {key} {wanted}, but {key}={given!r} is given as "
                "well; leave one of them out"
            )
    ball = {"eps": plan.get("eps", threat.eps), "norm": threat.norm}
    return plan | {"threat_model": threat.name, **ball}


def _same(key: str, given: Any, wanted: str) -> bool:
    if key != "eps":
        return bool(given == wanted)
    try:
        return parse_number(given, key) == parse_number(wanted, key)
    except ConfigError:
        return True  # its own check has better words


def _with_budget(plan: dict[str, Any]) -> dict[str, Any]:
    """The stage that `budget` asks for, behind the others."""
    if "budget" not in plan:
        return plan
    budget, stages = plan.pop("budget"), plan.get("stages", [])
    if budget is None:
        return plan
    if not isinstance(budget, Mapping) or "name" in budget:
        raise ConfigError(
            f"budget={budget!r} must hold the arguments of one stage, say "
            '{"attack": "msa", "half_width": 0.01, "confidence": 0.95}'
        )
    if not isinstance(stages, (list, tuple)):
        return plan  # its own check has words for it
    return plan | {"stages": [*stages, {"name": BUDGETED, **budget}]}
