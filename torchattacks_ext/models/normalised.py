"""How does a model that wants normalised input take pixels in [0, 1]? Mean and std are inside."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, InputError
from ..numerics.norms import Bounds

WIDE = 4
"""Widths of the pixel range above which a std is taken for one of another scale."""


class NormalizedModel(nn.Module):
    """`model` on pixels: computes ``model((images - mean) / std)``.

    mean, std (sequences of C numbers, or one number for all channels): per channel, in the pixel
    scale; std > 0. bounds: that scale; None where pixels have no range. Raises ConfigError for
    other lengths, a std that is not positive, and moments of another scale (123.7 for pixels in
    [0, 1]); InputError for images of another number of channels. No cost beyond the model's own.

    >>> net = NormalizedModel(torch.nn.Flatten(), mean=[0.5], std=[0.25])
    >>> net(torch.full((1, 1, 1, 2), 0.75))
    tensor([[1., 1.]])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: nn.Module,
        mean: Any,
        std: Any,
        bounds: Bounds | None = (0.0, 1.0),
    ) -> None:
        super().__init__()
        mean, std = check_moments(mean, std, bounds)
        self.model = model
        dtype = torch.get_default_dtype()
        self.register_buffer("mean", torch.as_tensor(mean, dtype=dtype))
        self.register_buffer("std", torch.as_tensor(std, dtype=dtype))

    def forward(self, images: Tensor) -> Any:
        """What the wrapped model returns for images (N, C, ...)."""
        check_channels(images, len(self.mean))
        shape = (1, -1) + (1,) * (images.dim() - 2)
        mean, std = (side.to(images).reshape(shape) for side in (self.mean, self.std))
        return self.model((images - mean) / std)


def check_moments(
    mean: Any, std: Any, bounds: Bounds | None
) -> tuple[list[float], list[float]]:
    """Mean and std as lists of C numbers, from numbers, sequences, arrays or tensors.

    bounds: the range of the pixels. Raises ConfigError for what is no number, other lengths, a std
    that is not positive, and moments that are not of such pixels.

    >>> check_moments(0.5, [0.25], (0, 1))
    ([0.5], [0.25])
    """
    try:
        mean, std = (_numbers(side) for side in (mean, std))
    except (TypeError, ValueError, RuntimeError):
        raise ConfigError(
            f"mean={mean!r} and std={std!r} must be numbers, one a channel or one for all"
        ) from None
    whole = all(abs(side) < float("inf") for side in (*mean, *std))
    if len(mean) != len(std) or not whole or not all(side > 0 for side in std):
        raise ConfigError(
            f"mean={mean} and std={std} must have one entry a channel and std > 0"
        )
    if bounds is not None:
        _check_scale(mean, std, bounds)
    return mean, std


def _numbers(side: Any) -> list[float]:
    return [float(x) for x in torch.as_tensor(side).flatten().tolist()]


def _check_scale(mean: list[float], std: list[float], bounds: Bounds) -> None:
    low, high = (torch.as_tensor(side) for side in bounds)
    least, most = float(low.min()), float(high.max())
    if max(mean) <= most and max(std) <= WIDE * (most - least):
        return
    name, value = ("mean", max(mean)) if max(mean) > most else ("std", max(std))
    scale = "looks like 0..255: divide mean and std by 255"
    if value > 255:
        scale = "is on another scale: bring mean and std to that of the pixels"
    raise ConfigError(
        f"{name}={value:.4g} for pixels in [{least:g}, {most:g}] {scale}; where the pixels have "
        "another range, say so by bounds="
    )


def check_channels(images: Tensor, n: int) -> None:
    """Raises InputError unless images (N, C, ...) have the n channels of a normalisation.

    One entry serves any number of channels.
    """
    if n == 1 or (images.dim() > 1 and images.shape[1] == n):
        return
    remedy = "give images of as many channels"
    if images.dim() == 4 and images.shape[3] == n:
        remedy = (
            "they look like (N, H, W, C): pass images.permute(0, 3, 1, 2).contiguous()"
        )
    raise InputError(
        f"inputs have shape {tuple(images.shape)}, but the normalisation is for {n} channels in "
        f"dimension 1; {remedy}"
    )
