"""What do attacks run on in the place of a slow model? A checked copy, and the facts about it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..scores import Key, Outputs, to_logits
from ..session import first_tensor


@dataclass(frozen=True)
class Form:
    """How a copy computes: memory layout of the images, dtype of autocast (None: as they are).

    copies: the net writes on its input, and gets a copy. fixed_memory: its answers and gradients
    lie in memory that the next call writes on (CUDA graphs).
    """

    layout: str = "contiguous"
    autocast: torch.dtype | None = None
    copies: bool = False
    fixed_memory: bool = False


class FastModel(nn.Module):
    """A copy of a classifier for the path of an attack; :func:`accelerate` makes it.

    Maps images (N, ...) to logits (N, K) in float32 (float64 for a double model), with gradients of
    the images, which are contiguous. Its parameters are frozen; layers that were put together have
    no training mode any more. Equal to the original within rounding, or within that of the shorter
    precision: it finds candidates, and the original decides about them.
    """

    def __init__(
        self,
        net: Any,
        form: Form,
        outputs: Outputs = "logits",
        output_key: Key = None,
        told: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.net, self.form = net, form
        self.training = bool(getattr(net, "training", False))
        self.outputs, self.output_key = outputs, output_key
        self._told = dict(told or {})

    @property
    def reduced(self) -> bool:
        """Whether it computes in 16 bits."""
        return self.form.autocast is not None

    def facts(self) -> dict[str, Any]:
        """What was done to the copy, what was not and why, and what was measured; JSON types.

        The keys are those of :func:`accelerate`.
        """
        return copy.deepcopy(self._told)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, ...)."""
        sample = first_tensor(self.net)
        given = images if sample is None else images.to(sample.dtype)
        if self.form.copies:
            given = given.clone()
        given = self._laid_out(given)
        with self._precision(images.device.type):
            raw = self.net(given)
        logits = to_logits(raw, len(images), self.outputs, self.output_key)
        return logits.clone() if self.form.fixed_memory else logits

    def _laid_out(self, images: Tensor) -> Tensor:
        """The images as the net takes them; their gradient comes back as attacks expect it."""
        turned = self.form.layout == "channels_last" and images.dim() == 4
        fixed = self.form.fixed_memory
        if (turned or fixed) and images.requires_grad and torch.is_grad_enabled():
            images = images.view_as(images)  # a hook must not hang on the caller's
            hook: Any = images.register_hook
            hook(_kept if fixed else Tensor.contiguous)
        last = torch.channels_last
        return images.contiguous(memory_format=last) if turned else images

    def _precision(self, device: str) -> AbstractContextManager[Any]:
        if self.form.autocast is None:
            return nullcontext()
        return torch.autocast(device, dtype=self.form.autocast)


def _kept(gradient: Tensor) -> Tensor:
    return gradient.clone(memory_format=torch.contiguous_format)
