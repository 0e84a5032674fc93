"""How does accuracy fall with the radius? One attack at ascending radii as a stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import torch

from ...attacks.base.resuming import rows_at
from ...attacks.msa.msa import MSA
from ...data.stream import Batch
from ...engines.judge.active import Array
from ...engines.own.sweep import ascending
from ...errors import ConfigError
from ...numerics.arguments import parse_number
from ...results.attack import AttackResult
from ...results.base.columns import Rows, Table
from ...results.base.facts import Flag
from ...results.base.result import Result
from ...results.sweep import Sweep
from ..plan import Plan
from ..zoo.catalogue import attack_info
from ..zoo.foreign import is_foreign
from ..zoo.table import parameters_of
from .attack import AttackStage
from .base import RowStage, Shared, StageRows
from .clean import labels_of, status_of
from .foreign import ForeignStage
from .msa.judge import unsure
from .probing import common_settings, origin_of, refuse_unknown, stand_in

SHARES = (0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
"""Default radii, in parts of the plan's."""
MOST_RADII = 50
REACH = 2.5
"""How far the steps of an attack carry at each radius, where alpha is not given."""
SLACK = 1e-6
"""Relative room for the rounding of a norm."""
OF_MSA = ("version", "engine", "plan", "surrogates", "probe_every")


