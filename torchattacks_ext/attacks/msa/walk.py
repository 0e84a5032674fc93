"""In which batches, and by which rules, does MSA walk through a data set? Three kinds of target.

Fixed ones are attacked row by row; randomised ones are judged by fresh draws; batch-dependent ones
in deployed batches, under all protocols. AutoAttack's own sequences see the whole data set at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...data.stream import Batch, Stream
from ...engines.judge.ledger import Ledger, add_entries
from ...results.base.columns import Rows
from ...results.base.facts import Flag
from .fresh import Fresh, attack_at_random
from .fresh import reserve_of as reserve_of_draws
from .joint import (
    JOINT_SOURCES,
    Deployed,
    Tally,
    attack_jointly,
    partition,
    reserve_of,
    tell_protocols,
)
from .models import whole
from .rows import attack_rows, fresh_rows, joint_rows

if TYPE_CHECKING:
    from .msa import MSA


def walk(probe: MSA, stream: Stream) -> Iterator[Rows]:
    """Finished rows of the stream, by the rules of the kind of target that its first rows show."""
    batches = iter(stream)
    first = next(batches, None)
    if first is None:
        return
    batches = chain([first], batches)
    traits = stream.traits
    coupled = traits is not None and traits.batch_dependent
    if probe.version == "rand" or (traits is not None and traits.randomised):
        batches = whole(batches) if probe.is_sequence else batches
        yield from _random(probe, stream, batches)
    elif probe.is_sequence:
        yield from _fixed(probe, stream, whole(batches), verify=coupled)
    elif coupled:
        yield from _coupled(probe, stream, whole(batches))
    else:
        yield from _fixed(probe, stream, batches)


def _reached(stream: Stream, n: int, more: int = 0) -> bool:
    """Whether the budget has room for a look at n rows and for `more` row-passes."""
    return stream.budget is None or stream.budget.allows(2 * n + 1 + more)


def _unreached(probe: MSA, batch: Batch) -> Rows:
    return attack_rows(batch, None, probe.sources, probe.keep != "none")


def _book(probe: MSA, ledger: Ledger | Deployed) -> None:
    probe._books = add_entries(probe._books, ledger.entries)
    one = ledger.joint if isinstance(ledger, Deployed) else ledger
    probe._n_odd += one.n_odd


def _fixed(
    probe: MSA, stream: Stream, batches: Iterator[Batch], verify: bool = False
) -> Iterator[Rows]:
    """Targets that answer each image by itself, or that AutoAttack's protocol takes for such."""
    for batch in batches:
        if not _reached(stream, len(batch)):
            yield _unreached(probe, batch)
            continue
        assert batch.labels is not None
        with probe._limited(stream.budget):
            ledger = probe._attack(batch.images, batch.labels, batch.ids)
            if verify:
                probe._doubts.append(_shown_again(probe, ledger, batch))
        _book(probe, ledger)
        yield attack_rows(batch, ledger, probe.sources, probe.keep != "none")


def _shown_again(probe: MSA, ledger: Ledger, batch: Batch) -> Flag:
    """What the images of AutoAttack's protocol leave in deployed batches. N row-passes."""
    size, right = probe.deployed_batch or probe.batch_size, 0
    with torch.no_grad():
        for part in partition(batch.ids, probe.seed, 0, size):
            rows = part.to(ledger.best.device)
            answers = probe.get_logits(ledger.best[rows]).argmax(1)
            right += int((answers == ledger.labels[rows]).sum())
    left = float((ledger.right & (ledger.breaker < 0)).mean())
    text = (
        f"batch-dependent target: the attack packs rows anew as they fall and reports "
        f"{left:.3f}; the same images in deployed batches of {size} leave "
        f"{right / len(batch):.3f}; "
        'version "standard" attacks deployed batches'
    )
    return Flag("not_as_deployed", text)


def _random(probe: MSA, stream: Stream, batches: Iterator[Batch]) -> Iterator[Rows]:
    total = Fresh(probe.fresh_draws)
    for batch in batches:
        votes = len(batch) * probe.fresh_draws + reserve_of_draws(probe, len(batch))
        if not _reached(stream, len(batch), votes):
            yield _unreached(probe, batch)
            continue
        with probe._limited(stream.budget):
            rows, found = random_rows(probe, batch)
        total = total + found
        yield rows
    if len(total.right):
        total.tell(probe)


def random_rows(probe: MSA, batch: Batch) -> tuple[Rows, Fresh]:
    """Rows of one batch of a randomised target, and their votes."""
    assert batch.labels is not None
    ledger, found = attack_at_random(probe, batch.images, batch.labels, batch.ids)
    _book(probe, ledger)
    rows = attack_rows(batch, ledger, probe.sources, probe.keep != "none")
    return fresh_rows(rows, found), found


def _coupled(probe: MSA, stream: Stream, batches: Iterator[Batch]) -> Iterator[Rows]:
    """The first partition gives the rows; the others show how much a partition matters."""
    batch = next(batches)
    size = probe.deployed_batch or probe.batch_size
    tallies: list[dict[str, float]] = []
    for number in range(probe.partitions):
        tally = Tally()
        for part in partition(batch.ids, probe.seed, number, size):
            if not _reached(stream, len(part), reserve_of(len(part))):
                if number == 0:
                    yield _unreached(probe, _rows_of(batch, part))
                continue
            with probe._limited(stream.budget):
                rows, left = coupled_rows(probe, batch, part)
            tally.add(left)
            if number == 0:
                yield rows
        if tally.n == len(batch) or not tallies:
            tallies.append(tally.numbers())
    tell_protocols(probe, tallies, size)


def _rows_of(batch: Batch, part: Tensor) -> Batch:
    """The rows at positions `part`."""
    assert batch.labels is not None
    rows = part.to(batch.images.device)
    ids = batch.ids[part.to(batch.ids.device)]
    return Batch(ids, batch.images[rows], batch.labels[rows], batch.index[part])


def coupled_rows(probe: MSA, batch: Batch, part: Tensor) -> tuple[Rows, Deployed]:
    """The attack on the rows at positions `part`, as one deployed batch in this order."""
    assert batch.labels is not None
    probe.sources = tuple(dict.fromkeys([*probe.sources, *JOINT_SOURCES]))
    if probe.engine != "autoattack":
        probe._left_out.add(
            f'engine "{probe.engine}" cannot keep batches whole; AutoAttack\'s components ran'
        )
    own = _rows_of(batch, part)
    assert own.labels is not None
    left = attack_jointly(probe, own.images, own.labels, own.ids)
    _book(probe, left)
    keep = probe.keep != "none"
    return joint_rows(batch, part, left, probe.sources, probe.headline, keep), left


def best_images(probe: MSA, images: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
    """One batch, attacked as it is given: the images (B, ...) that do most harm.

    Of a batch-dependent target the batch with most rows wrong at once.
    """
    traits = probe._look(images)
    if probe.version == "rand" or traits.randomised:
        return attack_at_random(probe, images, labels, ids)[0].best
    if traits.batch_dependent and not probe.is_sequence:
        return attack_jointly(probe, images, labels, ids).joint.best
    return probe._attack(images, labels, ids).best
