"""Which small networks move no two images apart by more than they were? Orthogonal encoders."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn
from torch.nn.utils import skip_init

from ...errors import ConfigError
from ...models.lipschitz import GroupSort
from ...numerics.arguments import is_whole, parse_seed
from .orthogonal import draw_, orthogonal_layers


def orthogonal_mlp(
    shape: Sequence[int], dim: int, widths: Sequence[int] = (), seed: int = 0
) -> nn.Sequential:
    """Flatten, then Linear and MaxMin for each width, then Linear to `dim` latents; norm 1.

    shape: of one image, say (1, 28, 28). dim: latents, d. widths: even numbers; () is a single
    orthogonal projection. Weights are random orthogonal, drawn from the seed alone; no global
    generator is used. Raises ConfigError for sizes that are not whole numbers >= 1, or odd widths.

    >>> orthogonal_mlp((1, 4, 4), dim=3, widths=[8])
    Sequential(
      (0): Flatten(start_dim=1, end_dim=-1)
      (1): Linear(in_features=16, out_features=8, bias=True)
      (2): GroupSort(size=2)
      (3): Linear(in_features=8, out_features=3, bias=True)
    )
    """
    _check(shape, dim, widths)
    layers: list[nn.Module] = [nn.Flatten()]
    size = math.prod(shape)
    for width in widths:
        layers += [_bare(nn.Linear, size, width), GroupSort()]
        size = width
    return _drawn([*layers, _bare(nn.Linear, size, dim)], seed)


def orthogonal_cnn(
    shape: Sequence[int], dim: int, channels: Sequence[int] = (16,), seed: int = 0
) -> nn.Sequential:
    """For each entry a 4 x 4 convolution of stride 2 and MaxMin, then Linear to `dim` latents.

    shape: (C, H, W) of one image; H and W are halved by each convolution. A convolution of c inputs
    keeps all norms, but for the pixels at the edge, where it has at least 16 c channels; fewer
    project. Arguments and errors else as in :func:`orthogonal_mlp`.

    >>> import torch
    >>> orthogonal_cnn((1, 8, 8), dim=3)(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 3])
    """
    _check(shape, dim, channels)
    if len(shape) != 3 or min(shape[1:]) < 2 ** len(channels):
        raise ConfigError(
            f"shape={tuple(shape)} must be (C, H, W) with sides >= {2 ** len(channels)}"
        )
    layers: list[nn.Module] = []
    size, (high, wide) = shape[0], shape[1:]
    for width in channels:
        layers += [_bare(nn.Conv2d, size, width, 4, 2, 1), GroupSort()]
        size, high, wide = width, high // 2, wide // 2
    layers += [nn.Flatten(), _bare(nn.Linear, size * high * wide, dim)]
    return _drawn(layers, seed)


def _bare(kind: type[nn.Module], *sizes: int) -> nn.Module:
    """A layer without numbers yet: its own start would draw from the global generator."""
    made: nn.Module = skip_init(kind, *sizes)  # type: ignore[no-untyped-call]
    return made


def _drawn(layers: list[nn.Module], seed: int) -> nn.Sequential:
    seed = parse_seed(seed)
    net = nn.Sequential(*layers)
    draw_(orthogonal_layers(net), seed)
    return net


def _check(shape: Sequence[int], dim: int, widths: Sequence[int]) -> None:
    if not shape or not all(is_whole(n, 1) for n in (*shape, dim, *widths)):
        raise ConfigError(
            f"shape={shape!r}, dim={dim!r} and widths={widths!r} must be whole numbers >= 1"
        )
    if any(width % 2 for width in widths):
        raise ConfigError(f"widths={widths!r} must be even: MaxMin works on pairs")
