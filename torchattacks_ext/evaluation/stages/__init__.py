"""Stages: one a file; a new one is a file and a line here."""

from __future__ import annotations

import difflib

from ...errors import ConfigError
from ..plan import Plan, StageSpec
from ..zoo import attack_info, attack_names
from .attack import AttackStage as AttackStage
from .base import RowStage as RowStage
from .base import Shared as Shared
from .base import StageRows as StageRows
from .clean import CleanStage as CleanStage
from .prtest import PRTestStage as PRTestStage

STAGES: dict[str, type[RowStage]] = {
    stage.kind: stage for stage in (CleanStage, PRTestStage, AttackStage)
}


def build_stages(plan: Plan) -> list[RowStage]:
    """The stages of a plan, the clean one first. Raises ConfigError before any pass."""
    specs = list(plan.stages)
    if not any(spec.name.lower() == "clean" for spec in specs):
        specs.insert(0, StageSpec(name="clean"))
    specs.sort(key=lambda spec: spec.name.lower() != "clean")
    stages = [_build(spec, plan) for spec in specs]
    labels = [stage.label for stage in stages]
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError(
                f"two stages are called {label!r}; give one of them label='...'"
            )
    return stages


def _build(spec: StageSpec, plan: Plan) -> RowStage:
    key, arguments = spec.name.lower(), spec.arguments
    if key in STAGES:
        label = spec.label or str(arguments.get("attack", spec.name))
        return STAGES[key](label, plan, arguments)
    known = {name.lower() for name in attack_names()}
    if key not in known:
        near = difflib.get_close_matches(key, [*STAGES, *known], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"stage {spec.name!r} is neither one of {sorted(STAGES)} nor an attack of "
            f"torchattacks{hint} (list them with: torchattacks-ext methods)"
        )
    name = attack_info(key).name
    return AttackStage(spec.label or name, plan, {"attack": name} | arguments)
