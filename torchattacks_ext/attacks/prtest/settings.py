"""What was PRTest told, and which test do its words mean? Settings, and the design they give."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ...numerics.arguments import parse_real, parse_whole, plain_scalar
from ...numerics.rates.rules import Rule
from ...numerics.rates.splitting import LastParticle
from ...results.base.facts import Flag
from ...samplers.base import Sampler
from ...samplers.choose import choose_sampler
from ..base.settings import ProbeSettings
from . import design
from .design import CleanPolicy, Reference, Test

N_MEAN = 16
"""Draws for the mean failure rate where every image is tested and nobody says how many."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PRTestSettings(ProbeSettings):
    """The arguments of :class:`~torchattacks_ext.PRTest` as given, and what follows from them.

    law: the perturbation. engine: the test with its tables. most_draws: n_max, also where nobody
    said. mean_draws: n_mean likewise. Raises ConfigError for values outside their domains, and for
    those that do not go together.

    >>> PRTestSettings(eps=0.1, norm="Linf", test="fixed", significance=0.01).most_draws
    6314
    """

    sampler: Any = None
    tolerance: float = 1e-2
    significance: float = 1e-3
    n_max: int | None = None
    reference: Reference = "label"
    test: Test = "eprocess"
    clean_policy: CleanPolicy = "fail"
    n_mean: int | None = None
    shared_noise: bool = False
    n_systems: int = 8
    n_particles: int = 16
    n_moves: int = 20
    law: Sampler = field(init=False)
    engine: Rule | LastParticle = field(init=False)
    most_draws: int = field(init=False)
    mean_draws: int = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        design.choose("reference", self.reference, Reference)
        design.choose("test", self.test, Test)
        design.choose("clean_policy", self.clean_policy, CleanPolicy)
        self._settle_numbers()
        mean_draws = self.n_mean
        if mean_draws is None:
            mean_draws = N_MEAN if self.clean_policy == "sample" else 0
        law = choose_sampler(self.sampler, self.eps, self.norm, self.bounds)
        engine = self._design(law)
        most_draws = design.most_draws(engine, self.n_max, self.n_moves)
        derived: dict[str, Any] = dict(law=law, engine=engine, most_draws=most_draws)
        derived |= dict(mean_draws=mean_draws, shared_noise=bool(self.shared_noise))
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    def _settle_numbers(self) -> None:
        """Numbers as Python's own; what the design itself checks only loses its other type."""
        found: dict[str, Any] = {}
        for name in ("tolerance", "significance"):
            found[name] = parse_real(getattr(self, name), name)
        for name in ("n_max", "n_systems", "n_particles"):
            found[name] = plain_scalar(getattr(self, name))
        if self.n_mean is not None:
            found["n_mean"] = parse_whole(self.n_mean, "n_mean", 0)
        found["n_moves"] = parse_whole(self.n_moves, "n_moves", 1)
        for name, value in found.items():
            object.__setattr__(self, name, value)

    def _design(self, law: Sampler) -> Rule | LastParticle:
        levels = self.tolerance, self.significance
        if self.test == "splitting":
            return design.make_splitting(law, *levels, self.n_systems, self.n_particles)
        return design.make_rule(self.test, *levels, self.n_max)

    @property
    def anytime(self) -> bool:
        """Whether the test stays valid when it goes on with a larger n_max."""
        return isinstance(self.engine, Rule) and self.engine.anytime

    @property
    def draws_to_certify(self) -> int:
        """Draws of an image that never fails (splitting: evaluations), at most `most_draws`."""
        return design.draws_to_certify(self.engine, self.most_draws, self.n_moves)

    def doubts(self) -> tuple[Flag, ...]:
        """What is known beforehand: a design that can certify nothing, or hardly anything."""
        return design.doubts(self.engine, self.most_draws, self.n_moves)

    def facts(self) -> dict[str, Any]:
        """Every setting that may change a decision; `n_max` is the effective cap, a look."""
        found: dict[str, Any] = super().facts() | {
            "sampler": self.law.settings(),
            "test": self.test,
            "tolerance": self.tolerance,
            "significance": self.significance,
            "reference": self.reference,
            "clean_policy": self.clean_policy,
            "n_mean": self.mean_draws,
            "shared_noise": self.shared_noise,
            "guarantee": "ideal-kernel" if self.test == "splitting" else "exact",
        }
        if isinstance(self.engine, Rule):
            return found | {"n_max": self.engine.boundaries.n_max}
        return found | {
            "n_max": self.most_draws,
            "n_systems": self.engine.n_systems,
            "n_particles": self.engine.n_particles,
            "n_moves": self.n_moves,
        }
