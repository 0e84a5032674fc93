"""What does a batch tell the models that attack it, and how is one row of it asked alone?

A surrogate may hold something of the clean batch (prototypes, statistics): it has a method `meet`.
A batch-dependent target may answer for single replaced rows at less than a whole batch each: it has
a method `alone_in`. Its answers are believed after a look, and where they are no close calls.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ....engines.joint.ledgers import Isolated, JointLedger
from ....models.logits import LogitsView, working_dtype
from ..scene import Scene

N_CHECKED = 16
"""Rows on which a shortcut is held against whole batches."""
CHANGE = 1e-3
"""Of a row's logits: by more they must not differ."""


def introduce(scene: Scene, images: Tensor, labels: Tensor) -> None:
    """Show the clean batch to every surrogate with a method ``meet(images, labels)``.

    images (m, ...): pixels, handed on as the surrogate takes them. Each is counted as m row-passes.
    """
    for surrogate in scene.surrogates.values():
        meet = getattr(surrogate, "meet", None)
        if callable(meet):
            meet(_as_taken(scene, surrogate, images, surrogate=True), labels)
            scene.meter.forward += len(images)


def has_shortcut(scene: Scene) -> bool:
    """Whether the target says of itself that it answers for single rows of a batch."""
    return callable(getattr(scene.model, "alone_in", None))


class Shortcut(nn.Module):
    """The target's own way to answer for rows in the company of a clean batch, counted.

    scene: with a model that has ``alone_in(clean)``, a function of images (r, ...) and their places
    (r,) to scores (r, K). clean (m, ...): pixels. m row-passes at once, one for each row asked.
    """

    def __init__(self, scene: Scene, clean: Tensor) -> None:
        super().__init__()
        self.model, self.scene = scene.model, scene
        self.ask = scene.model.alone_in(_as_taken(scene, scene.model, clean))
        scene.meter.forward += len(clean)
        self.places = torch.arange(0)
        outputs, key = scene.settings.outputs, scene.settings.output_key
        # in a tuple: a view that is a child of what it views would be a circle
        self.view = (LogitsView(self, outputs, scene.meter, key),)

    def forward(self, images: Tensor) -> Any:
        """Scores of images as the target takes them, at the places last named."""
        return self.ask(images, self.places)

    def answer(self, images: Tensor, places: Tensor) -> Tensor:
        """Logits (r, K) of pixels (r, ...) at places (r,) of the clean batch."""
        self.places = places
        logits: Tensor = self.view[0](_as_taken(self.scene, self.model, images))
        return logits


def alone_view(
    scene: Scene, target: nn.Module, joint: JointLedger
) -> tuple[Isolated, frozenset[str]]:
    """Each row beside the clean rest, and what is to be said about how it was asked.

    The target's own shortcut where it has one that gives what whole batches do on up to 16 rows, as
    they are in the candidates of `joint` (16 m row-passes); otherwise whole batches.
    """
    slow = Isolated(target, joint.images)
    if not has_shortcut(scene):
        return slow, frozenset()
    quick = Shortcut(scene, joint.images).answer
    m, shown = len(joint.images), joint.candidates()[0]
    rows = torch.arange(0, m, max(1, -(-m // N_CHECKED)), device=shown.device)
    slow.asked = torch.zeros_like(slow.asked).index_fill(0, rows, True)
    with torch.no_grad():
        truth, found = slow(shown)[rows], quick(shown[rows], rows)
    if found.shape == truth.shape:
        apart = (truth - found).norm(dim=1) / truth.norm(dim=1).clamp_min(1e-12)
        if bool((apart <= CHANGE).all()):
            return Isolated(target, joint.images, quick), frozenset()
    why = "the target's alone_in() answers other than its whole batches do; those were asked"
    return Isolated(target, joint.images), frozenset([why])


def _as_taken(
    scene: Scene, model: object, images: Tensor, surrogate: bool = False
) -> Tensor:
    """Pixels as a model takes them: scaled where it is, in its dtype."""
    apart = surrogate and scene.settings.surrogate_normalization is None
    scaled = images if scene.scale is None or apart else scene.scale(images)
    return scaled.to(working_dtype(model))
