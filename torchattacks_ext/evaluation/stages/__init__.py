"""Stages: one a file; a new one is a file and a line here."""

from __future__ import annotations

from typing import Any

from ...errors import ConfigError
from ..plan import Plan, StageSpec, did_you_mean
from ..zoo.catalogue import EXCLUDED, attack_info, attack_names
from ..zoo.foreign import is_foreign
from .attack import AttackStage as AttackStage
from .base import RowStage as RowStage
from .base import SetStage as SetStage
from .base import Shared as Shared
from .base import StageRows as StageRows
from .budgeted import BudgetedStage as BudgetedStage
from .certified import CertifiedStage as CertifiedStage
from .clean import CleanStage as CleanStage
from .diagnostics import DiagnosticsStage as DiagnosticsStage
from .fim import FIMStage as FIMStage
from .foreign import ForeignStage as ForeignStage
from .msa.stage import AutoAttackStage as AutoAttackStage
from .msa.stage import MSAStage as MSAStage
from .prtest import PRTestStage as PRTestStage
from .sets.audit import DataAuditStage as DataAuditStage
from .sets.ood import OODStage as OODStage
from .sets.shift import ShiftStage as ShiftStage
from .smoothed import SmoothedStage as SmoothedStage
from .stress import StressStage as StressStage
from .sweep import SweepStage as SweepStage

STAGES: dict[str, type[RowStage]] = {
    "clean": CleanStage,
    "prtest": PRTestStage,
    "fim": FIMStage,
    "certified": CertifiedStage,
    "smoothed": SmoothedStage,
    "diagnostics": DiagnosticsStage,
    "stress": StressStage,
    "sweep": SweepStage,
    "ood": OODStage,
    "shift": ShiftStage,
    "data-audit": DataAuditStage,
    "msa": MSAStage,
    "autoattack": AutoAttackStage,
    "budgeted": BudgetedStage,
    "attack": AttackStage,
}
"""By the name in a plan, in lower case. "autoattack" is the real one in any mixture of cases;
torchattacks' class of that name is {"name": "attack", "attack": "AutoAttack"}."""


def build_stages(plan: Plan) -> list[RowStage]:
    """The stages of a plan, the clean one first. Raises ConfigError before any pass."""
    clean = [spec for spec in plan.stages if spec.name.lower() == CleanStage.kind]
    others = [spec for spec in plan.stages if spec.name.lower() != CleanStage.kind]
    if len(clean) > 1:
        raise ConfigError(
            f"the plan names stage 'clean' {len(clean)} times; name it once"
        )
    first = clean or [StageSpec(name=CleanStage.kind)]
    stages = [_build(spec, plan) for spec in first + others]
    labels = [stage.label for stage in stages]
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError(
                f"two stages are called {label!r}; give one of them label='...'"
            )
    return stages


def _build(spec: StageSpec, plan: Plan) -> RowStage:
    key, arguments = spec.name.lower(), spec.arguments
    spec.facts()  # refuses arguments that no report can hold
    if key == AttackStage.kind:
        name = arguments.pop("attack", None)
        if name is None:
            raise ConfigError(
                "stage 'attack' needs attack=, say {'name': 'attack', 'attack': 'PGD'}"
            )
        return _attack(str(name), spec, plan, arguments)
    if key in STAGES:
        return STAGES[key](spec.label or key, plan, arguments)
    if is_foreign(spec.name):
        return _attack(spec.name, spec, plan, arguments)
    known = [*STAGES, *attack_names(), *EXCLUDED]
    if key not in [name.lower() for name in known]:
        raise ConfigError(
            f"stage {spec.name!r} is neither one of {sorted(STAGES)} nor an attack of "
            f"torchattacks{did_you_mean(key, known)} (list them with: torchattacks-ext "
            "methods)"
        )
    return _attack(key, spec, plan, arguments)


def _attack(
    name: str, spec: StageSpec, plan: Plan, arguments: dict[str, Any]
) -> AttackStage:
    if is_foreign(name):
        return ForeignStage(spec.label or name, plan, {"attack": name} | arguments)
    info = attack_info(name)  # says why, where an attack is left out
    return AttackStage(spec.label or info.name, plan, {"attack": info.name} | arguments)
