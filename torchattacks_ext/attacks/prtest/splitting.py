"""How does PRTest test failure rates that plain draws cannot see? The last-particle method.

See :mod:`torchattacks_ext.numerics.rates.splitting` for the counts and
:mod:`torchattacks_ext.engines.particles` for the moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..._typing import Verdict
from ...data.stream import Batch, Stream
from ...engines import particles
from ...engines.judge.active import Array, Slots
from ...engines.particles import Steps, Systems
from ...errors import ModelContractError
from ...models.broken import models_own
from ...numerics.losses import is_scored, margins, target_margins
from ...numerics.rates.splitting import LastParticle
from ...results.base.columns import Rows
from ...results.prob_robustness import ProbRobustness
from . import rows as to
from .admission import Admission

Look = Callable[[Tensor, Tensor], Tensor | None]

PILOT = -1
"""Number of the system that learns the step sizes."""


@dataclass
class _Seen:
    """What the evaluations of a chunk of G images have shown, on the device."""

    failures: Tensor
    evaluations: Tensor
    non_finite: Tensor


@dataclass(frozen=True, kw_only=True)
class Splitting(Admission):
    """The settings of a splitting run: those of :class:`Admission`, and

    law: the counts that decide. n_moves: proposals a step. n_max: most evaluations an image. fixed:
    whether the model gives the same answer again; levels mean nothing otherwise, and every image is
    UNDECIDED after its first particles.
    """

    law: LastParticle
    n_moves: int
    n_max: int
    fixed: bool = True

    def rows(
        self, stream: Stream, opened: Iterable[Batch] | None = None
    ) -> Iterator[Rows]:
        """Finished rows, a chunk of images at a time.

        opened: the batches of the stream, where somebody has begun to take them.
        """
        size = max(1, self.judge.batch_size // self.law.n_systems)
        for batch in stream if opened is None else opened:
            done, slots = self.admit(batch, stream)
            yield from done
            for begin in range(0, len(slots), size):
                chunk = slots.take(np.arange(begin, min(begin + size, len(slots))))
                yield self._finished(chunk, stream)

    def _finished(self, slots: Slots, stream: Stream) -> Rows:
        """Rows of a chunk; FAILED, with nothing known, where the model raises."""
        seen = _Seen(*(torch.zeros_like(slots.ids) for _ in range(3)))
        try:
            with torch.no_grad():
                return self._split(slots, stream, seen)
        except ModelContractError as error:
            nobody = np.zeros(len(slots), dtype=bool)
            rows = self._close(slots, None, nobody, seen, seen.evaluations)
            return rows.failed(models_own(error))

    def ended(self, earlier: ProbRobustness, old: Tensor) -> Array:
        """Particles are not kept: what was started is over."""
        return np.asarray(earlier.n_samples[old].numpy() > 0)

    @property
    def most_draws(self) -> int:
        """Most evaluations an image."""
        return self.n_max

    def _split(self, slots: Slots, stream: Stream, seen: _Seen) -> Rows:
        """Rows of a chunk: a pilot for the step sizes, then the systems that count."""
        look = particles.budgeted(
            self._margins(slots, seen), self.judge.batch_size, stream.budget
        )
        if not self.fixed:
            systems = self._start(slots, range(self.law.n_systems), look)
            every = np.ones(len(slots), dtype=bool)
            before = torch.zeros_like(slots.ids)
            return self._close(slots, systems, every, seen, before)
        learned = self._learn(slots, look)
        before = seen.evaluations.clone()
        systems = None
        if learned is not None:
            seen.failures.zero_()
            systems = self._start(slots, range(self.law.n_systems), look)
        if systems is None or learned is None:
            nobody = np.zeros(len(slots), dtype=bool)
            return self._close(slots, None, nobody, seen, before)
        tied = self._tied(systems, len(slots))
        self._run(systems, learned.table(), tied, seen, before, look)
        tied |= self._tied(systems, len(slots))
        return self._close(slots, systems, tied.cpu().numpy(), seen, before)

    def _learn(self, slots: Slots, look: Look) -> Steps | None:
        """Step sizes of a pilot; None where the budget or `n_max` has no room for particles."""
        if self.n_max < self.law.total:
            return None
        pilot = self._start(slots, range(PILOT, PILOT + 1), look)
        if pilot is None:
            return None
        most = -(-self.law.certify // self.law.n_systems)
        return particles.learn(self.seed, pilot, self.n_moves, most, look)

    def _start(self, slots: Slots, numbers: range, look: Look) -> Systems | None:
        """Systems of these numbers for every image, image by image."""
        every = torch.arange(len(slots), device=slots.ids.device)
        latents = self.sampler.latent_size(tuple(slots.images.shape[1:]))
        return particles.start(
            self.seed,
            slots.ids,
            torch.tensor(numbers, device=every.device).repeat(len(slots)),
            every.repeat_interleave(len(numbers)),
            (self.law.n_particles, latents),
            look,
        )

    def _tied(self, systems: Systems, n_images: int) -> Tensor:
        return particles.tied(systems).reshape(n_images, -1).any(1)

    def _run(
        self,
        systems: Systems,
        table: tuple[Tensor, Tensor],
        tied: Tensor,
        seen: _Seen,
        before: Tensor,
        look: Look,
    ) -> None:
        """Deaths in every system until its image is decided, its budget spent, or all fail."""
        n_images = len(tied)
        cost = self.n_moves * self.law.n_systems
        while True:
            total = systems.deaths.reshape(n_images, -1).sum(1)
            room = seen.evaluations - before + cost <= self.n_max
            stuck = systems.stuck.reshape(n_images, -1).any(1)
            going = (total < self.law.certify) & room & ~tied & ~stuck
            rows = (going[systems.owner] & (systems.level > 0)).nonzero()[:, 0]
            if not len(rows):
                return
            sizes = particles.size_at(table, systems.level[rows], systems.owner[rows])
            if (
                particles.step(self.seed, systems, rows, sizes, self.n_moves, look)
                is None
            ):
                return

    def _margins(self, slots: Slots, seen: _Seen) -> particles.MarginFn:
        margin_of = target_margins if self.judge.targeted else margins

        def look(z: Tensor, owner: Tensor) -> Tensor:
            images = self.sampler.from_latent(z, slots.images[owner])
            logits = self.judge.view(images)
            found = margin_of(logits, slots.reference[owner])
            bad = ~is_scored(logits, slots.reference[owner])
            found = torch.where(bad, -torch.inf, found)
            seen.failures.index_add_(0, owner, (found <= 0).long())
            seen.non_finite.index_add_(0, owner, bad.long())
            seen.evaluations.index_add_(0, owner, torch.ones_like(owner))
            return found

        return look

    def _close(
        self,
        slots: Slots,
        systems: Systems | None,
        tied: Array,
        seen: _Seen,
        before: Tensor,
    ) -> Rows:
        """Rows of a chunk; without systems (the budget ended first) nothing is said."""
        n = len(slots)
        deaths, ended = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool)
        images = slots.images
        if systems is not None:
            deaths = systems.deaths.reshape(n, -1).sum(1).cpu().numpy()
            ended = (systems.level <= 0).reshape(n, -1).all(1).cpu().numpy()
            slots.n = (seen.evaluations - before).cpu().numpy()
            slots.s = seen.failures.cpu().numpy()
            slots.worst_margin, images = self._worst(slots, systems)
        slots.n_drawn = slots.n_drawn + seen.evaluations.cpu().numpy()
        slots.non_finite = seen.non_finite.cpu().numpy() > 0
        known = (systems is not None) & ~tied
        columns = to.slot_columns(slots) | self._said(deaths, ended, known)
        return to.typed_rows(slots.index, columns, images if self.keeps else None)

    def _said(self, deaths: Array, ended: Array, known: Array) -> dict[str, Any]:
        """Verdict, estimate, bounds and p-values; nothing is said where not `known`."""
        lower, upper = self.law.bounds(deaths, ended)
        below, above = self.law.p_values(deaths, ended)
        verdict = np.where(
            deaths >= self.law.certify,
            int(Verdict.ROBUST),
            np.where(ended & (deaths <= self.law.refute), int(Verdict.NOT_ROBUST), 0),
        )
        nan = np.full(len(deaths), np.nan)
        return {
            "verdict": np.where(known, verdict, 0),
            "p_fail": np.where(known & ended, self.law.p_fail(deaths), nan),
            "p_fail_lower": np.where(known, lower, 0.0),
            "p_fail_upper": np.where(known, upper, 1.0),
            "p_value_robust": np.where(known, below, 1.0),
            "p_value_not_robust": np.where(known, above, 1.0),
            "log_e_robust": nan,
            "log_e_not_robust": nan,
            "n_deaths": np.where(known, deaths, -1),
        }

    def _worst(self, slots: Slots, systems: Systems) -> tuple[Array, Tensor]:
        """Smallest margin among the particles of each image, and that particle as an image."""
        n, d = len(slots), systems.z.shape[2]
        least, place = systems.margins.reshape(n, -1).min(1)
        z = systems.z.reshape(n, -1, d)[torch.arange(n, device=place.device), place]
        shown = self.sampler.from_latent(z, slots.images)
        return least.double().cpu().numpy(), shown