class SweepStage(RowStage):
    """Robust accuracy at ascending radii, never rising; only rows that are right are attacked.

    Arguments: attack, the name of an attack of torchattacks, a "package.module:Class", or "msa"
    (default "PGD", with 20 steps); radii, at most 50, ascending from above 0, in pixel units
    ("8/255" is understood; default 1/8 to 2 times the plan's); all others are those of the attack.
    A length (alpha) is meant at the plan's radius and scales with it; alpha is 2.5 radii over steps
    where it is not given. A row broken at one radius is broken at all larger ones, and is not
    attacked again; a change that an attack finds beyond its ball counts at the radii that hold it.
    "msa" (arguments version, engine, plan, surrogates, probe_every; default version "fast" of
    engine "own") is :meth:`~torchattacks_ext.MSA.curve`: the largest radius first, then bisection.
    Not part of the worst case of the report. Raises ConfigError for other arguments and values.
    """

    kind = "sweep"
    guarantee = (
        "upper bounds of the true robust accuracies: no attack proves robustness"
    )

    def __init__(self, label: str, plan: Plan, settings: Mapping[str, Any]) -> None:
        super().__init__(label, plan, settings)
        arguments = dict(settings)
        name = str(arguments.pop("attack", "PGD"))
        self.radii = _radii(arguments.pop("radii", None), plan)
        self.method = "MSA" if name.lower() == "msa" else name
        self.unit: Literal["row", "group"] = "row" if self.method == "MSA" else "group"
        self._stages: list[AttackStage] = []
        self._probe: MSA | None = None
        self._origin: Mapping[str, Any] = {}
        if self.method == "MSA":
            refuse_unknown(f"sweep of {name}", arguments, OF_MSA)
            own = {} if arguments else {"version": "fast", "engine": "own"}
            largest = common_settings(plan) | {"eps": self.radii[-1]}
            self._probe = MSA(stand_in, **largest, **(own | arguments))
            said = {"version": self._probe.version, "engine": self._probe.engine}
            if self._probe.is_sequence:
                raise ConfigError(
                    f"version={self._probe.version!r} attacks the data as a whole, at one radius: "
                    "take version 'standard', or 'fast' with engine='own'"
                )
        else:
            if not is_foreign(name):
                self.method = attack_info(name).name
            said = arguments if "attack" in settings else {"steps": 20} | arguments
            self._stages = [self._stage(eps, said) for eps in self.radii]
        self.needs_gradient = any(stage.needs_gradient for stage in self._stages)
        self.settings = {"attack": self.method, "radii": list(self.radii), **said}

    def _stage(self, eps: float, arguments: Mapping[str, Any]) -> AttackStage:
        """The attack at one radius."""
        plan = self.plan.model_copy(update={"eps": eps})
        scale = eps / self.plan.eps if self.plan.eps else 1.0
        own = dict(arguments)
        if is_foreign(self.method):
            return ForeignStage(self.label, plan, {"attack": self.method} | own)
        known = parameters_of(self.method)
        if "alpha" in own:
            own["alpha"] = scale * parse_number(own["alpha"], f"{self.method}: alpha")
        elif "alpha" in known:
            steps = own.get("steps", known["steps"].default if "steps" in known else 1)
            own["alpha"] = REACH * eps / int(steps) if int(steps) > 1 else eps
        return AttackStage(self.label, plan, {"attack": self.method} | own)

    @property
    def notes(self) -> tuple[str, ...]:
        """Caveats of the attack."""
        return tuple(dict.fromkeys(self._caveats()))

    def _caveats(self) -> Iterator[str]:
        if self._stages:
            yield from self._stages[-1].notes

    @property
    def cost_per_image(self) -> float | None:
        """Not known beforehand: it depends on how soon rows fall."""
        return None

    def accepts(self, model: Any) -> None:
        """ConfigError for a model that the attack cannot work on."""
        for stage in self._stages[:1]:
            stage.accepts(model)

    def unfit(self, n_classes: int, shape: tuple[int, ...]) -> str | None:
        """What the attack says."""
        return self._stages[0].unfit(n_classes, shape) if self._stages else None

    def rows(self, batch: Batch, shared: Shared) -> StageRows:
        """The radius at which each right row falls; the others cost nothing."""
        if not self._origin:
            self._origin = origin_of(shared, batch.images.device, self.plan)
            if self._probe is not None:
                self._probe.set_model(shared.view.model, shared.view.meter)
        right = np.flatnonzero(~shared.clean.failed)
        breaks = np.full(len(batch), len(self.radii))
        flags: list[Flag] = []
        if len(right):
            part = rows_at(batch, torch.from_numpy(right))
            walk = self._by_radius if self._probe is None else self._at_once
            breaks[right], flags = walk(part, shared, right)
        clean = torch.from_numpy(~shared.clean.failed)
        rows = _columns(batch, status_of(shared.clean), clean, torch.from_numpy(breaks))
        result: Result = Sweep.from_table(
            Table([Rows(torch.arange(len(batch)), rows)]),
            settings=self._facts(),
            provenance=self._origin,
            groups=batch.groups,
        )
        return StageRows(result.with_flags(flags))

    def _facts(self) -> dict[str, Any]:
        plan = self.plan
        return {
            "method": self.method,
            "eps": self.radii[-1],
            "norm": plan.norm,
            "radii": list(self.radii),
            "seed": plan.seed,
            "outputs": plan.outputs,
            "arguments": {
                k: v for k, v in self.settings.items() if k not in ("attack", "radii")
            },
        }

    def _by_radius(
        self, batch: Batch, shared: Shared, right: Array
    ) -> tuple[Array, list[Flag]]:
        """Radius after radius, the smallest first, on rows that still stand."""
        number = np.full(len(batch), len(self.radii))
        reach = np.array(self.radii) * (1 + SLACK)
        flags: list[Flag] = []
        for i, stage in enumerate(self._stages):
            open_rows = np.flatnonzero(number > i)
            if not len(open_rows):
                break
            part = rows_at(batch, torch.from_numpy(open_rows))
            own = shared.on(shared.clean.take(right[open_rows]))
            found = stage.rows(part, own).result
            assert isinstance(found, AttackResult)
            flags += found.flags
            fell = np.searchsorted(reach, found.found_norm.numpy())  # nan: beyond all
            number[open_rows] = np.minimum(number[open_rows], fell)
            broken = (found.norm.numpy() <= reach[i]) & (found.margin.numpy() < 0)
            number[open_rows[broken]] = np.minimum(number[open_rows[broken]], i)
        return number, flags

    def _at_once(
        self, batch: Batch, shared: Shared, right: Array
    ) -> tuple[Array, list[Flag]]:
        """MSA's own curve: the largest radius first, then bisection."""
        assert self._probe is not None
        found = self._probe.curve_rows(batch, self.radii, shared.traits)
        number = np.where(
            found.clean_correct.numpy(), found.breaks.numpy(), len(self.radii)
        )
        odd = int((~found.clean_correct).sum())
        return number, [unsure(odd)] if odd else []

    def shrink(self, size: int) -> None:
        """At most so many rows a pass, at every radius."""
        super().shrink(size)
        for stage in self._stages:
            stage.shrink(size)
        if self._probe is not None:
            self._probe.batch_size = size

    def failed(self, batch: Batch) -> Rows:
        """Rows that were not attacked."""
        none = torch.full((len(batch),), -1)
        return Rows(batch.index, _columns(batch, none.to(torch.int8), none, none))


def _columns(
    batch: Batch, status: torch.Tensor, right: torch.Tensor, breaks: torch.Tensor
) -> dict[str, torch.Tensor]:
    return {
        "ids": batch.ids.cpu(),
        "status": status,
        "reference": labels_of(batch).cpu(),
        "clean_correct": right.to(torch.int8),
        "breaks": breaks.to(torch.int64),
    }


def _radii(given: Any, plan: Plan) -> tuple[float, ...]:
    if given is None:
        if not plan.eps:
            raise ConfigError("stage 'sweep' needs radii= where the plan's eps is 0")
        given = [share * plan.eps for share in SHARES]
        if plan.norm == "Linf" and plan.bounds in ((0.0, 1.0), (0, 1)):
            given = [eps for eps in given if eps <= 1]
    found = ascending(given)
    if len(found) > MOST_RADII:
        raise ConfigError(f"radii= names {len(found)} radii; {MOST_RADII} at most")
    return found
