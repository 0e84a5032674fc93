"""May the look at clean images be a first step as well? One forward pass of an image less.

The judge asks the target about every image before an attack, and a climb from the image begins with
loss and gradient at the same point. Here the target is asked once, with a gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..._typing import LogitsFn
from ...errors import ModelContractError
from ...models.checks import differ
from ...models.gradients import NoGradient, from_backward
from ...numerics.losses import unmasked
from ...numerics.unit import Unit
from ..autoattack.runs import TARGET
from ..judge.spec import OWN_LOSSES, AttackSpec
from .objectives import OBJECTIVES
from .slope import Pulled, cleaned

FEWEST = 3
"""Images of a batch with which something can be saved."""


def opens(line: AttackSpec, models: Mapping[str, nn.Module]) -> bool:
    """Whether a line begins at the images of all rows, and on the target.

    >>> line = AttackSpec("apgd", loss="pm-t")
    >>> opens(line, {"target": nn.Flatten()}), opens(line, {"s1": nn.Flatten()})
    (True, False)
    """
    alone = line.on == TARGET or (line.on == "each" and [*models] == [TARGET])
    clean = line.kind == "apgd" and line.loss in OWN_LOSSES
    return alone and clean and line.gate == float("inf")


@dataclass(eq=False)
class Opening:
    """The target at the images of one batch, asked once for the judge and for the first line.

    A view of images (N, ...) to logits (N, K), for one look at all of them; any later call is one
    of `view`. line: of the plan, one that :func:`opens`. unit: the map to pixels. labels (N,).
    slack: share of their size by which the model's rounding may move logits.

    N forward row-passes and N backward ones, these only where the rows that are right outweigh the
    others, of which no gradient is wanted. One forward row-pass more shows whether the target says
    the same where no gradient is asked for; if it does not, it is looked at without, and nothing is
    kept.

    >>> images, labels = torch.eye(3), torch.arange(3)
    >>> line = AttackSpec("apgd", loss="pm-t")
    >>> opening = Opening(nn.Flatten(), line, Unit((0.0, 1.0)), labels)
    >>> torch.equal(opening(images), images)
    True
    >>> [pulled.logits.tolist() for pulled in opening.known("target", line, labels[:1])]
    [[[1.0, 0.0, 0.0]]]
    """

    view: LogitsFn
    line: AttackSpec
    unit: Unit
    labels: Tensor
    slack: float = 0.0
    pulled: Pulled | None = field(default=None, init=False)
    asked: bool = field(default=False, init=False)

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (N, K)."""
        points, first = self.unit.of(images), not self.asked
        self.asked = True
        if (
            first
            and len(images) >= FEWEST
            and torch.equal(self.unit.back(points), images)
        ):
            logits = self._look(points)
            if logits is not None:
                with torch.no_grad():
                    plain = self.view(images[:1])
                if not differ(plain, logits[:1], self.slack):
                    return logits
                self.pulled = None
        return self.view(images)

    def known(self, model: str, line: AttackSpec, rows: Tensor) -> list[Pulled]:
        """What is known of the images of these rows (m,) where this line of that model begins.

        Nothing where another line does; and nothing afterwards.
        """
        pulled = self.pulled if (model, line) == (TARGET, self.line) else None
        self.pulled = None
        return [] if pulled is None else [pulled.take(rows)]

    def _look(self, points: Tensor) -> Tensor | None:
        """Logits with a gradient, which is kept where that pays; None where there is none."""
        leaf = points.detach().requires_grad_()
        try:
            with torch.enable_grad():
                logits = self.view(self.unit.back(leaf))
                scores = unmasked(logits)
                loss = OBJECTIVES[self.line.loss](scores, self.labels, None)
                whole = loss.sum()
        except (
            ModelContractError,
            NoGradient,
        ):  # is it the gradient that it cannot bear?
            return None
        found, scores = logits.detach(), scores.detach()
        right = int((found.argmax(1) == self.labels).sum())
        if right > len(found) - right + 1:
            try:
                (gradient,) = torch.autograd.grad(whole, leaf)
            except Exception as error:
                if not from_backward(error):
                    raise
                return found
            gradient, odd = cleaned(gradient.contiguous())
            self.pulled = Pulled(loss.detach(), gradient, odd, scores, scores)
        return found
