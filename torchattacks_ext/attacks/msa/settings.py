"""What was MSA told? Its settings, frozen, and the lines and sources that follow from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from ...engines.judge.spec import AttackSpec
from ...engines.own.plans import PLANS as OWN_PLANS
from ...errors import ConfigError
from ...numerics.arguments import parse_whole
from ...numerics.unit import check_box
from ..base.settings import ProbeSettings
from . import plans
from .plans import EngineName, Headline, Version


@dataclass(frozen=True, kw_only=True, eq=False)
class MSASettings(ProbeSettings):
    """The settings of :class:`~torchattacks_ext.MSA`, surrogates left out: those are models.

    Arguments and their domains are those of the class; plan: lines for version "custom", else None,
    so that the lines of other versions follow the version. Raises ConfigError for values outside
    their domains.

    >>> quick = MSASettings(eps=0.1, norm="Linf", version="quick")
    >>> quick.plan, [line.label for line in quick.lines][:2], quick.is_sequence
    (None, ['noise-10', 'apgd-ce-20'], False)
    """

    version: Version = "standard"
    engine: EngineName = "autoattack"
    plan: Iterable[AttackSpec | Mapping[str, Any]] | None = None
    probe_every: int = 5
    surrogate_normalization: str | None = "same"
    deployed_batch: int | None = None
    partitions: int = 3
    headline: Headline = "iso"
    fresh_draws: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_names()
        lines = plans.make_plan(self.version, self.plan, self.engine, self.norm)
        # given lines may be an iterator, which can be read once
        object.__setattr__(self, "plan", None if self.plan is None else lines)
        if self.is_sequence or any(line.kind != "noise" for line in self.lines):
            check_box(self.bounds, "MSA")
        self._settle_wholes()
        if self.surrogate_normalization not in ("same", None):
            raise ConfigError(
                f"surrogate_normalization={self.surrogate_normalization!r} is neither 'same' nor "
                "None"
            )

    def _settle_wholes(self) -> None:
        least = {"probe_every": 0, "partitions": 1, "fresh_draws": 1}
        if self.deployed_batch is not None:
            least["deployed_batch"] = 1
        for name, bound in least.items():
            value = parse_whole(getattr(self, name), name, bound)
            object.__setattr__(self, name, value)

    def _check_names(self) -> None:
        for name, domain in (("engine", EngineName), ("headline", Headline)):
            if getattr(self, name) not in get_args(domain):
                raise ConfigError(
                    f"{name}={getattr(self, name)!r} is not one of {get_args(domain)}"
                )
        if self.engine == "torchattacks" and self.norm == "L1":
            raise ConfigError(
                'engine="torchattacks" has no L1: say engine="autoattack", or another norm'
            )

    @property
    def lines(self) -> tuple[AttackSpec, ...]:
        """What is run, line by line; none where AutoAttack's own sequence is."""
        return plans.make_plan(self.version, self.plan, self.engine, self.norm)

    @property
    def is_sequence(self) -> bool:
        """Whether AutoAttack's own protocol is run, over the whole data set at once."""
        return self.version in plans.SEQUENCES

    @property
    def is_own(self) -> bool:
        """Whether the plan is the own engine's, for targets with a fixed answer to an image."""
        own = self.engine == "own" and self.version in OWN_PLANS
        return own or any(line.is_own for line in self.lines)

    @property
    def unit_is_batch(self) -> bool:
        """Whether what is found of a row depends on the rows that share its batch."""
        return self.is_sequence or self.engine == "torchattacks"

    @property
    def deployed_rows(self) -> int:
        """Rows of a batch in use, for targets that depend on the batch."""
        return self.deployed_batch or self.batch_size

    def sources(self, surrogates: Iterable[str]) -> tuple[str, ...]:
        """Everything that may break a row, "model/attack"; surrogates: their names.

        Raises ConfigError for a line on a model that is not there.
        """
        return plans.sources(self.version, self.lines, surrogates)

    def facts(self) -> dict[str, Any]:
        """Every setting that may change a decision, in JSON types; part of a result's digest."""
        own = {
            "version": self.version,
            "engine": self.engine,
            "plan": plans.plan_hash(self.version, self.lines),
            "probe_every": self.probe_every,
            "surrogate_normalization": self.surrogate_normalization,
        }
        packed = {"batch_size": self.batch_size} if self.unit_is_batch else {}
        return super().facts() | own | packed
