"""What does an attack of somebody else leave? Any class by its name, on a copy of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ...data.stream import Batch
from ...engines.zoo.copies import Lookalike, copied, harm, look
from ...models.logits import LogitsView
from ...models.session import first_tensor, session
from ..plan import Plan
from ..zoo.foreign import find_attack
from ..zoo.table import AttackInfo
from .attack import AttackStage
from .base import Shared, StageRows
from .clean import labels_of


class ForeignStage(AttackStage):
    """Any class with torchattacks' call, "package.module:Class", at the plan's ball.

    arguments: those of the class, on images in [0, 1] and as it names them; "2/255" is understood.
    The plan gives the radius (its first argument called eps, radius, epsilon or max_epsilon), and
    norm, seed, n_classes and device where the class has such. Classes of captum.robust are called
    by `perturb`, with the cross entropy. Each group of images is attacked on a copy of the model
    of its own, whose layers are found under their names. Raises ConfigError for what cannot be
    imported or built, for arguments that it does not have, and for a model that cannot be copied.
    """

    def __init__(self, label: str, plan: Plan, settings: Mapping[str, Any]) -> None:
        self._found = find_attack(str(settings.get("attack")))
        super().__init__(label, plan, settings)
        self.settings = {**self.settings, "origin": self._found.origin}
        self.needs_gradient = False  # nothing is known of it

    def _known(self, name: str) -> AttackInfo:
        radius = self._found.radius
        return AttackInfo(
            name, None, "foreign", "", "global generator", radius, None, spatial=False
        )

    def _read(self, arguments: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        found = self._found.check(arguments)
        return found, found

    def _caveats(self) -> Iterator[str]:
        yield f"a class of {self._found.origin}: what it returns is judged, nothing else is known"
        if self._found.radius is None:
            yield "has no argument for the radius: its changes are cut to the ball afterwards"
        yield "may draw for a whole batch: depends on how batches are cut"

    def unfit(self, n_classes: int, shape: tuple[int, ...]) -> str | None:
        """Nothing is known beforehand."""
        return None

    def accepts(self, model: Any) -> None:
        """ConfigError for a model that cannot be copied."""
        copied(model, self.info.name)

    def rows(self, batch: Batch, shared: Shared) -> StageRows:
        """Attack the rows that are still right, on a copy; say what was done to the copy."""
        original, plan = shared.view.model, self.plan
        own = copied(original, self.info.name)
        view = LogitsView(own, plan.outputs, shared.view.meter, plan.output_key)
        right = torch.from_numpy(np.flatnonzero(~shared.clean.failed))
        place = right.to(batch.images.device)
        shown = batch.images[place], labels_of(batch)[place]
        with session(own):
            before = look(own, view, *shown)
            rows = super().rows(batch, replace(shared, view=view))
            after = look(own, view, *shown)
            if shared.traits is not None and shared.traits.randomised:
                after = replace(after, gradient=before.gradient)
            flags = harm(original, own, before, after, self.label, len(right))
            return replace(rows, result=rows.result.with_flags(flags))

    def _create(self, victim: Any, n_classes: int) -> Any:
        """The attack on its victim, behind which the copy stands."""
        model = next(m.model for m in victim.modules() if isinstance(m, LogitsView))
        sample = first_tensor(model)
        device = torch.device("cpu") if sample is None else sample.device
        plan, found = self.plan, self._found
        given = found.given(self._eps, plan.norm, n_classes, plan.seed, device)
        return found.create(Lookalike(victim, model), given | self._scaled)
