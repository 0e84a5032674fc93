"""How is a plan of MSA run on one batch? Models borrowed, a ledger opened, engines driven."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ...engines.autoattack.runs import TARGET, AutoAttackEngine
from ...engines.autoattack.sequence import StandardSequence
from ...engines.autoattack.stacked import StackedEngine
from ...engines.fork import ForkedRng
from ...engines.judge.active import Judge
from ...engines.judge.ledger import AttackSpec, Ledger
from ...engines.judge.screen import ScreenLedger
from ...engines.judge.watch import Watch
from ...engines.own.engine import OwnEngine
from ...engines.own.opening import Opening, opens
from ...engines.zoo.runs import ZooEngine
from ...engines.zoo.sequence import ZooSequence
from ...models.adapters.eot import EOT
from ...models.logits import LogitsView
from ...models.session import rounding_of, session
from ...numerics.unit import Unit
from . import plans as msa_plans
from .reach import EOT_DRAWS, prices_of
from .scene import Scene
from .settings import MSASettings
from .told import Told
from .victims.company import introduce
from .victims.models import Normalised, answers_vary, models_for
from .victims.shared import shared_peeks
from .victims.surrogates import Called

SEQUENCES: dict[str, type[StandardSequence]] = {
    "autoattack": StandardSequence,
    "torchattacks": ZooSequence,
    "own": StandardSequence,  # version "paper"
}
ENGINES: dict[str, type[AutoAttackEngine]] = {
    "autoattack": StackedEngine,
    "torchattacks": ZooEngine,
    "own": OwnEngine,
}

Models = Mapping[str, nn.Module]
"""Name -> pixels to logits, the target last."""


@contextlib.contextmanager
def borrowed(scene: Scene, images: Tensor, labels: Tensor) -> Iterator[Models]:
    """All models that are attacked; surrogates in sessions, random numbers forked.

    images, labels: the clean batch, shown to surrogates that want to see it.
    """
    with contextlib.ExitStack() as stack, torch.enable_grad():
        for surrogate in scene.surrogates.values():
            if surrogate is not scene.model:
                stack.enter_context(session(surrogate))
        fork = stack.enter_context(ForkedRng(scene.settings.seed))
        introduce(scene, images, labels)
        yield _models(scene, fork)


def _models(scene: Scene, fork: ForkedRng) -> Models:
    """All on the victim's random stream."""
    found: dict[str, nn.Module] = {}
    settings = scene.settings
    same = settings.surrogate_normalization == "same"
    for name, surrogate in scene.surrogates.items():
        view: nn.Module = LogitsView(
            surrogate, settings.outputs, scene.meter, settings.output_key
        )
        if same and scene.scale is not None:
            view = Normalised(view, scene.scale)
        found[name] = fork.victim(view)
    found[TARGET] = fork.victim(Called(scene.ask))
    return found


def judge_of(settings: MSASettings, models: Models, rows: int | None = None) -> Judge:
    """The judge of the target; rows: of a batch that it must see whole."""
    once = settings.is_sequence or rows is not None
    size = settings.batch_size if rows is None else rows
    return Judge(models[TARGET], targeted=False, batch_size=size, rechecks=not once)


def n_classes_of(models: Models, images: Tensor) -> int:
    """K of the target. One forward row-pass."""
    with torch.no_grad():
        return int(models[TARGET](images[:1]).shape[1])


def attack_fixed(
    scene: Scene,
    images: Tensor,
    labels: Tensor,
    ids: Tensor,
    eps: float | Tensor | None = None,
    first: Tensor | None = None,
    lines: tuple[AttackSpec, ...] | None = None,
) -> tuple[Ledger, Told]:
    """A ledger after the whole plan, for a target that answers each image by itself.

    eps: (B,) gives each row a radius of its own; None takes that of the settings. first (B, ...):
    candidates of an earlier attack, offered before. lines: to be run instead of the plan's.
    """
    settings = scene.settings
    radius = float(settings.eps) if eps is None else eps
    with borrowed(scene, images, labels) as models:
        judge = judge_of(settings, models)
        ball = radius, settings.norm, settings.bounds
        wanted = settings.lines if lines is None else lines
        opening = None
        if first is None:
            opening = _opening(scene, models, labels, wanted)
        look = judge if opening is None else replace(judge, view=opening)
        ledger = Ledger.open(look, images, labels, *ball)
        ledger.judge = judge
        if first is not None:
            ledger.offer(ledger.rows(), first[ledger.rows()], "first")
        left_out = attack(scene, models, ledger, ids, lines=lines, opening=opening)
    return ledger, Told(ledger.entries, ledger.n_odd, left_out)


