"""How does a published model take pixels in [0, 1], and what makes its transform of an image?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError
from ..normalised import NormalizedModel
from .facts import Preprocessing


class BlueFirst(nn.Module):
    """`model` that was trained on images (N, 3, ...) in the order blue, green, red.

    >>> BlueFirst(nn.Flatten())(torch.tensor([[[1.0], [2.0], [3.0]]]))
    tensor([[3., 2., 1.]])
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Any:
        """What the model returns for images in the order red, green, blue."""
        return self.model(images.flip(1))


def on_pixels(model: nn.Module, known: Preprocessing) -> nn.Module:
    """The model on pixels in [0, 1]; itself where nothing is done to them.

    >>> type(on_pixels(nn.Flatten(), Preprocessing((0.0,), (1.0,), source="none"))).__name__
    'Flatten'
    """
    inner = BlueFirst(model) if known.reverse else model
    return NormalizedModel(inner, known.mean, known.std) if known.normalises else inner


def own_pixels(known: Preprocessing) -> Callable[[Any], Tensor]:
    """Resizing and cropping by the package itself: an RGB image of PIL to pixels (C, H, W).

    Its transform is applied and the normalisation taken back, so that the pixels are those that
    the model was published with, to 1e-6. Raises ConfigError where there is no transform.
    """
    transform = known.transform
    if transform is None:
        raise ConfigError(
            f"{known.source} has no transform of its own here; give the size as a number"
        )
    mean, std = (
        torch.tensor(side).reshape(-1, 1, 1) for side in (known.mean, known.std)
    )

    def pixels(image: Any) -> Tensor:
        found = transform(image)
        found = found.flip(0) if known.reverse else found
        return (found * std + mean).clamp(0, 1)

    return pixels
