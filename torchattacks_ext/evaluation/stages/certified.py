"""Which images provably keep their answer, and how far? Certificates of an Ellips as a stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any, ClassVar

import torch

from ...certify.ellips import Ellips
from ...certify.ellips.rows import nothing_known
from ...data.stream import Batch
from ...errors import ConfigError
from ...numerics.arguments import parse_number
from ...results.base.columns import Rows, Table
from ...results.base.result import Result
from ...results.certificates import GRID, TIERS, Certificates
from ..plan import Plan
from .base import RowStage, Shared, StageRows, Tally
from .probing import origin_of, refuse_unknown

ARGUMENTS = ("radii",)
MOST_RADII = 50
SHARP = 20.0
"""Nats of margin: exp(-20) is the gradient to which PGDL2 adds 1e-10 before it divides by it."""
GUARANTEES = {
    TIERS[0]: (
        "certificate: within its radius no change of the pixels changes the answer, up to the "
        "rounding of the encoder; in L2, whatever the plan's ball"
    ),
    TIERS[1]: (
        "certificate with confidence: of the smoothed classifier, each radius too large with "
        "probability at most `significance`; in L2, whatever the plan's ball"
    ),
    TIERS[2]: (
        "a certificate if the Lipschitz constant that was assumed is right, which nobody checked"
    ),
    TIERS[3]: "the claim of another tool, which was not proved here",
    TIERS[-1]: "none: a reproduction of published formulas, which may exceed the truth",
}
"""What a radius is worth, by what it rests on."""


class CertifiedStage(RowStage):
    """Radii of a model that is an :class:`~torchattacks_ext.certify.Ellips`; no attack, no draws.

    Arguments: radii, at most 50 numbers >= 0 in L2 pixel units ("8/255" is understood) at which the
    report gives the certified accuracy; default .25, .5 and 1, and the plan's eps where its norm
    is L2. The result is the one that `certify` gives for the same images and labels. Raises
    ConfigError for others, for other bounds than (0, 1), and for a model that is no Ellips.
    """

    kind = "certified"
    guarantee = "as far as its Lipschitz bound is one: see its status"
    citation: ClassVar[str] = """@misc{ellips2026,
  title         = {{ELLIPS}: certified classification by Gaussian mixtures of latents},
  year          = {2026},
  eprint        = {2605.25352},
  archivePrefix = {arXiv},
  note          = {arXiv:2605.25352}
}"""

    def __init__(self, label: str, plan: Plan, settings: Mapping[str, Any]) -> None:
        super().__init__(label, plan, settings)
        refuse_unknown("certified", settings, ARGUMENTS)
        refuse_other_bounds("certified", plan)
        radii = list(certified_radii(settings.get("radii"), plan))
        self.settings = {"radii": radii, "ball": [plan.norm, plan.eps]}
        self._origin: Mapping[str, Any] = {}
        self._margins: list[float] = []

    @property
    def cost_per_image(self) -> float | None:
        """One forward row-pass."""
        return 1.0

    @property
    def notes(self) -> tuple[str, ...]:
        """What attacks beside it may miss."""
        if not self._margins or median(self._margins) < SHARP:
            return ()
        return (
            f"its scores are log posteriors, with a median margin of {median(self._margins):.0f} "
            "nats: the gradient of the cross entropy is of the size exp(-margin) there, on which "
            "PGDL2 hardly moves, and 0 in float32 beyond 87 nats; DeepFool, CW and MSA do not need "
            "it",
        )

    def accepts(self, model: Any) -> None:
        """ConfigError unless the model is an Ellips whose encoder can be bounded."""
        if not isinstance(model, Ellips):
            raise ConfigError(
                f"stage 'certified' needs a model that can certify, not a "
                f"{type(model).__name__}: Ellips(encoder, head), with normalization= inside where "
                "the encoder wants it"
            )

    def rows(self, batch: Batch, shared: Shared) -> StageRows:
        """Label and radius of every row, right or wrong."""
        model = shared.view.model
        self.accepts(model)
        assert isinstance(model, Ellips)
        shape = tuple(batch.images.shape[1:])
        reach = model.bound(shape)
        if not self._origin:
            self._origin = origin_of(shared, batch.images.device, self.plan)
        whole = replace(batch, index=torch.arange(len(batch)))
        rows = model.certify_batch(whole, reach)
        shared.view.meter.forward += len(batch)
        margins = shared.clean.margin[~shared.clean.failed].tolist()
        settings = model.settings(shape, reach)
        result: Result = Certificates.from_table(
            Table([rows]),
            settings=settings,
            provenance=self._origin,
            groups=batch.groups,
        )
        return StageRows(result, failure=rows.failure, tally={"margins": margins})

    def finish(self, result: Result, tallies: Sequence[Tally] = ()) -> Result:
        """What the radii are worth, and what attacks beside it may miss, become known."""
        tier = result.settings["tier"]
        self.guarantee = GUARANTEES.get(tier, GUARANTEES[TIERS[-1]])
        self._margins = [float(m) for tally in tallies for m in tally["margins"]]
        return result

    def failed(self, batch: Batch) -> Rows:
        """Rows of which nothing is known."""
        return nothing_known(batch)


def refuse_other_bounds(name: str, plan: Plan) -> None:
    """Raises ConfigError for other bounds than (0, 1)."""
    if plan.bounds is None or not _is_unit(plan.bounds):
        raise ConfigError(
            f"stage {name!r} needs bounds=(0, 1), not {plan.bounds!r}: radii are in that unit"
        )


def _is_unit(bounds: tuple[Any, Any]) -> bool:
    return all(bool((torch.as_tensor(s) == w).all()) for s, w in zip(bounds, (0, 1)))


def certified_radii(given: Any, plan: Plan) -> tuple[float, ...]:
    """L2 radii of a report: those given, or the usual ones and the plan's own."""
    if given is None:
        own = (plan.eps,) * (plan.norm == "L2")
        return tuple(sorted({*GRID["L2"], *own}))
    if not isinstance(given, (list, tuple)) or not 0 < len(given) <= MOST_RADII:
        raise ConfigError(
            f"radii={given!r} must be a list of 1 to {MOST_RADII} numbers in L2 pixel units, say "
            "[0.25, 0.5, 1]"
        )
    return tuple(sorted({parse_number(one, "radii") for one in given}))
