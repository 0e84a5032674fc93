"""How are particles moved towards a rare failure? Many systems of the last-particle method at once.

A *system* is N latent points (standard normal vectors that a sampler turns into perturbed images)
with their margins. One step of a system: the particle with the largest margin L dies and is
replaced by a copy of another one, which a chain of preconditioned Crank-Nicolson proposals

    z' = sqrt(1 - s^2) z + s xi,    xi standard normal,

moves T times; a proposal is taken if its margin is below L, so that the chain leaves the law
conditioned on margin < L as it is. A system ends when all its particles fail (L <= 0). All systems
of a chunk of images take their steps together: one proposal of every system is one batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..models.meter import Budget
from ..numerics.gaussian import normals
from ..numerics.streams import keys, uniform

MarginFn = Callable[[Tensor, Tensor], Tensor]
"""(latents (R, d), image numbers (R,)) -> margins (R,); > 0 = no failure, -inf for NaN."""

GOAL = 0.3
"""Share of proposals that a good step size takes (Tit, Furon & Rousset 2021 aim at the same)."""
S_FIRST, S_LEAST, S_MOST = 0.5, 0.005, 1.0


@dataclass
class Systems:
    """R systems: latents z (R, N, d), margins (R, N), the image of each (R,), their keys (R,).

    deaths (R,): steps so far. plateaus, taken (R,): accepted proposals whose margin was exactly
    the old one and above 0, and all accepted ones. stuck (R,) bool: all particles have one margin
    above 0, so that none can be copied.
    """

    z: Tensor
    margins: Tensor
    owner: Tensor
    key: Tensor
    deaths: Tensor
    plateaus: Tensor
    taken: Tensor
    stuck: Tensor

    @property
    def level(self) -> Tensor:
        """The largest margin of each system (R,)."""
        return self.margins.amax(1)


@dataclass
class Steps:
    """How large a proposal is, by level: what a pilot run learned, one list an image.

    levels, sizes: lists over the pilot's steps of (G,) tensors; levels fall.
    """

    levels: list[Tensor] = field(default_factory=list)
    sizes: list[Tensor] = field(default_factory=list)

    def table(self) -> tuple[Tensor, Tensor]:
        """(levels, sizes), each (G, steps)."""
        return torch.stack(self.levels, 1), torch.stack(self.sizes, 1)


def size_at(table: tuple[Tensor, Tensor], level: Tensor, owner: Tensor) -> Tensor:
    """The pilot's step size (R,) at the first of its levels that is not above `level` (R,).

    >>> table = torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[0.9, 0.6, 0.3]])
    >>> size_at(table, torch.tensor([5.0, 2.0, 0.1]), torch.tensor([0, 0, 0]))
    tensor([0.9000, 0.6000, 0.3000])
    """
    levels, sizes = table
    place = (levels[owner] > level[:, None]).sum(1).clamp_max(levels.shape[1] - 1)
    return sizes[owner, place]


def start(
    seed: int,
    ids: Tensor,
    system: Tensor,
    owner: Tensor,
    shape: tuple[int, int],
    margin_of: Callable[[Tensor, Tensor], Tensor | None],
) -> Systems | None:
    """Systems of independent particles; None when the budget has no room for them.

    ids (G,): of the images. system, owner (R,): number and image of each system. shape: (N, d).
    R N forward row-passes.
    """
    n, d = shape
    key = keys(seed, ids[owner], "splitting", system)
    z = torch.stack([gaussians(seed, key, "particles", j, d) for j in range(n)], dim=1)
    flat = margin_of(z.reshape(-1, d), owner.repeat_interleave(n))
    if flat is None:
        return None
    zeros = torch.zeros_like(owner)
    return Systems(
        z,
        flat.reshape(-1, n),
        owner,
        key,
        zeros,
        zeros.clone(),
        zeros.clone(),
        zeros > 0,
    )


def gaussians(
    seed: int, key: Tensor, purpose: str, draw: int | Tensor, d: int
) -> Tensor:
    """(R, d) standard normal numbers of the streams `key` (R,)."""
    return normals(uniform(seed, key, purpose, draw, d + d % 2))[:, :d]


def step(
    seed: int,
    systems: Systems,
    rows: Tensor,
    sizes: Tensor,
    n_moves: int,
    margin_of: Callable[[Tensor, Tensor], Tensor | None],
) -> Tensor | None:
    """One death in each of the systems `rows` (A,): kill, copy, move. In place.

    sizes (A,): of the proposals. Returns the share of accepted proposals (A,), or None when the
    budget ended before the last move (then nothing has changed). A n_moves forward row-passes.
    A system whose particles all have one margin does not change but becomes `stuck`: a copy from
    there would be a death without any progress, and such deaths would certify.
    """
    margins, key, deaths = (
        systems.margins[rows],
        systems.key[rows],
        systems.deaths[rows],
    )
    d = systems.z.shape[2]
    level, worst = margins.max(1)
    nearer = margins < level[:, None]
    other = _one_of(nearer, uniform(seed, key, "copy", deaths, 1)[:, 0])
    stuck = ~nearer.any(1)
    z = systems.z[rows, other]
    margin = margins.gather(1, other[:, None])[:, 0]
    shrink, grow = (1 - sizes**2).sqrt()[:, None], sizes[:, None]
    taken, plateaus = torch.zeros_like(deaths), torch.zeros_like(deaths)
    for move in range(n_moves):
        noise = gaussians(seed, key, "move", deaths * n_moves + move, d)
        proposal = noise.mul_(grow).addcmul_(shrink, z)
        found = margin_of(proposal, systems.owner[rows])
        if found is None:
            return None
        good = (found < level) & ~stuck
        plateaus += good & (found == margin) & (found > 0)
        taken += good
        z = torch.where(good[:, None], proposal, z)
        margin = torch.where(good, found, margin)
    z = torch.where(stuck[:, None], systems.z[rows, worst], z)
    systems.z[rows, worst] = z
    systems.margins[rows, worst] = margin
    systems.stuck[rows] = stuck
    systems.deaths[rows] += (~stuck).long()
    systems.plateaus[rows] += plateaus
    systems.taken[rows] += taken
    return taken / n_moves


def _one_of(allowed: Tensor, u: Tensor) -> Tensor:
    """A true entry (A,) of each row of `allowed` (A, N), all alike likely for u (A,) uniform.

    0 where a row has none.
    """
    count = allowed.sum(1)
    number = (u * count).long().minimum(count - 1)
    return (allowed & (allowed.cumsum(1) == number[:, None] + 1)).int().argmax(1)


def learn(
    seed: int,
    pilot: Systems,
    n_moves: int,
    most: int,
    margin_of: Callable[[Tensor, Tensor], Tensor | None],
) -> Steps | None:
    """Run one pilot system an image to its end, or for `most` steps, and note its step sizes.

    The size is multiplied by exp(share accepted - GOAL) after each step. None when the budget
    ended. The pilot's particles are used for nothing else, so that the sizes are fixed beforehand
    for the systems that count.
    """
    size = torch.full_like(pilot.margins[:, 0], S_FIRST)
    learned = Steps([pilot.level], [size.clone()])
    for _ in range(most):
        alive = ((pilot.level > 0) & ~pilot.stuck).nonzero()[:, 0]
        if not len(alive):
            break
        share = step(seed, pilot, alive, size[alive], n_moves, margin_of)
        if share is None:
            return None
        size[alive] = (size[alive] * (share - GOAL).exp()).clamp(S_LEAST, S_MOST)
        learned.levels.append(pilot.level)
        learned.sizes.append(size.clone())
    return learned


def tied(systems: Systems) -> Tensor:
    """Whether the margins of each system (R,) repeat where independent draws should differ.

    Those of failing particles may: no level is ever set by them.
    Two of its first particles alike, one accepted proposal in ten with exactly the old margin, or
    all particles at one margin above 0.
    """
    ordered = systems.margins.sort(1).values
    repeated = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] > 0)
    fresh = repeated.any(1) & (systems.deaths == 0)
    return fresh | systems.stuck | (systems.plateaus * 10 > systems.taken.clamp_min(1))


def budgeted(
    margin_of: MarginFn, batch_size: int, budget: Budget | None
) -> Callable[[Tensor, Tensor], Tensor | None]:
    """`margin_of` in batches of at most `batch_size` rows; None when the budget has ended."""

    def margins(z: Tensor, owner: Tensor) -> Tensor | None:
        parts = []
        for begin in range(0, len(z), batch_size):
            part = slice(begin, begin + batch_size)
            if budget is not None and not budget.allows(len(owner[part])):
                return None
            parts.append(margin_of(z[part], owner[part]))
        return torch.cat(parts) if parts else z.new_zeros(0)

    return margins
