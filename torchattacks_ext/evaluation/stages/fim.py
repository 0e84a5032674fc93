"""How sensitive is the output distribution, without any attack? FIMScore as a stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from ...attacks.base.finished import Finished
from ...attacks.fimscore.fimscore import FIMScore
from ...attacks.fimscore.rows import unreached
from ...data.stream import Batch
from ...errors import ConfigError
from ...results.base.columns import Rows
from ...results.base.result import Result
from ...results.sensitivity import Sensitivity
from ..plan import Plan
from .base import RowStage, Shared, StageRows, Tally
from .probing import common_settings, origin_of, refuse_unknown, stand_in

ARGUMENTS = (
    "method",
    "tol",
    "dtype",
    "temperature",
    "jvp",
    "n_directions",
    "target",
    "grey",
    "kl",
    "smooth",
)


class FIMStage(RowStage):
    """One FIMScore; lower lambda = less sensitive, and no statement about an attacker.

    Arguments: method, tol, dtype ("float64" or None), temperature (a number), jvp, n_directions,
    target, grey, kl, smooth, as in
    :class:`~torchattacks_ext.FIMScore`; norm, seed and batch_size are the plan's. Raises
    ConfigError for others and for values outside their domains.
    """

    kind = "fim"
    guarantee = (
        "local diagnostic of the output distribution, second order at the image: no certificate, "
        "no accuracy; small where a model is confident or its gradient is masked"
    )

    def __init__(self, label: str, plan: Plan, settings: Mapping[str, Any]) -> None:
        super().__init__(label, plan, settings)
        refuse_unknown("fim", settings, ARGUMENTS)
        self._probe = build_score(plan, settings)
        self.settings = {"estimator": self._probe.method} | self.settings
        self.needs_gradient = self._probe.method != "blackbox"
        self._origin: Mapping[str, Any] = {}

    @property
    def cost_per_image(self) -> float | None:
        """Row-passes of an image of ten classes by the exact method, the Linf value included."""
        return 24.0

    def rows(self, batch: Batch, shared: Shared) -> StageRows:
        """The score of every row, right or wrong; the graph of a batch stays in memory."""
        probe = self._probe
        if not self._origin:
            probe.set_model(shared.view.model, shared.view.meter)
            self._origin = origin_of(shared, batch.images.device, self.plan)
        whole = replace(batch, index=torch.arange(len(batch)))
        probe.step_checks.clear()
        probe.missing.clear()
        finished = Finished("none")
        for rows in probe.score_batch(whole):
            finished.add(rows)
        result = Sensitivity.from_table(
            finished.table,
            settings=probe.settings(),
            provenance=self._origin,
            sidecars=(),
            groups=batch.groups,
        )
        told = {"steps": dict(probe.step_checks), "missing": dict(probe.missing)}
        return StageRows(result, failure=finished.failure, tally=told)

    def failed(self, batch: Batch) -> Rows:
        """Rows that were not scored."""
        return unreached(batch, keeps=False)

    def shrink(self, size: int) -> None:
        """At most so many rows a graph."""
        super().shrink(size)
        self._probe.batch_size = min(size, self._probe.batch_size)

    def finish(self, result: Result, tallies: Sequence[Tally] = ()) -> Result:
        """Doubts about the whole run."""
        probe = self._probe
        for counts, key in ((probe.step_checks, "steps"), (probe.missing, "missing")):
            counts.clear()
            for tally in tallies:
                counts.update(tally[key])
        return result.with_flags(self._probe.doubts(result))


def build_score(plan: Plan, settings: Mapping[str, Any]) -> FIMScore:
    """The score of a plan; on a stand-in for the model wrong settings fail before any pass."""
    known = dict(settings)
    if known.get("temperature") == "fit":
        raise ConfigError(
            "stage 'fim' cannot fit a temperature: it has no other images; fit it with "
            "FIMScore.fit_temperature and give the number"
        )
    if isinstance(known.get("dtype"), str):
        known["dtype"] = {"float64": torch.float64, "float32": torch.float32}.get(
            known["dtype"], known["dtype"]
        )
    common = common_settings(plan) | {"batch_size": min(plan.batch_size, 64)}
    return FIMScore(stand_in, **common, **known)