def _opening(
    scene: Scene, models: Models, labels: Tensor, lines: tuple[AttackSpec, ...]
) -> Opening | None:
    """A look at the images that is the first step of these lines as well, where it can be."""
    settings = scene.settings
    own = settings.engine == "own" and not settings.is_sequence
    if not own or len(labels) > settings.batch_size or not opens(lines[0], models):
        return None
    unit, slack = Unit(settings.bounds), rounding_of(scene.model)
    return Opening(models[TARGET], lines[0], unit, labels, slack)


def ledger_of(scene: Scene, *rows: Any) -> Ledger:
    """The ledger of :func:`attack_fixed` alone, with the same arguments."""
    return attack_fixed(scene, *rows)[0]


def attack(
    scene: Scene,
    models: Models,
    ledger: Ledger,
    ids: Tensor,
    reserve: int = 0,
    lines: tuple[AttackSpec, ...] | None = None,
    opening: Opening | None = None,
) -> frozenset[str]:
    """The whole version on the rows that are alive; returns why parts of it were left out.

    reserve: row-passes left for what follows. lines: to be run instead of the plan's. opening: with
    which the ledger looked at the images.
    """
    settings, n_classes = scene.settings, scene.n_classes
    if n_classes is None:
        n_classes = n_classes_of(models, ledger.images)
    if settings.is_sequence:
        return _sequence(scene, models, ledger, n_classes)
    peeks = shared_peeks(scene, models)
    averaged, own = settings.version == "rand", settings.engine == "own"
    engine = ENGINES[settings.engine](
        _averaged(models, ledger.images) if averaged and not own else models,
        ids,
        n_classes,
        settings.seed,
        scene.meter,
        settings.probe_every,
        budget=scene.budget,
        peeks=peeks,
        draws=EOT_DRAWS if averaged else 1,
        reserve=reserve,
    )
    if isinstance(engine, OwnEngine):
        engine.opening = opening
        if averaged:
            engine.varying = _varying(models, ledger.images)
    wanted = settings.lines if lines is None else lines
    if scene.bar is not None:
        prices = prices_of(settings, wanted, scene.surrogates, n_classes)
        engine.watch = Watch(scene.bar, scene.meter, prices)
    return drive(wanted, engine, ledger)


def drive(
    lines: tuple[AttackSpec, ...], engine: AutoAttackEngine, ledger: Ledger
) -> frozenset[str]:
    """The plan, line by line, each run watched; returns why parts of it were left out."""
    for spec in lines:
        for name in models_for(spec, engine.models):
            if not bool(ledger.alive.any()):
                return frozenset(engine.skipped)
            engine.run(name, spec, ledger)
            if isinstance(ledger, ScreenLedger):
                ledger.settle()
    return frozenset(engine.skipped)


def _averaged(models: Models, images: Tensor) -> Models:
    """Models that answer at random as the mean of their logits over fresh draws."""
    varying = _varying(models, images)
    return {
        name: EOT(model, EOT_DRAWS) if name in varying else model
        for name, model in models.items()
    }


def _varying(models: Models, images: Tensor) -> frozenset[str]:
    return frozenset(n for n, model in models.items() if answers_vary(model, images))


def _sequence(
    scene: Scene, models: Models, ledger: Ledger, n_classes: int
) -> frozenset[str]:
    """AutoAttack's own protocol, on each surrogate and then on the target."""
    settings = scene.settings
    on_surrogates, on_target = msa_plans.SEQUENCES[settings.version]
    steps = 40 if settings.version == "paper" else 100
    left_out: set[str] = set()
    for name, model in models.items():
        sequence = SEQUENCES[settings.engine](
            name,
            model,
            n_classes,
            settings.seed,
            settings.batch_size,
            scene.meter,
            steps,
            budget=scene.budget,
        )
        attacks = on_target if name == TARGET else on_surrogates
        left_out.update(sequence.run(attacks, ledger))
    return frozenset(left_out)
