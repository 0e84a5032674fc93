"""What does one attack of torchattacks leave? It proposes; clipped, projected and predicted again, it is judged."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchattacks.attack import Attack

from ..._typing import Status, Verdict
from ...data.stream import Batch
from ...engines.torchattacks import run_attack
from ...errors import ConfigError
from ...numerics.norms import norm_of, project
from ...results.attack import AttackResult
from ..plan import Plan
from ..zoo import attack_info, ball_of, check_attack, create_attack, reach
from .base import RowStage, Shared, StageRows
from .clean import labels_of, status_of


class AttackStage(RowStage):
    """Any registered attack at the plan's ball; arguments: those of the torchattacks class."""

    kind = "attack"
    guarantee = "upper bound of the true robust accuracy: no attack proves robustness"

    def __init__(self, label: str, plan: Plan, settings: Mapping[str, Any]) -> None:
        arguments = dict(settings)
        name = arguments.pop("attack", None)
        if name is None:
            raise ConfigError("an attack stage needs attack=, the name of an attack")
        self.info = attack_info(str(name))
        super().__init__(label, plan, {"attack": self.info.name} | arguments)
        self.arguments = arguments
        check_attack(self.info.name, eps=plan.eps, norm=plan.norm, **arguments)

    @property
    def notes(self) -> tuple[str, ...]:
        """Caveats: own ones of the attack, another norm, short steps, where its random numbers are from."""
        info, notes = self.info, []
        if ball_of(info, self.plan.norm) == "foreign":
            norm = info.norm or "no norm"
            notes.append(
                f"works in {norm}, judged in {self.plan.norm}: a weak test of this ball"
            )
        far = reach(info.name, eps=self.plan.eps, **self.arguments)
        if far is not None and far < 1:
            notes.append(
                f"its steps carry only {far:.2f} of the radius; raise alpha or steps"
            )
        if info.seeding == "self-seeded":
            notes.append("reseeds itself for every batch: depends on how batches are cut")
        elif info.seeding == "global generator":
            notes.append("draws for a whole batch: depends on how batches are cut")
        return (*notes, *([info.caveat] if info.caveat else ()))

    def rows(self, batch: Batch, shared: Shared) -> StageRows:
        """Attack the rows that are still right; the others are MISCLASSIFIED and cost nothing."""
        labels, clean = labels_of(batch), shared.clean
        right = np.flatnonzero(~clean.failed)
        place = torch.from_numpy(right).to(batch.images.device)
        images, wanted = batch.images[place], labels[place]
        raw = run_attack(
            lambda victim: self._create(victim, shared.n_classes),
            shared.view,
            images,
            wanted,
            self._seed(batch),
        )
        plan = self.plan
        raw = raw.nan_to_num(nan=0.0)
        inside = project(images, raw, plan.eps, plan.norm, plan.bounds)
        # a minimum-norm attack may stop outside the ball: its own candidate is asked as well
        boxed = raw if plan.bounds is None else raw.clamp(*plan.bounds)
        with torch.inference_mode():
            seen = shared.judge.judge(len(right), lambda s: (inside[s], wanted[s]), None)
            moved = (boxed != inside).flatten(1).any(1).cpu().numpy()
            outside = np.flatnonzero(moved)
            far = torch.from_numpy(outside).to(images.device)
            own = shared.judge.judge(
                len(outside), lambda s: (boxed[far[s]], wanted[far[s]]), None
            )
        assert seen is not None and own is not None  # no budget was given
        fooled = seen.failed.copy()
        fooled[outside] = own.failed
        length = norm_of(inside - images, plan.norm).double().cpu().numpy()
        found = norm_of(boxed - images, plan.norm).double().cpu().numpy()
        return StageRows(
            self._result(batch, labels, shared, right, seen, length, found, fooled),
            _worst(batch.images, place, inside),
        )

    def _create(self, victim: Any, n_classes: int) -> Attack:
        return create_attack(
            self.info.name,
            victim,
            eps=self.plan.eps,
            norm=self.plan.norm,
            n_classes=n_classes,
            seed=self.plan.seed,
            **self.arguments,
        )

    def _seed(self, batch: Batch) -> int:
        """Of the batch as a whole: most attacks draw for all rows at once."""
        key = f"{self.plan.seed}|{self.label}".encode() + batch.ids.cpu().numpy().tobytes()
        return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") >> 1

    def _result(
        self,
        batch: Batch,
        labels: Tensor,
        shared: Shared,
        right: Any,
        seen: Any,
        length: Any,
        found: Any,
        fooled: Any,
    ) -> AttackResult:
        clean, n = shared.clean, len(batch)
        verdict = np.full(n, int(Verdict.MISCLASSIFIED), dtype=np.int8)
        verdict[right] = np.where(
            seen.failed, int(Verdict.NOT_ROBUST), int(Verdict.UNDECIDED)
        )
        margin, prediction = clean.margin.copy(), clean.prediction.copy()
        margin[right], prediction[right] = seen.margin, seen.prediction
        used, own = np.zeros(n), np.full(n, np.nan)
        used[right] = length
        own[right] = np.where(fooled, found, np.nan)
        status = status_of(clean)
        status[torch.from_numpy(right[~seen.finite])] = int(Status.NON_FINITE)
        plan = self.plan
        settings = {"method": self.info.name, "eps": plan.eps, "norm": plan.norm}
        return AttackResult(
            ids=batch.ids.cpu(),
            settings=settings | {"seed": plan.seed, "arguments": self.arguments},
            verdict=torch.from_numpy(verdict),
            status=status,
            reference=labels.cpu(),
            clean_correct=torch.from_numpy(~clean.failed).to(torch.int8),
            prediction=torch.from_numpy(prediction),
            margin=torch.from_numpy(margin),
            clean_margin=torch.from_numpy(clean.margin),
            norm=torch.from_numpy(used),
            found_norm=torch.from_numpy(own),
        )


def _worst(images: Tensor, place: Tensor, inside: Tensor) -> Any:
    """rows -> the judged candidates of those rows, the clean image where none was attacked."""

    def worst(rows: Tensor) -> Tensor:
        shown = images.clone()
        shown[place] = inside
        return shown[rows]

    return worst
