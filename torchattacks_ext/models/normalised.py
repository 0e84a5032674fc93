"""How does a model that wants normalised input take pixels in [0, 1]? Mean and std are inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError


class NormalizedModel(nn.Module):
    """`model` on pixels: computes ``model((images - mean) / std)``.

    mean, std (sequences of C numbers): per channel, in the pixel scale; std > 0.
    Raises ConfigError for other lengths or a std that is not positive. No cost beyond the model's
    own.

    >>> net = NormalizedModel(torch.nn.Flatten(), mean=[0.5], std=[0.25])
    >>> net(torch.full((1, 1, 1, 2), 0.75))
    tensor([[1., 1.]])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, model: nn.Module, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        if len(mean) != len(std) or not all(float(side) > 0 for side in std):
            raise ConfigError(
                f"mean={list(mean)} and std={list(std)} must have one entry a channel and std > 0"
            )
        self.model = model
        dtype = torch.get_default_dtype()
        self.register_buffer("mean", torch.as_tensor(mean, dtype=dtype))
        self.register_buffer("std", torch.as_tensor(std, dtype=dtype))

    def forward(self, images: Tensor) -> Any:
        """What the wrapped model returns for images (N, C, ...)."""
        shape = (1, -1) + (1,) * (images.dim() - 2)
        mean, std = (side.to(images).reshape(shape) for side in (self.mean, self.std))
        return self.model((images - mean) / std)
