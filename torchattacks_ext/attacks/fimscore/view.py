"""Which logits are scored? The model's, in the precision asked for, divided by a temperature."""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import Tensor, nn

from ..._typing import LogitsFn
from ...models.logits import LogitsView
from ...models.meter import Meter
from .settings import FIMSettings


def in_dtype(
    settings: FIMSettings,
    model: nn.Module,
    meter: Meter,
    scale: Callable[[Tensor], Tensor] | None,
) -> LogitsFn:
    """The view of a deep copy of the model in `dtype`; scale: pixels to what the model wants."""
    twin = copy.deepcopy(model).to(settings.dtype)
    view = LogitsView(twin, settings.outputs, meter)

    def scaled(images: Tensor) -> Tensor:
        found: Tensor = view(images if scale is None else scale(images))
        return found

    return scaled


class Tempered(nn.Module):
    """A view whose logits are divided by `temperature`.

    >>> import torch
    >>> Tempered(lambda images: images, 2.0)(torch.tensor([[4.0, 2.0]]))
    tensor([[2., 1.]])
    """

    def __init__(self, view: LogitsFn, temperature: float) -> None:
        super().__init__()
        self._view, self.temperature = view, temperature

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K)."""
        return self._view(images) / self.temperature
