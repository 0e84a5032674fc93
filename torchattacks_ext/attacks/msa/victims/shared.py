"""Which surrogates show the target's answer for free? Heads of the trunk that it stands on too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from ...._typing import LogitsFn
from ....models.adapters.shared_trunk import HeadView, SharedTrunk
from ....models.logits import LogitsView
from ....models.meter import Meter
from ..scene import Scene


class Peek(nn.Module):
    """The target's logits from features that a surrogate's query has left behind.

    view: the target, scaled images to logits. scale: pixels to what surrogate and target take.
    Head alone where the features are there; trunk rows that had to be run all the same are counted
    in `meter`. A head that draws random numbers draws them from the attack's stream: a peek only
    says what is worth an offer.
    """

    def __init__(
        self, shared: SharedTrunk, view: LogitsView, meter: Meter, scale: LogitsFn
    ) -> None:
        super().__init__()
        self.shared, self.view, self.meter, self._scale = shared, view, meter, scale

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of the target for pixels (N, ...)."""
        before = self.shared.trunk_rows
        logits: Tensor = self.view(self._scale(images))
        self.meter.forward += self.shared.trunk_rows - before
        return logits


def head_of(model: object) -> HeadView | None:
    """The head that a model is: itself, or what it names as its attribute `head_view`.

    >>> net = SharedTrunk(nn.Flatten(), {"fc": nn.Linear(4, 3)})
    >>> head_of(net.head("fc")).name, head_of(nn.Flatten())
    ('fc', None)
    """
    found = model if isinstance(model, HeadView) else getattr(model, "head_view", None)
    return found if isinstance(found, HeadView) else None


def find_peeks(
    target: object,
    surrogates: Mapping[str, object],
    meter: Meter,
    outputs: Any = "logits",
    scale: Callable[[Tensor], Tensor] = lambda images: images,
) -> dict[str, LogitsFn]:
    """Name of a surrogate -> pixels to the target's logits, where both are heads of one trunk.

    meter: counts trunk rows that a peek had to run after all. outputs: of the target, as in
    :class:`~torchattacks_ext.attacks.base.probe.Probe`. scale: pixels to what both of them are
    given.

    >>> net = SharedTrunk(nn.Flatten(), {"fc": nn.Linear(4, 3), "t": nn.Linear(4, 3)})
    >>> list(find_peeks(net.head("t"), {"fc": net.head("fc"), "s": nn.Flatten()}, Meter()))
    ['fc']
    """
    own = head_of(target)
    if own is None:
        return {}
    peek = Peek(own.shared, LogitsView(own, outputs), meter, scale)
    heads = {name: head_of(model) for name, model in surrogates.items()}
    return {
        name: peek
        for name, head in heads.items()
        if head is not None and head.shared is own.shared
    }


def shared_peeks(scene: Scene, models: Mapping[str, nn.Module]) -> dict[str, LogitsFn]:
    """The peeks of a run; models: those that are attacked, by name.

    Empty where surrogates are given other inputs than the target, and for version "rand", whose
    surrogates are means over many passes.
    """
    settings, scale = scene.settings, scene.scale
    apart = scale is not None and settings.surrogate_normalization is None
    if settings.version == "rand" or apart:
        return {}
    return find_peeks(
        scene.model,
        {name: one for name, one in scene.surrogates.items() if name in models},
        scene.meter,
        settings.outputs,
        scale or (lambda images: images),
    )
