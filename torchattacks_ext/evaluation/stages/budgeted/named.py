"""Which attacks does a budget name, and which does it take where it names none?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....errors import ConfigError
from ...plan import Plan
from ...zoo.catalogue import attack_info
from ..attack import AttackStage
from ..base import RowStage
from ..msa.stage import AutoAttackStage, MSAStage

_MIXED: dict[str, type[RowStage]] = {"msa": MSAStage, "autoattack": AutoAttackStage}


def usual(plan: Plan) -> list[dict[str, Any]]:
    """The cheap attacks where none is named."""
    name = "PGDL2" if plan.norm == "L2" else "PGD"
    pgd = {"name": name, "steps": 20, "alpha": plan.eps / 4 or 1e-3}
    fast = {"name": "msa", "version": "fast", "engine": "own"}
    return [pgd, fast] if plan.norm == "Linf" else [pgd]


def inner(label: str, given: Any, plan: Plan) -> RowStage:
    """The stage of an attack that is named, or given as a dict with its arguments."""
    spec = {"name": given} if isinstance(given, str) else given
    if not isinstance(spec, Mapping) or not isinstance(spec.get("name"), str):
        raise ConfigError(
            f"budgeted: attack={given!r} is neither the name of an attack nor a dict with one, say "
            '{"name": "msa", "engine": "own"}'
        )
    arguments = {key: value for key, value in spec.items() if key != "name"}
    kind = _MIXED.get(spec["name"].lower())
    if kind is not None:
        return kind(label, plan, arguments)
    info = attack_info(spec["name"])
    return AttackStage(label, plan, {"attack": info.name} | arguments)


def facts(stage: RowStage) -> dict[str, Any]:
    """An attack as it stands in the settings of the result."""
    settings = dict(stage.settings)
    name = settings.pop("attack", None) or getattr(stage, "name", stage.kind)
    return {"name": name, **settings}
