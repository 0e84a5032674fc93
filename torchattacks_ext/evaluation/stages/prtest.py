"""How often does the model fail under random perturbation? PRTest as a stage."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...attacks.prtest import PRTest
from ...data.stream import Batch
from ...errors import ConfigError, ReliabilityWarning
from ...numerics.sequential import check_design
from ..plan import Plan
from .base import RowStage, Shared, StageRows
from .clean import labels_of

ARGUMENTS = ("sampler", "tolerance", "significance", "n_max", "reference", "keep")


class PRTestStage(RowStage):
    """One PRTest at the plan's ball; arguments: tolerance, significance, n_max, reference, sampler, keep."""

    kind = "prtest"
    guarantee = (
        "each verdict is wrong with probability at most `significance`, whenever the run stopped; a "
        "claim about random draws only, not about an adversary"
    )

    def __init__(self, label: str, plan: Plan, settings: Mapping[str, Any]) -> None:
        super().__init__(label, plan, settings)
        wrong = sorted(set(settings) - set(ARGUMENTS))
        if wrong:
            raise ConfigError(
                f"stage 'prtest' has no argument {wrong[0]!r}; it takes {ARGUMENTS}"
            )
        self._probe: PRTest | None = None
        self._least = self._check()

    def _check(self) -> int:
        """Build the test once on a stand-in, so that wrong settings fail before any pass."""
        probe = self._build(_stand_in)
        self.settings = {
            "tolerance": probe.tolerance,
            "significance": probe.significance,
            "n_max": probe.n_max,
        } | self.settings
        return check_design(probe.tolerance, probe.significance, probe.n_max)

    def _build(self, model: Any) -> PRTest:
        plan = self.plan
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReliabilityWarning)
            return PRTest(
                model,
                eps=plan.eps,
                norm=plan.norm,
                seed=plan.seed,
                batch_size=plan.batch_size,
                bounds=plan.bounds,
                outputs=plan.outputs,  # type: ignore[arg-type]
                **self.settings,
            )

    @property
    def cost_per_image(self) -> float | None:
        """Draws of an image that never fails; an image near the tolerance takes up to n_max."""
        return float(self._least)

    def rows(self, batch: Batch, shared: Shared) -> StageRows:
        """Measure one batch; its warnings become flags of the report."""
        probe = self._probe
        if probe is None:
            probe = self._probe = self._build(shared.view.model)
            probe._meter = shared.view.meter
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReliabilityWarning)
            result = probe.measure(batch.images, labels_of(batch), ids=batch.ids)

        def worst(rows: Tensor) -> Tensor:
            draws = result.worst_draw[rows]
            shown = probe.replay(batch.images[rows], batch.ids[rows], draws.clamp_min(0))
            clean = (draws < 0).reshape(-1, *[1] * (shown.dim() - 1)).to(shown.device)
            return batch.images[rows].where(clean, shown)

        return StageRows(result, worst)


def _stand_in(images: Tensor) -> Tensor:
    return images.flatten(1)[:, :2]

