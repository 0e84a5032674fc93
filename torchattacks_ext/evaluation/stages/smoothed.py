"""Which images does the smoothed classifier keep, and how far? Randomised smoothing as a stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch

from ...certify.ellips.rows import nothing_known
from ...certify.smoothing.randomized import RandomizedSmoothing
from ...certify.smoothing.settings import SmoothingSettings
from ...data.stream import Batch
from ...errors import ConfigError
from ...numerics.smoothing.cohen import smoothed_radius
from ...results.base.columns import Rows, Table
from ...results.base.result import Result
from ...results.certificates import Certificates
from ..plan import Plan
from .base import RowStage, Shared, StageRows
from .certified import GUARANTEES, certified_radii, refuse_other_bounds
from .probing import origin_of, refuse_unknown

OWN = ("sigma", "n0", "n", "significance", "eps", "give_up")
ARGUMENTS = (*OWN, "radii")


class SmoothedStage(RowStage):
    """Radii of the classifier "what most noisy copies get" (Cohen et al. 2019), not of the model.

    Arguments: sigma (needed), n0, n, significance, eps and give_up as in
    :class:`~torchattacks_ext.certify.RandomizedSmoothing`; with eps (L2, pixels) draws stop when
    that one radius is decided. radii: as in the stage `certified`. The result is the one that
    `certify` gives for the same images, labels and ids, in any batch size. Raises ConfigError for
    others, for values outside their domains and for other bounds than (0, 1).
    """

    kind = "smoothed"
    guarantee = GUARANTEES["certified with confidence"]
    citation: ClassVar[str] = RandomizedSmoothing.citation

    def __init__(self, label: str, plan: Plan, settings: Mapping[str, Any]) -> None:
        super().__init__(label, plan, settings)
        refuse_unknown(self.kind, settings, ARGUMENTS)
        refuse_other_bounds(self.kind, plan)
        if "sigma" not in settings:
            raise ConfigError(
                "stage 'smoothed' needs sigma=, the standard deviation of the noise in pixel "
                "units, say {'name': 'smoothed', 'sigma': 0.25}"
            )
        self._own = {key: settings[key] for key in OWN if key in settings}
        config = SmoothingSettings(**self._own, seed=plan.seed)
        only = config.eps
        if only is not None and "radii" in settings:
            raise ConfigError(
                "stage 'smoothed' has eps= and radii=: with one radius asked for there is no other"
            )
        radii = (
            certified_radii(settings.get("radii"), plan) if only is None else (only,)
        )
        self.settings = {**config.facts(), "radii": list(radii)}
        self._config = config
        self._certifier: RandomizedSmoothing | None = None
        self._origin: Mapping[str, Any] = {}

    @property
    def cost_per_image(self) -> float | None:
        """n0 + n forward row-passes; with `eps` not known beforehand: mostly a few per cent."""
        return (
            None
            if self._config.eps is not None
            else float(self._config.n0 + self._config.n)
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Radii that no image can reach, whatever the answers."""
        config = self._config
        told = config.n, config.n, config.significance, config.sigma
        most = float(smoothed_radius(*told))
        far = [f"{eps:g}" for eps in self.settings["radii"] if eps >= most]
        if not far or config.eps is not None:
            return ()
        return (
            f"sigma {config.sigma:g} and {config.n} draws prove L2 radii below {most:.3g} only, "
            f"whatever the answers: no image can be certified at {', '.join(far)}",
        )

    def rows(self, batch: Batch, shared: Shared) -> StageRows:
        """Label and radius of every row, right or wrong."""
        plan, view = self.plan, shared.view
        if self._certifier is None:
            self._certifier = RandomizedSmoothing(
                view.model,
                **self._own,
                seed=plan.seed,
                batch_size=plan.batch_size,
                outputs=plan.outputs,
                output_key=plan.output_key,
            )
            self._origin = origin_of(shared, batch.images.device, plan)
        certifier = self._certifier
        before = certifier.meter.snapshot()
        whole = replace(batch, index=torch.arange(len(batch)))
        try:
            rows = certifier.certify_batch(whole)
        finally:
            view.meter.forward += certifier.meter.since(before).forward
        result: Result = Certificates.from_table(
            Table([rows]),
            settings=certifier.settings(tuple(batch.images.shape[1:])),
            provenance=self._origin,
            groups=batch.groups,
        )
        return StageRows(result, failure=rows.failure)

    def shrink(self, size: int) -> None:
        """At most so many copies a pass, which changes no decision."""
        super().shrink(size)
        self._certifier = None  # made anew for the next rows

    def failed(self, batch: Batch) -> Rows:
        """Rows of which nothing is known."""
        return nothing_known(batch)
