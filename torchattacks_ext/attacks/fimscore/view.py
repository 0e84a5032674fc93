"""Which logits are scored? The model's, in the precision asked for, divided by a temperature."""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import Tensor, nn

from ..._typing import LogitsFn
from ...errors import ConfigError, ModelContractError
from ...models.gradients import refuse_untouched
from ...models.logits import LogitsView
from ...models.meter import Meter
from ...numerics.losses import unmasked
from .settings import FIMSettings


def in_dtype(
    settings: FIMSettings,
    model: object,
    meter: Meter,
    scale: Callable[[Tensor], Tensor] | None,
) -> LogitsFn:
    """The view of a deep copy of the model in `dtype`; scale: pixels to what the model wants.

    Raises ConfigError where that cannot be had: for a callable, for a model that cannot be copied
    or cast, and, when it is asked, for one that raises in that dtype or answers in another.
    """
    twin = _cast(settings, model)
    view = LogitsView(twin, settings.outputs, meter, settings.output_key)

    def scaled(images: Tensor) -> Tensor:
        try:
            found: Tensor = view(images if scale is None else scale(images))
        except ModelContractError as error:
            raise _refusal(settings, f"its copy does not run: {error}") from error
        if found.dtype != settings.dtype:
            raise _refusal(settings, f"its copy answers in {found.dtype}")
        return found

    return scaled


def _cast(settings: FIMSettings, model: object) -> nn.Module:
    """A deep copy with all its floating weights in the dtype asked for."""
    if not isinstance(model, nn.Module):
        raise _refusal(settings, f"it is a {type(model).__name__} and no Module")
    refuse_untouched(model)
    try:
        twin = copy.deepcopy(model).to(settings.dtype)
    except (
        Exception
    ) as error:  # whatever a module says that holds what cannot be copied
        words = f"{type(error).__name__}: {error}"[:200]
        raise _refusal(settings, f"it cannot be copied and cast ({words})") from error
    tensors = [*twin.parameters(), *twin.buffers()]
    found = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    if found - {settings.dtype}:
        raise _refusal(settings, f"its copy still holds {found - {settings.dtype}}")
    return twin


def _refusal(settings: FIMSettings, why: str) -> ConfigError:
    return ConfigError(
        f"dtype={settings.dtype} needs a Module whose weights can be cast, and the model is none: "
        f"{why}; leave dtype out, or give such a Module"
    )


class Tempered(nn.Module):
    """A view whose logits are divided by `temperature`; masked classes (-inf) get probability 0.

    >>> import torch
    >>> Tempered(lambda images: images, 2.0)(torch.tensor([[4.0, 2.0]]))
    tensor([[2., 1.]])
    """

    def __init__(self, view: LogitsFn, temperature: float) -> None:
        super().__init__()
        self._view, self.temperature = view, temperature

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K)."""
        logits = self._view(images)
        # after the division: their distance must not shrink
        return unmasked(
            logits if self.temperature == 1.0 else logits / self.temperature
        )
