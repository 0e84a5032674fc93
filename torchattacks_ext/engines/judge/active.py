"""How are the draws of many images packed into full batches? An active set, judged once a round.

Each image walks its own looks (sample sizes at which a decision may fall). A round takes every
active image to its next look: the work items (image, draw) of all of them lie end to end and
are cut into batches, so that batches stay full while images finish. The host is asked for
numbers once a round. Networks do not give the same bits for other batch sizes, so a draw whose
margin is within 1e-4 of its largest logit is decided by a second forward pass at batch size 1:
counts then do not depend on the batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..._typing import LogitsFn
from ...models.meter import Budget
from ...numerics.calibration import near_an_edge, softmax_scores
from ...numerics.losses import margins, target_margins
from ...numerics.streams import uniform
from ...samplers.base import Sampler

CLOSE = 1e-4
"""Share of the largest logit below which a margin is decided again at batch size 1."""

Array = np.ndarray[Any, Any]


@dataclass
class Slots:
    """The images at work. Tensors lie on the device (A, ...), arrays (A,) on the host."""

    images: Tensor
    ids: Tensor
    reference: Tensor
    index: Array
    clean_correct: Array
    clean_margin: Array
    n: Array
    s: Array
    worst_margin: Array
    worst_draw: Array
    n_close: Array
    n_drawn: Array
    non_finite: Array
    log_robust: Array
    log_not_robust: Array
    n_mean: Array
    mean_failures: Array

    def __len__(self) -> int:
        return len(self.index)

    def take(self, rows: Array) -> Slots:
        """The slots `rows` (int64 positions)."""
        place = torch.from_numpy(rows).to(self.images.device)
        chosen: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            chosen[f.name] = value[place if isinstance(value, Tensor) else rows]
        return Slots(**chosen)

    def join(self, other: Slots) -> Slots:
        """These slots and then the others."""
        joined: dict[str, Any] = {}
        for f in fields(self):
            pair = getattr(self, f.name), getattr(other, f.name)
            tensors = isinstance(pair[0], Tensor)
            joined[f.name] = torch.cat(pair) if tensors else np.concatenate(pair)
        return Slots(**joined)


@dataclass(frozen=True)
class Judged:
    """What was seen of M rows, on the host: margin (M,) (> 0 = no failure) and the rest of it.

    scores: (M, 3) of :func:`.calibration.softmax_scores`, where the judge was asked for them.
    """

    margin: Array
    failed: Array
    close: Array
    finite: Array
    prediction: Array
    scores: Array | None = None

    def take(self, rows: Array) -> Judged:
        """What was seen of these rows (int64 positions), in their order."""
        known: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        taken: dict[str, Any] = {
            name: None if value is None else value[rows]
            for name, value in known.items()
        }
        return Judged(**taken)


@dataclass(frozen=True)
class Judge:
    """Decides failures of rows: argmax != reference, or == reference when `targeted`.

    view: pixels to logits. Rows without an answer (NaN, infinite), or with -inf on their own class,
    are failures; -inf on another class is a class out of the race. rechecks: whether close rows
    are decided again at batch size 1. scored: whether softmax scores are kept as well, those at the
    edge of a bin again from batch size 1.
    """

    view: LogitsFn
    targeted: bool
    batch_size: int
    rechecks: bool = True
    scored: bool = False

    def _look(
        self, images: Tensor, reference: Tensor, sizes: list[int] | None = None
    ) -> Tensor:
        """(5, M): margin, largest absolute logit, argmax, reference, largest logit; then scores.

        sizes: of the calls that share the rows; None makes one call.
        """
        if sizes is None or len(sizes) == 1:
            logits = self.view(images)
        else:
            logits = torch.cat([self.view(part) for part in torch.split(images, sizes)])
        margin = (target_margins if self.targeted else margins)(logits, reference)
        top, best = logits.max(1)
        size, wanted = logits.abs().amax(1), reference.to(margin.dtype)
        seen = torch.stack([margin, size, best.to(margin.dtype), wanted, top])
        if not self.scored:
            return seen
        scores = softmax_scores(logits, reference)
        return torch.cat([seen.to(scores.dtype), scores])

    def _said(self, seen: Array) -> Judged:
        """What the numbers of :meth:`_look` say."""
        margin, size, best, reference, top = seen[:5]
        # a masked class makes the size infinite, and the margin only where it is the label's own
        own = np.where(self.targeted, margin < np.inf, margin > -np.inf)
        finite = np.isfinite(top) & own
        size = np.where(np.isfinite(size), size, np.abs(top))
        failed = (best == reference) == self.targeted
        close = np.abs(margin) < CLOSE * size
        return Judged(
            margin.astype(np.float64),
            failed | ~finite,
            close & finite,
            finite,
            best.astype(np.int64),
            np.ascontiguousarray(seen[5:].T, np.float64) if self.scored else None,
        )

    def judge(
        self,
        n: int,
        rows: Callable[[slice], tuple[Tensor, Tensor]],
        budget: Budget | None,
        calls: Iterable[list[int]] | None = None,
    ) -> Judged | None:
        """Judge `n` rows in batches; `rows(slice)` gives their images and references.

        calls: for each batch the numbers of rows of its calls of the model, end to end; None fills
        one call up to `batch_size`. None when the budget ended before the last of them. n forward
        row-passes, and one for each close row; one host sync.
        """
        parts, start = [], 0
        size = self.batch_size
        full = ([min(size, n - at)] for at in range(0, n, size))
        for sizes in full if calls is None else calls:
            stop = start + sum(sizes)
            if budget is not None and not budget.allows(stop - start):
                return None
            parts.append(self._look(*rows(slice(start, stop)), sizes))
            start = stop
        none = np.zeros((8 if self.scored else 5, 0))
        seen = torch.cat(parts, dim=1).cpu().numpy() if parts else none
        found = self._said(seen)
        if self.batch_size > 1 and self.rechecks:
            doubted = found.close
            if found.scores is not None:
                doubted = doubted | near_an_edge(found.scores[:, 0])
            for row in np.flatnonzero(doubted):
                if budget is not None and not budget.allows(1):
                    return None
                again = self._said(self._look(*rows(slice(row, row + 1))).cpu().numpy())
                found.margin[row], found.failed[row] = again.margin[0], again.failed[0]
                found.prediction[row] = again.prediction[0]
                if found.scores is not None and again.scores is not None:
                    found.scores[row] = again.scores[0]
        found.margin[~found.finite] = -np.inf
        return found


def draw_rows(
    slots: Slots,
    slot: Array,
    draw: Array,
    sampler: Sampler,
    seed: int,
    shared: bool = False,
) -> Callable[[slice], tuple[Tensor, Tensor]]:
    """The work items (slot, draw) as perturbed images with references, made when asked for.

    shared: draw number i has the same uniforms for every image; they are made once a batch.
    """

    def rows(part: slice) -> tuple[Tensor, Tensor]:
        device = slots.images.device
        place = torch.from_numpy(slot[part]).to(device)
        images = slots.images.index_select(0, place)
        if shared:
            noise = _shared(seed, draw[part], sampler.name, device)
        else:
            draws = torch.from_numpy(draw[part]).to(device)
            noise = keyed(seed, slots.ids[place], draws, sampler.name)
        return sampler.sample(images, noise), slots.reference[place]

    return rows


def _shared(
    seed: int, draw: Array, name: str, device: torch.device
) -> Callable[..., Tensor]:
    """Uniforms of the id 0 for each draw: one row a different draw, then copied."""
    different, place = np.unique(draw, return_inverse=True)
    draws = torch.from_numpy(different).to(device)
    few = keyed(seed, torch.zeros_like(draws), draws, name)
    rows = torch.from_numpy(place).to(device)

    def noise(size: int, purpose: str = "") -> Tensor:
        return few(size, purpose).index_select(0, rows)

    return noise


def keyed(
    seed: int, ids: Tensor, draw: int | Tensor, name: str
) -> Callable[..., Tensor]:
    """u(size, purpose="") -> (B, size) in [0, 1).

    The uniforms of (seed, id, draw) for one sampler.
    """
    return partial(_uniforms, seed, ids, draw, name)


def _uniforms(
    seed: int, ids: Tensor, draw: int | Tensor, name: str, size: int, purpose: str = ""
) -> Tensor:
    key = f"{name}/{purpose}" if purpose else name
    return uniform(seed, ids, key, draw, size)


def advance(
    slots: Slots, looks: Array, judged: Judged, slot: Array, draw: Array
) -> None:
    """Add a whole round of judged draws to the slots, in place; afterwards n equals `looks`."""
    starts = np.searchsorted(slot, np.arange(len(slots)))
    slots.s += np.add.reduceat(judged.failed.astype(np.int64), starts)
    slots.n_close += np.add.reduceat(judged.close.astype(np.int64), starts)
    slots.non_finite |= np.logical_or.reduceat(~judged.finite, starts)
    lowest = np.minimum.reduceat(judged.margin, starts)
    better = lowest < slots.worst_margin
    first = np.flatnonzero(judged.margin == lowest[slot])
    owner, place = np.unique(slot[first], return_index=True)
    best_draw = np.zeros(len(slots), dtype=np.int64)
    best_draw[owner] = draw[first[place]]
    slots.worst_draw = np.where(better, best_draw, slots.worst_draw)
    slots.worst_margin = np.where(better, lowest, slots.worst_margin)
    slots.n_drawn += looks - slots.n
    slots.n = looks.copy()
