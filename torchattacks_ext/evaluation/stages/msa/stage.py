"""What does the worst case over surrogates and the real AutoAttack leave? MSA as a stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch

from ....attacks.base.finished import check_keep
from ....attacks.msa.batch import kind_of
from ....attacks.msa.msa import MSA
from ....attacks.msa.rows import attack_rows
from ....attacks.msa.told import Told
from ....data.stream import Batch
from ....errors import ConfigError
from ....results.attack import AttackResult
from ....results.base.columns import Rows
from ....results.base.result import Result
from ...plan import Plan
from ..base import RowStage, Shared, StageRows, Tally, Unit
from ..clean import labels_of
from ..probing import common_settings, origin_of, refuse_unknown, stand_in
from .cost import passes_of
from .judge import judge_again, unsure
from .results import judged_rows, result_of


class MSAStage(RowStage):
    """One MSA at the plan's ball; only rows that are right are attacked.

    Arguments: version, surrogates, plan, probe_every, engine, headline, fresh_draws, keep, as in
    :class:`~torchattacks_ext.MSA`; models can be given in Python only, a plan file may say
    surrogates: auto. What the attack left for a row is judged again by the runner. Raises
    ConfigError for others, for values outside their domains and for no bounds.
    """

    kind = "attack"
    name: ClassVar[str] = "msa"
    takes: ClassVar[tuple[str, ...]] = (
        "version",
        "surrogates",
        "plan",
        "probe_every",
        "engine",
        "headline",
        "fresh_draws",
        "keep",
    )
    guarantee = (
        "upper bound of the true robust accuracy, with a witness for each broken image: no attack "
        "proves robustness"
    )

    def __init__(self, label: str, plan: Plan, settings: Mapping[str, Any]) -> None:
        super().__init__(label, plan, settings)
        refuse_unknown(self.name, settings, self.takes, self._otherwise())
        self._given = self._read(settings)
        # "auto" asks the model itself, which is known with the first batch
        known = dict(self._given)
        if self._asks:
            known.pop("surrogates")
        self._probe = MSA(stand_in, **common_settings(plan), **known)
        check_keep(self._probe.keep)
        self._origin: Mapping[str, Any] = {}
        self._varies = False
        self.unit: Unit = "batch" if self._probe.unit_is_batch else "row"
        said = {"method": "MSA", "version": self._probe.version}
        self.settings = said | self.settings

    def _otherwise(self) -> str:
        return ""

    def _read(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as MSA takes them; an open gate, null in a plan file, is left out."""
        found = dict(settings)
        lines = found.get("plan")
        if isinstance(lines, (list, tuple)):
            found["plan"] = [
                _without_nothing(line) if isinstance(line, Mapping) else line
                for line in lines
            ]
        return found

    @property
    def _asks(self) -> bool:
        """Whether the model itself names its surrogates."""
        said = self._given.get("surrogates")
        return isinstance(said, str) and said == "auto"

    @property
    def cost_per_image(self) -> float | None:
        """Forward and backward row-passes of an image of ten classes that withstands everything."""
        return self.cost_of(10)

    def cost_of(self, n_classes: int) -> float | None:
        """The same of an image of so many classes."""
        if self._asks:
            return None
        n = len(self._probe.surrogates)
        return 2.0 + passes_of(self._probe.config, n, n_classes)

    @property
    def notes(self) -> tuple[str, ...]:
        """How batches matter, and how far a quick version reaches."""
        return tuple(self._caveats())

    def _caveats(self) -> Iterator[str]:
        probe = self._probe
        if probe.unit_is_batch:
            yield (
                f"packed within batches of {self.plan.batch_size}: flags may differ from one run "
                "over the whole data set"
            )
        if probe.version == "quick":
            yield "version quick: few steps, for a first look; publish version standard"

    # ------------------------------------------------------------------ the rows
    def rows(self, batch: Batch, shared: Shared) -> StageRows:
        """Attack the rows that are still right; the others are MISCLASSIFIED and cost nothing.

        Rows of a target that is not fixed are what the votes of fresh draws, or the last pass of
        the whole batch, say; there all rows are attacked.
        """
        if not self._origin:
            self._begin(shared, batch.images.device)
        self._probe.told = Told()
        self._varies = kind_of(self._probe.config, shared.traits) != "fixed"
        if not self._varies:
            return self._fixed(batch, shared)
        rows = self._probe.attack_rows(batch, shared.traits)
        images = rows.images
        assert images is not None  # a runner's rows bring them
        result = self._result(rows, batch)
        told = self._probe.told.to_dict()
        return StageRows(
            result, lambda rows: images[rows], result.prediction, tally=told
        )

    def _fixed(self, batch: Batch, shared: Shared) -> StageRows:
        """Rows of a target that answers each image by itself; the runner's judge decides."""
        right = np.flatnonzero(~shared.clean.failed)
        place = torch.from_numpy(right).to(batch.images.device)
        best, odd = batch.images.clone(), 0
        parts = {k: np.full(len(batch), -1) for k in ("first_breaker", "stopped_by")}
        seen = shared.clean
        if len(right):
            part = Batch(
                batch.ids[place.to(batch.ids.device)],
                batch.images[place],
                labels_of(batch)[place],
                torch.arange(len(place)),
            )
            found = self._probe.attack_rows(part)
            assert found.images is not None  # a runner's rows bring them
            odd = int((found.columns["clean_correct"] == 0).sum())
            best[place] = found.images.to(best.dtype)
            for name, numbers in parts.items():
                numbers[right] = found.columns[name].numpy()
            seen = judge_again(best, batch, shared, right)
        norm = self.plan.norm
        judged = judged_rows(batch, shared, seen, best, parts, norm)
        result = self._result(judged, batch)
        if odd:
            result = result.with_flags([unsure(odd)])
        told = self._probe.told.to_dict()
        return StageRows(result, lambda rows: best[rows], result.prediction, tally=told)

    def failed(self, batch: Batch) -> Rows:
        """Rows that were not attacked."""
        return attack_rows(batch, None, (), keep=False)

    def shrink(self, size: int) -> None:
        """At most so many rows a pass. Raises ConfigError where batches decide about rows."""
        if self.unit == "batch" or self._varies:
            raise ConfigError(
                f"stage {self.label!r} depends on how batches are cut: give it more memory, or "
                f"batch_size={size} from the start"
            )
        super().shrink(size)
        self._probe.batch_size = size

    def _begin(self, shared: Shared, device: torch.device) -> None:
        """Once, with the first batch: the model is known, and its meter."""
        model = shared.view.model
        if self._asks:
            self._probe = MSA(model, **common_settings(self.plan), **self._given)
        self._probe.set_model(model, shared.view.meter)
        self._origin = origin_of(shared, device, self.plan)

    def _result(self, rows: Rows, batch: Batch) -> AttackResult:
        """The rows of one batch; images are kept as the plan says."""
        settings, keep = self._probe.settings(), self._probe.keep
        facts = {"provenance": self._origin, "groups": batch.groups}
        return result_of(rows, keep, settings=settings, **facts)

    def finish(self, result: Result, tallies: Sequence[Tally] = ()) -> Result:
        """The books of all batches go into the provenance; doubts about the whole are added."""
        told = sum((Told.from_dict(tally) for tally in tallies), Told())
        self._probe.told = told
        if told.fresh is not None or told.tallies:  # the target was not fixed
            self.unit = "batch"
        facts = {**result.provenance, **self._probe.facts()}
        result = replace(result, provenance=facts)
        return result.with_flags(self._probe.doubts(result))


class AutoAttackStage(MSAStage):
    """The real AutoAttack, version "standard", on the target alone: MSA without surrogates.

    Arguments: keep. torchattacks' class of the same name is the stage
    {"name": "attack", "attack": "AutoAttack"}.
    """

    name = "autoattack"
    takes = ("keep",)

    def _otherwise(self) -> str:
        return (
            "; this is the real AutoAttack: for torchattacks' class write {'name': 'attack', "
            "'attack': 'AutoAttack', ...}, for surrogates the stage 'msa'"
        )

    def _read(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return dict(settings) | {"version": "autoattack"}

    def _caveats(self) -> Iterator[str]:
        yield (
            "the real AutoAttack (100 steps, 5,000 queries), not torchattacks' class of that name, "
            "which runs 10 steps"
        )
        yield from super()._caveats()


def _without_nothing(line: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if value is not None}
