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
from ...results.base.result import Result
from ...results.unfixed import PROTOCOLS
from ..base.resuming import rows_at, taken_over
from .batch import coupled_rows, kind_of, random_rows
from .fresh import reserve_of as reserve_of_draws
from .joint import partition, reserve_of
from .protocols import Tally
from .reach import Price, price_of
from .rows import attack_rows
from .run import attack_fixed
from .scene import Scene
from .told import Told, whole_partitions
from .victims.company import has_shortcut
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
    if kind == "coupled":
        yield from _coupled(scene, next(batches), stream.resume)
        return
    if kind == "fixed":
        scene = scene.knowing(traits)
    draws = scene.settings.fresh_draws
    after = 0 if kind == "fixed" else 2 * draws + reserve_of_draws(draws, 1)
    k = 10 if traits is None else traits.n_classes
    price = price_of(scene.settings, scene.surrogates, k, after)
    packed_anew = traits is not None and traits.batch_dependent
    for batch in batches:
        old, left = taken_over(batch, stream.resume)
        if old is not None:
            yield old, _again(scene, left)
        yield from _pieces(scene, left, price, kind == "fixed", packed_anew)


def _again(scene: Scene, left: Batch) -> Told:
    """What is to be said where finished rows are taken over, and others are left."""
    if not scene.settings.unit_is_batch or not len(left):
        return Told()
    text = (
        "rows of an earlier run were taken over and the others packed into new batches: where what "
        "is found depends on the batch, one run in one piece may have found other rows"
    )
    return Told(doubts=(Flag("packed_anew", text),))


def _pieces(
    scene: Scene, batch: Batch, price: Price, fixed: bool, verify: bool
) -> Iterator[tuple[Rows, Told]]:
    """A batch, in as many pieces as the budget asks for: first what it finishes, then the rest."""
    while len(batch):
        n = scene.reach(len(batch), price)
        if not n:
            yield _unreached(scene, batch)
            return
        every = torch.arange(len(batch))
        part, batch = rows_at(batch, every[:n]), rows_at(batch, every[n:])
        if fixed:
            yield _tried(scene, part, partial(_fixed_rows, scene, part, verify))
            continue
        keep = scene.settings.keeps
        yield _tried(scene, part, partial(random_rows, scene, part, keep))


def _unreached(scene: Scene, batch: Batch) -> tuple[Rows, Told]:
    return attack_rows(batch, None, (), scene.settings.keeps), Told()


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
    left = int((ledger.right & (ledger.breaker < 0)).sum())
    text = (
        f"batch-dependent target: the attack packs rows anew as they fall and reports "
        f"{left / len(batch):.3f}; the same images in deployed batches of {size} leave "
        f"{right / len(batch):.3f}; "
        'version "standard" attacks deployed batches'
    )
    details = {"reported": left, "deployed": right, "of": len(batch)}
    return Flag("not_as_deployed", text, details=details)


def _coupled(
    scene: Scene, batch: Batch, earlier: Result | None
) -> Iterator[tuple[Rows | None, Told]]:
    """The first partition gives the rows; the others show how much a partition matters.

    Of an earlier result deployed batches stay of which every row is finished.
    """
    settings = scene.settings
    yield None, Told(tallies={0: Tally()})  # numbers stand there even if no batch fits
    known, quick = whole_partitions(earlier), has_shortcut(scene)
    earlier = earlier if 0 in known else None
    for number in range(settings.partitions):
        size = settings.deployed_rows
        for part in partition(batch.ids, settings.seed, number, size):
            own = rows_at(batch, part)
            old = _whole_batch(own, earlier) if number == 0 else None
            if old is not None:
                yield old, Told()
            elif number and number in known:
                continue
            elif scene.has_room(len(part), reserve_of(len(part), quick)):
                work = partial(coupled_rows, scene, batch, part, number, settings.keeps)
                rows, told = _tried(scene, own, work)
                yield None if number else rows, told
            elif number == 0:
                yield _unreached(scene, own)


def _whole_batch(batch: Batch, earlier: Result | None) -> Rows | None:
    """The rows of a deployed batch as they were, where every answer of theirs is known."""
    old, left = taken_over(batch, earlier)
    if old is None or len(left):
        return None
    known = [bool((old.columns[f"{p}_correct"] >= 0).all()) for p in PROTOCOLS]
    return old if all(known) else None
