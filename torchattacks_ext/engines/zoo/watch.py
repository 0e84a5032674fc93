"""On which images has an attack no gradient to follow? Watched where it enters the model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...models.gradients import NoGradient
from ...numerics.losses import unmasked


class GradientWatch(nn.Module):
    """A victim (images to logits) that notes which of `n` rows ever get a gradient that is not 0.

    Rows are told apart by their place, so batches of another size end the watch: of attacks that
    take rows out or repeat them nothing is said. No further pass, no wait for the device.
    A backward pass that brings no gradient at all raises NoGradient.

    >>> watch, images = GradientWatch(nn.Flatten(), 2), torch.ones(2, 1, requires_grad=True)
    >>> (watch(images) * torch.tensor([[0.0], [1.0]])).sum().backward()
    >>> watch.unguided().tolist()
    [True, False]
    """

    def __init__(self, victim: nn.Module, n: int) -> None:
        super().__init__()
        self.victim, self._n = victim, n
        self._guided: Tensor | None = None
        self._whole = True

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the victim, to the last bit; of masked classes (-inf) finite stand-ins."""
        if images.requires_grad and torch.is_grad_enabled():
            images = images.view_as(images)
            hook: Any = images.register_hook
            hook(self._note)
        logits: Tensor = self.victim(images)
        if logits.device.type == "cpu" and not bool(torch.isneginf(logits).any()):
            return logits  # nothing is masked, and no device waited for
        return unmasked(logits)

    def _note(self, gradient: Tensor | None) -> None:
        if gradient is None:
            raise NoGradient(
                "the model gives no gradient of its scores to the images (its backward pass ends "
                "before them, as that of quantised layers does): use an attack that needs scores "
                "only, as Square"
            )
        if len(gradient) != self._n:
            self._whole = False
            return
        known = self._guided
        if known is not None and known.device.type == "cpu" and bool(known.all()):
            return  # there is nothing left to learn
        some = gradient.detach().flatten(1).abs().amax(1) != 0
        self._guided = some if known is None else known | some

    def unguided(self) -> Tensor:
        """(n,) bool on the CPU: every gradient of the row was 0; none where that is not known."""
        if self._guided is None or not self._whole:
            return torch.zeros(self._n, dtype=torch.bool)
        return ~self._guided.cpu()
