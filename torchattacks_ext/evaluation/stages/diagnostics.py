"""May the numbers of gradient attacks be believed? Checks for masked gradients as a stage."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from ..._typing import Status
from ...attacks.msa.victims.surrogates import named_surrogates
from ...data.stream import Batch
from ...engines.diagnosis.before import Columns, answers
from ...engines.diagnosis.rows import Patient, diagnose_rows
from ...engines.diagnosis.settings import DiagnosisSettings
from ...engines.fork import ForkedRng
from ...models.checks import ModelTraits
from ...models.checks.inside import differentiates
from ...models.logits import LogitsView
from ...models.session import rounding_of, session
from ...numerics.ids import content_hashes
from ...numerics.losses import has_answer, unmasked
from ...results.base.columns import Rows, Table
from ...results.base.result import Result
from ...results.diagnosis.diagnosis import Diagnosis
from ..plan import Plan
from .base import RowStage, Shared, StageRows, Tally
from .clean import labels_of, status_of
from .probing import origin_of, refuse_unknown

ARGUMENTS = ("steps", "queries", "draws", "sweep_steps", "n_noise", "surrogates")


class DiagnosticsStage(RowStage):
    """Checks before and along short attacks at the plan's ball: does the model mask its gradients?

    Arguments: steps, queries, draws, sweep_steps, n_noise, as in
    :class:`~torchattacks_ext.engines.diagnosis.settings.DiagnosisSettings`; surrogates, as in
    :class:`~torchattacks_ext.MSA` (in Python; a plan file may say auto). Raises ConfigError for
    others, for values outside their domains, for eps 0 and for no bounds.
    """

    kind = "diagnostics"
    guarantee = (
        "none about robustness: a flag is a reason to doubt what gradient attacks leave, and no "
        "flag is no proof that they find all there is"
    )

    def __init__(self, label: str, plan: Plan, settings: Mapping[str, Any]) -> None:
        super().__init__(label, plan, settings)
        refuse_unknown("diagnostics", settings, ARGUMENTS)
        own = {key: value for key, value in settings.items() if key != "surrogates"}
        self._asked = DiagnosisSettings(
            eps=plan.eps,
            norm=plan.norm,
            seed=plan.seed,
            bounds=plan.box,
            batch_size=plan.batch_size,
            **own,
        )
        self._given = settings.get("surrogates", ())
        if self._given != "auto":
            named_surrogates(None, self._given)  # refuses what is none
        self._surrogates: Mapping[str, nn.Module] | None = None
        self._inside: bool | None = None

    @property
    def cost_per_image(self) -> float | None:
        """Forward and backward row-passes of an image that withstands everything, no surrogates."""
        s = self._asked
        return 14.0 + s.n_noise + 6 * s.steps + 16 * s.sweep_steps + s.draws + s.queries

    def rows(self, batch: Batch, shared: Shared) -> StageRows:
        """Columns of one batch; attacks are run on the rows that are right."""
        right = torch.from_numpy(np.flatnonzero(~shared.clean.failed))
        place, device = right.to(batch.images.device), batch.images.device
        labels, traits = labels_of(batch), shared.traits
        fixed = traits is None or not _varies(traits)
        with contextlib.ExitStack() as stack, torch.enable_grad():
            fork = stack.enter_context(ForkedRng(self.plan.seed))
            view = fork.victim(shared.view)
            models = self._models(shared, stack, fork) if fixed else {}
            k, meter = shared.n_classes, shared.view.meter
            short = rounding_of(shared.view.model) > 0
            patient = Patient(view, k, fixed, meter, models, short)
            with torch.no_grad():
                logits = view(batch.images)
            if self._inside is None:  # once: a fact of the model, not of a batch
                self._inside = differentiates(view, batch.images[:1])
            shown = batch.images[place], labels[place], batch.ids[place]
            found = diagnose_rows(self._asked, patient, *shown)
        columns = _whole(len(batch), right, found)
        good = has_answer(logits)
        seen = content_hashes(batch.images[good], None, self.plan.box)
        said = answers(unmasked(logits[good]), seen)
        if short:  # scores of 16 bits meet by themselves
            said.pop("repeated")
        columns |= _whole(len(batch), torch.nonzero(good).flatten().cpu(), said)
        columns |= {
            "ids": batch.ids.cpu(),
            "status": status_of(shared.clean),
            "reference": labels.cpu(),
            "clean_correct": torch.from_numpy(~shared.clean.failed).to(torch.int8),
        }
        whole = Rows(torch.arange(len(batch)), _every_column(columns, len(batch)))
        result = Diagnosis.from_table(
            Table([whole]),
            settings=self._facts(traits, k, tuple(models)),
            provenance=origin_of(shared, device, self.plan),
            groups=batch.groups,
        )
        return StageRows(result, tally={"inside": self._inside})

    def recall(self, tallies: Sequence[Tally]) -> None:
        """The model is not looked into twice."""
        self._inside = next((tally["inside"] for tally in tallies), None)

    def shrink(self, size: int) -> None:
        """At most so many rows a call."""
        super().shrink(size)
        self._asked = replace(self._asked, batch_size=size)

    def failed(self, batch: Batch) -> Rows:
        """Rows of which nothing is known."""
        none = torch.full((len(batch),), -1, dtype=torch.int8)
        known = {
            "ids": batch.ids.cpu(),
            "status": torch.full_like(none, int(Status.FAILED)),
            "reference": labels_of(batch).cpu(),
            "clean_correct": none,
        }
        return Rows(batch.index, _every_column(known, len(batch)))

    def finish(self, result: Result, tallies: Sequence[Tally] = ()) -> Result:
        """The flagged checks as doubts."""
        return result.retell()

    def _models(
        self, shared: Shared, stack: contextlib.ExitStack, fork: ForkedRng
    ) -> Mapping[str, nn.Module]:
        """The surrogates on the victim's random stream, each in a session."""
        if self._surrogates is None:
            self._surrogates = named_surrogates(shared.view.model, self._given)
        found = {}
        for name, model in self._surrogates.items():
            stack.enter_context(session(model))
            plan, meter = self.plan, shared.view.meter
            view = LogitsView(model, plan.outputs, meter, plan.output_key)
            found[name] = fork.victim(view)
        return found

    def _facts(
        self, traits: ModelTraits | None, k: int, surrogates: tuple[str, ...]
    ) -> dict[str, Any]:
        seen = {
            "randomised": traits is not None and (traits.randomised or traits.draws),
            "batch_dependent": traits is not None and traits.batch_dependent,
            "looks_like_probs": traits is not None and traits.looks_like_probs,
            "differentiates": self._inside is True,
            "n_classes": k,
        }
        return {
            "method": "diagnose",
            **self._asked.facts(),
            "outputs": self.plan.outputs,
            "surrogates": list(surrogates),
            "traits": seen,
        }


def _varies(traits: ModelTraits) -> bool:
    return traits.randomised or traits.draws or traits.batch_dependent


def _whole(n: int, rows: torch.Tensor, found: Columns) -> Columns:
    """Columns of some rows as those of all n, the others unknown."""
    columns = {}
    for name, values in found.items():
        values = values.cpu()
        unknown = torch.nan if values.is_floating_point() else -1
        whole = torch.full((n,), unknown, dtype=values.dtype)
        whole[rows] = values
        columns[name] = whole
    return columns


def _every_column(columns: Columns, n: int) -> Columns:
    """These columns and all others of a diagnosis, in which nothing is known."""
    found = dict(columns)
    for spec in Diagnosis.columns():
        unknown = torch.nan if spec.dtype == torch.float64 else -1
        found.setdefault(spec.name, torch.full((n,), unknown, dtype=spec.dtype))
    return found
