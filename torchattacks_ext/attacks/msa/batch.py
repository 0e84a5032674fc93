"""By which rules is one batch attacked? Those of the kind of target that the model showed to be."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from ...data.stream import Batch, Stream
from ...engines.own.sweep import sweep
from ...errors import ConfigError
from ...models.checks import ModelTraits
from ...results.base.columns import Rows
from ...results.datasets.curve import Curve
from ..base.resuming import rows_at
from .fresh import attack_at_random
from .joint import attack_jointly
from .rows import attack_rows, fresh_rows, joint_rows
from .run import attack_fixed, ledger_of
from .scene import Scene
from .settings import MSASettings
from .told import Told

Kind = Literal["fixed", "randomised", "coupled"]


def kind_of(settings: MSASettings, traits: ModelTraits | None) -> Kind:
    """By which rules a target is attacked that showed these traits; None: nothing is known of it.

    AutoAttack's own protocol takes batch-dependent targets for fixed ones, and version "rand" all
    targets for randomised ones. Raises ConfigError for a plan of the own engine and a target that
    is not fixed: its gates compare margins, which then are no numbers of the row.

    >>> kind_of(MSASettings(eps=0.1, norm="Linf", version="rand"), None)
    'randomised'
    """
    kind: Kind = "fixed"
    if settings.version == "rand" or (traits is not None and traits.randomised):
        kind = "randomised"
    elif traits is not None and traits.batch_dependent and not settings.is_sequence:
        kind = "coupled"
    if kind != "fixed" and settings.is_own:
        why, instead = "by the batch", ""
        if kind == "randomised":
            why, instead = "at random", 'version="rand" or '
        raise ConfigError(
            f'version={settings.version!r} of engine="own" attacks rows one by one up to gates, '
            f'and the target answers {why}: say {instead}engine="autoattack"'
        )
    return kind


def check_sweep(settings: MSASettings, traits: ModelTraits | None) -> None:
    """Raises ConfigError where rows have no radius of their own: a sequence, an unfixed target.

    So does a budget, of which a sweep keeps no account.

    >>> check_sweep(MSASettings(eps=0.1, norm="Linf", version="quick"), None)
    """
    limits = settings.max_queries, settings.max_seconds
    if limits != (None, None):
        raise ConfigError(
            f"max_queries={limits[0]} and max_seconds={limits[1]} end no curve: leave them out, or "
            "measure one radius"
        )
    if settings.is_sequence or kind_of(settings, traits) != "fixed":
        raise ConfigError(
            "a curve gives each row a radius of its own: that needs a target with a fixed answer "
            f"to an image, and a plan that goes row by row, not version={settings.version!r} here"
        )


def curve_of(scene: Scene, stream: Stream, radii: Sequence[float]) -> Curve:
    """Robust accuracy at each of some ascending radii, of a target with fixed answers."""
    return Curve.joined(
        [curve_rows(scene, batch, radii, stream.traits) for batch in stream]
    )


def curve_rows(
    scene: Scene, batch: Batch, radii: Sequence[float], traits: ModelTraits | None
) -> Curve:
    """The same of one batch with labels. traits: what the model showed."""
    check_sweep(scene.settings, traits)
    lines = scene.settings.lines if scene.settings.is_own else None
    attack = partial(ledger_of, scene.knowing(traits))
    return sweep(attack, batch, radii, scene.meter.snapshot, lines)


def batch_rows(
    scene: Scene, batch: Batch, traits: ModelTraits | None, keep: bool
) -> tuple[Rows, Told]:
    """One batch with labels, attacked as it is given; of a batch-dependent target as deployed."""
    kind = kind_of(scene.settings, traits)
    if kind == "randomised":
        return random_rows(scene, batch, keep)
    if kind == "coupled":
        return coupled_rows(scene, batch, torch.arange(len(batch)), 0, keep)
    assert batch.labels is not None
    known = scene.knowing(traits)
    ledger, told = attack_fixed(known, batch.images, batch.labels, batch.ids)
    return attack_rows(batch, ledger, scene.sources, keep), told


def best_images(
    scene: Scene,
    images: Tensor,
    labels: Tensor,
    ids: Tensor,
    traits: ModelTraits,
) -> Tensor:
    """One batch, attacked as it is given: the images (B, ...) that do most harm.

    Of a batch-dependent target the batch with most rows wrong at once.
    """
    kind = kind_of(scene.settings, traits)
    if kind == "randomised":
        return attack_at_random(scene, images, labels, ids)[0].best
    if kind == "coupled":
        return attack_jointly(scene, images, labels, ids)[0].joint.best
    return attack_fixed(scene.knowing(traits), images, labels, ids)[0].best


def random_rows(scene: Scene, batch: Batch, keep: bool) -> tuple[Rows, Told]:
    """Rows of one batch of a randomised target, and their votes."""
    assert batch.labels is not None
    ledger, fresh, told = attack_at_random(scene, batch.images, batch.labels, batch.ids)
    if ledger.cut:  # rows that fell early would stand for all
        return attack_rows(batch, None, (), keep), told
    rows = attack_rows(batch, ledger, scene.sources, keep)
    return fresh_rows(rows, fresh), told


def coupled_rows(
    scene: Scene, batch: Batch, part: Tensor, number: int, keep: bool
) -> tuple[Rows, Told]:
    """The attack on the rows at positions `part`, as one deployed batch in this order."""
    own = rows_at(batch, part)
    assert own.labels is not None
    left, told = attack_jointly(scene, own.images, own.labels, own.ids)
    if left.is_whole:
        told += Told(tallies={number: left.tally()})
    sources = tuple(dict.fromkeys([*scene.sources, *told.sources]))
    headline = scene.settings.headline
    return joint_rows(batch, part, left, sources, headline, keep), told
