"""How often does the model fail under random perturbation? PRTest as a stage."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...attacks.base.finished import Finished, check_keep
from ...attacks.prtest.footing import look_at_law
from ...attacks.prtest.prtest import PRTest
from ...data.stream import Batch, Stream
from ...errors import ReliabilityWarning
from ...models.checks import ModelTraits
from ...results.base.columns import Rows
from ...results.base.result import Result
from ...results.prob_robustness import ProbRobustness
from ..plan import Plan
from .base import RowStage, Shared, StageRows, Tally
from .clean import labels_of
from .probing import common_settings, origin_of, refuse_unknown, stand_in

ARGUMENTS = (
    "sampler",
    "tolerance",
    "significance",
    "n_max",
    "reference",
    "keep",
    "test",
    "clean_policy",
    "n_mean",
    "shared_noise",
    "n_systems",
    "n_particles",
    "n_moves",
)


class PRTestStage(RowStage):
    """One PRTest at the plan's ball.

    Arguments: tolerance, significance, n_max, reference, sampler (an object, or its name or
    settings), keep, test, clean_policy, n_mean, shared_noise, n_systems, n_particles, n_moves, as
    in :class:`~torchattacks_ext.PRTest`; the result is the one that its `measure` gives for the
    same images, labels and ids. Raises ConfigError for others and for values outside their domains.
    """

    kind = "prtest"
    guarantee = (
        "each verdict is wrong with probability at most `significance`; a claim about random draws "
        "only, not about an adversary"
    )

    def __init__(self, label: str, plan: Plan, settings: Mapping[str, Any]) -> None:
        super().__init__(label, plan, settings)
        refuse_unknown("prtest", settings, ARGUMENTS)
        self._probe = _build(plan, settings)
        check_keep(self._probe.keep)
        self.guarantee = _guarantee(self._probe)
        self.settings = {
            "tolerance": self._probe.tolerance,
            "significance": self._probe.significance,
            "n_max": self._probe.n_max,
        } | self.settings
        self._provenance: Mapping[str, Any] | None = None
        self._traits: ModelTraits | None = None

    @property
    def cost_per_image(self) -> float | None:
        """Draws of an image that never fails; an image near the tolerance takes up to n_max."""
        return float(self._probe.draws_to_certify + self._probe.n_mean)

    def rows(self, batch: Batch, shared: Shared) -> StageRows:
        """Test the rows that are right; no clean image is predicted again."""
        probe, labels = self._probe, labels_of(batch)
        if self._provenance is None:
            self._provenance = self._begin(batch, shared)
        traits = self._traits
        stream = Stream(
            batch.images,
            labels,
            ids=batch.ids,
            batch_size=len(batch),
            bounds=self.plan.box,
            prepare=lambda images: images,
        )
        finished = Finished(probe.keep)
        for rows in self._walk(stream, shared, traits):
            finished.add(rows)
        result = ProbRobustness.from_table(
            finished.table,
            settings=probe.settings() | probe.seen(traits),
            provenance=self._provenance,
            sidecars=finished.keeper.finish(),
            groups=batch.groups,
        )
        doubts = *probe.doubts(result), *finished.keeper.flags()
        result, failure = result.with_flags(doubts), finished.failure
        if not probe.sampler.replayable or probe.test == "splitting":
            return StageRows(result, failure=failure)

        def worst(rows: Tensor) -> Tensor:
            draws = result.worst_draw.to(rows.device)[rows]
            images = batch.images[rows]
            shown = probe.replay(images, batch.ids[rows], draws.clamp_min(0))
            none = (draws < 0).reshape(-1, *[1] * (shown.dim() - 1))
            return torch.where(none, images, shown)

        return StageRows(result, worst, failure=failure)

    def finish(self, result: Result, tallies: Sequence[Tally] = ()) -> Result:
        """What a verdict is worth, as far as the model let it."""
        self.guarantee = _guarantee(self._probe, result.settings["guarantee"])
        return result

    def shrink(self, size: int) -> None:
        """At most so many draws a pass; 1 would be another test of a randomised model."""
        super().shrink(size)
        self._probe.batch_size = size

    def failed(self, batch: Batch) -> Rows:
        """Rows that were not tested."""
        return self._probe.walk().untested(batch)

    def _begin(self, batch: Batch, shared: Shared) -> Mapping[str, Any]:
        """Once, with the first batch: the model, and what it and the law show."""
        probe = self._probe
        probe.set_model(shared.view.model, shared.view.meter)
        self._traits = shared.traits
        if shared.n_looked == 1 and self.plan.batch_size > 1 or shared.traits is None:
            # the runner's look had no second row beside it
            self._traits = probe.look(batch.images)
        else:
            look_at_law(probe.sampler, batch.images, probe.seed)
        return origin_of(shared, batch.images.device, self.plan)

    def _walk(
        self, stream: Stream, shared: Shared, traits: ModelTraits | None
    ) -> Iterator[Rows]:
        """The rows of `PRTest.measure`; where labels count, from the shared clean answers on."""
        probe = self._probe
        if probe.reference != "label":
            return probe.walk(traits).rows(stream)
        walk = probe.walk(traits, judge=shared.judge, asks=0, clean=shared.clean)
        return walk.rows(stream)


def _build(plan: Plan, settings: Mapping[str, Any]) -> PRTest:
    """The test on a stand-in for the model: wrong settings fail here. Its doubts become flags."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        return PRTest(stand_in, **common_settings(plan), **settings)


def _guarantee(probe: PRTest, word: str | None = None) -> str:
    """What a verdict of this test is worth, in one sentence; word: what a look left of it."""
    each = "each verdict is wrong with probability at most `significance`"
    when = {
        "eprocess": ", whenever the run stopped",
        "sprt": ", whenever the run stopped",
        "fixed": ", whenever a run of this one plan (n_max draws) stopped",
        "group": ", whenever a run of this one plan (n_max draws) stopped",
        "splitting": " if the moves of the particles were ideal, which is not verified",
    }[probe.test]
    if word == "none":
        each, when = "every image is undecided", ": the model gives no answer twice"
    elif word in ("independent-calls", "one-row-calls"):
        when += ", if separate calls draw independently, which is not verified"
    return f"{each}{when}; a claim about random draws only, not about an adversary"
