"""How is a plan of MSA run on one batch? Models borrowed, a ledger opened, engines driven."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ...engines.autoattack.runs import TARGET, AutoAttackEngine
from ...engines.autoattack.sequence import StandardSequence
from ...engines.autoattack.stacked import StackedEngine
from ...engines.fork import ForkedRng
from ...engines.judge.active import Judge
from ...engines.judge.ledger import AttackSpec, Ledger
from ...engines.judge.screen import ScreenLedger
from ...engines.zoo.runs import ZooEngine
from ...engines.zoo.sequence import ZooSequence
from ...models.adapters.eot import EOT
from ...models.logits import LogitsView
from ...models.session import session
from . import plans as msa_plans
from .models import Normalised, Target, answers_vary, models_for
from .shared import shared_peeks

if TYPE_CHECKING:
    from .msa import MSA

SEQUENCES: dict[str, type[StandardSequence]] = {
    "autoattack": StandardSequence,
    "torchattacks": ZooSequence,
}
ENGINES: dict[str, type[AutoAttackEngine]] = {
    "autoattack": StackedEngine,
    "torchattacks": ZooEngine,
}
EOT_DRAWS = 20
"""Draws of one gradient in version "rand", as in AutoAttack's version of that name."""


@contextlib.contextmanager
def borrowed(probe: MSA) -> Iterator[dict[str, nn.Module]]:
    """Name -> pixels to logits, the target last; surrogates in sessions, random numbers forked."""
    with contextlib.ExitStack() as stack, torch.enable_grad():
        for surrogate in probe.surrogates.values():
            if surrogate is not probe.model:
                stack.enter_context(session(surrogate))
        fork = stack.enter_context(ForkedRng(probe.seed))
        yield _models(probe, fork)


def _models(probe: MSA, fork: ForkedRng) -> dict[str, nn.Module]:
    """All on the victim's random stream."""
    found: dict[str, nn.Module] = {}
    for name, surrogate in probe.surrogates.items():
        view: nn.Module = LogitsView(surrogate, probe.outputs, probe._meter)
        scaled = probe._normalization_applied is False
        if scaled and probe.surrogate_normalization == "same":
            view = Normalised(view, probe)
        found[name] = fork.victim(view)
    found[TARGET] = fork.victim(Target(probe))
    return found


def judge_of(
    probe: MSA, models: dict[str, nn.Module], rows: int | None = None
) -> Judge:
    """The judge of the target; rows: of a batch that it must see whole."""
    once = probe.is_sequence or rows is not None
    size = probe.batch_size if rows is None else rows
    return Judge(models[TARGET], targeted=False, batch_size=size, rechecks=not once)


def n_classes_of(models: dict[str, nn.Module], images: Tensor) -> int:
    """K of the target. One forward row-pass."""
    with torch.no_grad():
        return int(models[TARGET](images[:1]).shape[1])


def attack(
    probe: MSA,
    models: dict[str, nn.Module],
    ledger: Ledger,
    ids: Tensor,
    reserve: int = 0,
) -> None:
    """The whole version on the rows that are alive; reserve: row-passes left for what follows."""
    n_classes = n_classes_of(models, ledger.images)
    if probe.version in msa_plans.SEQUENCES:
        _sequence(probe, models, ledger, n_classes)
        return
    peeks = shared_peeks(probe, models)
    seen = _averaged(models, ledger.images) if probe.version == "rand" else models
    engine = ENGINES[probe.engine](
        seen,
        ids,
        n_classes,
        probe.seed,
        probe._meter,
        probe.probe_every,
        budget=probe._budget,
        peeks=peeks,
        draws=EOT_DRAWS if probe.version == "rand" else 1,
        reserve=reserve,
    )
    drive(probe.plan, engine, ledger)
    probe._left_out |= engine.skipped


def drive(
    plan: tuple[AttackSpec, ...], engine: AutoAttackEngine, ledger: Ledger
) -> None:
    """The plan, line by line, each run watched."""
    for spec in plan:
        for name in models_for(spec, engine.models):
            if not bool(ledger.alive.any()):
                return
            engine.run(name, spec, ledger)
            if isinstance(ledger, ScreenLedger):
                ledger.settle()


def _averaged(models: dict[str, nn.Module], images: Tensor) -> dict[str, nn.Module]:
    """Models that answer at random as the mean of their logits over fresh draws."""
    return {
        name: EOT(model, EOT_DRAWS) if answers_vary(model, images) else model
        for name, model in models.items()
    }


def _sequence(
    probe: MSA, models: dict[str, nn.Module], ledger: Ledger, n_classes: int
) -> None:
    """AutoAttack's own protocol, on each surrogate and then on the target."""
    on_surrogates, on_target = msa_plans.SEQUENCES[probe.version]
    steps = 40 if probe.version == "paper" else 100
    for name, model in models.items():
        sequence = SEQUENCES[probe.engine](
            name,
            model,
            n_classes,
            probe.seed,
            probe.batch_size,
            probe._meter,
            steps,
            budget=probe._budget,
        )
        attacks = on_target if name == TARGET else on_surrogates
        probe._left_out |= set(sequence.run(attacks, ledger))
