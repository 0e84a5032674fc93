"""In which batches, and by which rules, does MSA walk through a data set? Three kinds of target.

Fixed ones are attacked row by row; randomised ones are judged by fresh draws; batch-dependent ones
in deployed batches, under all protocols. AutoAttack's own sequences see the whole data set at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain

import torch

from ...data.stream import Batch, Stream
from ...engines.judge.ledger import Ledger
from ...errors import ModelContractError
from ...models.broken import models_own
from ...results.base.columns import Rows
from ...results.base.facts import Flag
from .batch import coupled_rows, kind_of, random_rows, rows_of
from .fresh import reserve_of as reserve_of_draws
from .joint import partition, reserve_of
from .protocols import Tally
from .rows import attack_rows
from .run import attack_fixed
from .scene import Scene
from .told import Told
from .victims.models import whole


def walk(scene: Scene, stream: Stream) -> Iterator[tuple[Rows | None, Told]]:
    """Finished rows, and what there is to tell, by the kind of target that its first rows show.

    No rows come with what only tells, as further partitions of a batch-dependent target do.
    """
    batches = iter(stream)
    first = next(batches, None)
    if first is None:
        return
    batches, traits = chain([first], batches), stream.traits
    kind = kind_of(scene.settings, traits)
    if scene.settings.is_sequence or kind == "coupled":
        batches = whole(batches)
    if kind == "randomised":
        yield from _random(scene, batches)
    elif kind == "coupled":
        yield from _coupled(scene, next(batches))
    else:
        packed_anew = traits is not None and traits.batch_dependent
        yield from _fixed(scene, batches, verify=packed_anew)


def _unreached(scene: Scene, batch: Batch) -> tuple[Rows, Told]:
    return attack_rows(batch, None, (), scene.settings.keeps), Told()


def _fixed(
    scene: Scene, batches: Iterator[Batch], verify: bool
) -> Iterator[tuple[Rows, Told]]:
    """Targets that answer each image by itself, or that AutoAttack's protocol takes for such."""
    for batch in batches:
        if not scene.has_room(len(batch)):
            yield _unreached(scene, batch)
            continue
        yield _tried(scene, batch, partial(_fixed_rows, scene, batch, verify))


def _fixed_rows(scene: Scene, batch: Batch, verify: bool) -> tuple[Rows, Told]:
    assert batch.labels is not None
    ledger, told = attack_fixed(scene, batch.images, batch.labels, batch.ids)
    if verify:
        told += Told(doubts=(_shown_again(scene, ledger, batch),))
    return attack_rows(batch, ledger, scene.sources, scene.settings.keeps), told


def _tried(
    scene: Scene, batch: Batch, work: Callable[[], tuple[Rows, Told]]
) -> tuple[Rows, Told]:
    """What `work` finds of a batch; FAILED rows where a model raises, and the run goes on."""
    try:
        return work()
    except ModelContractError as error:
        rows = attack_rows(batch, None, (), scene.settings.keeps)
        return rows.failed(models_own(error)), Told()


def _shown_again(scene: Scene, ledger: Ledger, batch: Batch) -> Flag:
    """What the images of AutoAttack's protocol leave in deployed batches. N row-passes."""
    size, right = scene.settings.deployed_rows, 0
    with torch.no_grad():
        for part in partition(batch.ids, scene.settings.seed, 0, size):
            rows = part.to(ledger.best.device)
            answers = scene.ask(ledger.best[rows]).argmax(1)
            right += int((answers == ledger.labels[rows]).sum())
    left = float((ledger.right & (ledger.breaker < 0)).mean())
    text = (
        f"batch-dependent target: the attack packs rows anew as they fall and reports "
        f"{left:.3f}; the same images in deployed batches of {size} leave "
        f"{right / len(batch):.3f}; "
        'version "standard" attacks deployed batches'
    )
    return Flag("not_as_deployed", text)


def _random(scene: Scene, batches: Iterator[Batch]) -> Iterator[tuple[Rows, Told]]:
    draws = scene.settings.fresh_draws
    for batch in batches:
        votes = len(batch) * draws + reserve_of_draws(draws, len(batch))
        if scene.has_room(len(batch), votes):
            keep = scene.settings.keeps
            yield _tried(scene, batch, partial(random_rows, scene, batch, keep))
        else:
            yield _unreached(scene, batch)


def _coupled(scene: Scene, batch: Batch) -> Iterator[tuple[Rows | None, Told]]:
    """The first partition gives the rows; the others show how much a partition matters."""
    settings = scene.settings
    yield None, Told(tallies={0: Tally()})  # numbers stand there even if no batch fits
    for number in range(settings.partitions):
        size = settings.deployed_rows
        for part in partition(batch.ids, settings.seed, number, size):
            if scene.has_room(len(part), reserve_of(len(part))):
                work = partial(coupled_rows, scene, batch, part, number, settings.keeps)
                rows, told = _tried(scene, rows_of(batch, part), work)
                yield None if number else rows, told
            elif number == 0:
                yield _unreached(scene, rows_of(batch, part))
