"""Do the moves of the last-particle method keep the laws that its counts rest on?"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor

from torchattacks_ext.engines.particles import (
    Systems,
    _one_of,
    gaussians,
    learn,
    size_at,
    start,
    step,
    tied,
)
from torchattacks_ext.numerics.streams import keys

IDS = torch.arange(3)


def along_first(z: Tensor, owner: Tensor) -> Tensor:
    """A half-space: it fails where the first latent number is 3 or more."""
    return 3 - z[:, 0]


def begun(
    n_systems: int = 4,
    n_particles: int = 8,
    d: int = 5,
    margin_of: Callable[[Tensor, Tensor], Tensor | None] = along_first,
) -> Systems:
    owner = torch.arange(len(IDS)).repeat_interleave(n_systems)
    number = torch.arange(n_systems).repeat(len(IDS))
    systems = start(0, IDS, number, owner, (n_particles, d), margin_of)
    assert systems is not None
    return systems


def every(systems: Systems) -> Tensor:
    return torch.arange(len(systems.owner))


# ---------------------------------------------------------------- laws
def test_latents_are_independent_standard_normal_numbers() -> None:
    """Kolmogorov and Smirnov, and all correlations; false alarm below 1e-5 together."""
    key = keys(0, torch.arange(4000), "splitting", 0)
    z = gaussians(0, key, "particles", 0, 5).double()
    assert stats.kstest(z.flatten().numpy(), "norm").pvalue > 1e-6
    other = gaussians(0, key, "particles", 1, 5).double()
    both = torch.corrcoef(torch.cat([z, other], 1).T) - torch.eye(10)
    assert float(both.abs().max()) < 5.6 / 4000**0.5  # 45 pairs, 2e-8 each


@pytest.mark.parametrize("size", [0.05, 0.5, 1.0])
def test_proposals_keep_the_normal_law(size: float) -> None:
    """Where each is taken: N(0, 1) again, and near where it was; false alarm 2e-6 each."""

    def low(z: Tensor, owner: Tensor) -> Tensor:
        return torch.zeros(len(z))

    owner = torch.arange(3000)
    systems = start(1, owner, torch.zeros_like(owner), owner, (2, 3), low)
    assert systems is not None
    systems.margins[:, 0] = 1.0
    before = systems.z[:, 1].clone()
    share = step(1, systems, owner, torch.full((3000,), size), 3, low)
    assert share is not None and bool((share == 1).all())
    moved = systems.z[:, 0]
    assert torch.equal(systems.z[:, 1], before)
    assert stats.kstest(moved.flatten().numpy(), "norm").pvalue > 1e-6
    found = float(torch.corrcoef(torch.stack([moved, before]).flatten(1))[0, 1])
    expected = (1 - size**2) ** 1.5
    assert abs(found - expected) < 5 / 9000**0.5


def test_deaths_of_a_half_space_follow_the_ideal_law() -> None:
    """Mean of 240 systems in five deviations of a Poisson law: false alarm 6e-7 if ideal."""
    systems = begun(n_systems=80, n_particles=8, d=3)
    sizes = torch.full((len(systems.owner),), 0.5)
    while len(rows := (systems.level > 0).nonzero()[:, 0]):
        assert step(0, systems, rows, sizes[rows], 20, along_first) is not None
    mean = -8 * float(stats.norm.logsf(3))
    deaths = systems.deaths.double()
    assert abs(float(deaths.mean()) - mean) < 5 * (mean / len(deaths)) ** 0.5
    assert not bool(tied(systems).any())


# ---------------------------------------------------------------- one step
def test_the_level_never_rises_and_failing_particles_stay() -> None:
    systems = begun(n_systems=2)
    sizes = torch.full((len(systems.owner),), 0.4)
    for _ in range(60):
        rows = (systems.level > 0).nonzero()[:, 0]
        if not len(rows):
            break
        level, margins = systems.level.clone(), systems.margins.clone()
        z, deaths = systems.z.clone(), systems.deaths.clone()
        step(0, systems, rows, sizes[rows], 5, along_first)
        changed = systems.margins != margins
        assert bool((systems.level <= level).all())
        assert not bool((changed & (margins <= 0)).any())
        assert bool((changed.sum(1) <= 1).all())
        assert torch.equal(systems.deaths - deaths, (level > 0).long())
        assert torch.equal(systems.z[~changed], z[~changed])
        shown = along_first(systems.z.flatten(0, 1), every(systems))
        torch.testing.assert_close(shown.reshape(margins.shape), systems.margins)


def test_one_of_takes_each_allowed_place_alike() -> None:
    allowed = torch.tensor([[1, 0, 1, 0, 1], [0, 0, 0, 1, 0], [1, 1, 1, 1, 0]]).bool()
    u = (torch.arange(12) + 0.5) / 12
    for row in allowed:
        found = _one_of(row.expand(12, 5), u).bincount(minlength=5)
        assert torch.equal(found, row.long() * (12 // int(row.sum())))
    last = torch.full((3,), 1 - 2.0**-24)
    assert _one_of(allowed, last).tolist() == [4, 3, 3]
    assert _one_of(torch.zeros(2, 5).bool(), u[:2]).tolist() == [0, 0]


def test_a_death_without_progress_was_counted() -> None:
    """All particles at one margin: copies stayed there, and their deaths certified the image."""
    systems = begun(margin_of=lambda z, owner: torch.ones(len(z)))
    before = systems.z.clone()
    sizes = torch.full((len(systems.owner),), 0.4)
    step(0, systems, every(systems), sizes, 5, along_first)
    assert bool(systems.stuck.all()) and int(systems.deaths.sum()) == 0
    assert bool(tied(systems).all())
    assert torch.equal(systems.z, before) and bool((systems.margins == 1).all())


def test_a_budget_that_ends_within_a_step_changes_nothing() -> None:
    systems, calls = begun(), []

    def three(z: Tensor, owner: Tensor) -> Tensor | None:
        calls.append(len(z))
        return along_first(z, owner) if len(calls) <= 3 else None

    before = [value.clone() for value in vars(systems).values()]
    sizes = torch.full((len(systems.owner),), 0.4)
    assert step(0, systems, every(systems), sizes, 5, three) is None
    assert all(torch.equal(a, b) for a, b in zip(before, vars(systems).values()))


def test_systems_do_not_depend_on_their_company() -> None:
    whole, sizes = begun(), torch.full((12,), 0.4)
    for _ in range(5):
        step(0, whole, every(whole), sizes, 4, along_first)
    alone = start(0, IDS, torch.tensor([2]), torch.tensor([1]), (8, 5), along_first)
    assert alone is not None
    for _ in range(5):
        step(0, alone, torch.tensor([0]), sizes[:1], 4, along_first)
    assert torch.equal(alone.z[0], whole.z[6]) and int(whole.deaths[6]) == 5


# ---------------------------------------------------------------- step sizes
def test_size_at_takes_the_first_level_that_is_not_above() -> None:
    levels = torch.tensor([[3.0, 2.0, 1.0], [30.0, 20.0, 10.0]])
    sizes = torch.tensor([[0.9, 0.6, 0.3], [0.8, 0.5, 0.2]])
    level = torch.tensor([9.0, 3.0, 2.5, 1.0, -1.0, 25.0, 9.0])
    owner = torch.tensor([0, 0, 0, 0, 0, 1, 1])
    expected = torch.tensor([0.9, 0.9, 0.6, 0.3, 0.3, 0.5, 0.2])
    assert torch.equal(size_at((levels, sizes), level, owner), expected)


def test_a_pilot_learns_smaller_steps_as_the_level_falls() -> None:
    pilot = begun(n_systems=1, n_particles=16, d=20)
    learned = learn(0, pilot, 20, 400, along_first)
    assert learned is not None
    levels, sizes = learned.table()
    assert levels.shape == sizes.shape and bool((levels[:, -1] <= 0).all())
    assert bool((levels.diff(dim=1) <= 0).all())
    assert bool((sizes > 0).all() and (sizes <= 1).all())
    assert bool((sizes[:, -1] < sizes[:, 10]).all())
    short = learn(0, begun(n_systems=1), 20, 3, along_first)
    assert short is not None and short.table()[0].shape == (3, 4)
