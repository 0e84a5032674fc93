"""How does an image look when it is turned, moved and resized a little?"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError, InputError
from .base import Sampler, Uniforms, check_real, check_word

Padding = Literal["zeros", "border", "reflection"]


class Affine(Sampler):
    """Rotation, translation and scale, each drawn uniformly and independently for each image.

    rotation (float): angle in degrees, uniform in [-rotation, rotation], in [0, 180].
        (Default: 0.0)
    translation (float): shift to the right as a share of the width and down as a share of the
        height, each uniform in [-translation, translation], in [0, 1]. (Default: 0.0)
    scale (float): the factor is uniform in [1 - scale, 1 + scale], in [0, 1). (Default: 0.0)
    padding (str): what comes in from outside: "zeros" (black), "border" (the edge pixel) or
        "reflection" (mirrored at the edge). (Default: "zeros")

    All images of a batch are warped at once by :func:`warp`. There is no ball; values stay
    between the lowest and the highest of the image (and 0 for "zeros"). Only for
    (B, C, H, W): InputError for other shapes. Raises ConfigError for settings outside their
    domain, and when nothing would move. Cost beside 4 uniform numbers: 20 us for 3 x 32 x 32.

    >>> u = lambda size, purpose="": torch.tensor([[1.0, 0.5, 0.5, 0.5]])
    >>> Affine(rotation=90).sample(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), u)
    tensor([[[[2., 4.],
              [1., 3.]]]])
    """

    name = "affine"

    def __init__(
        self,
        rotation: float = 0.0,
        translation: float = 0.0,
        scale: float = 0.0,
        *,
        padding: Padding = "zeros",
    ) -> None:
        check_word("padding", padding, get_args(Padding))
        real = check_real
        self.rotation = real("rotation", rotation, 0, 180, "it is an angle in degrees")
        shares = "it is a share of the width and the height, say 0.1"
        self.translation = real("translation", translation, 0, 1, shares)
        factors = "0.1 draws factors from 0.9 to 1.1"
        self.scale = real("scale", scale, 0, math.nextafter(1, 0), factors)
        if not (self.rotation or self.translation or self.scale):
            raise ConfigError(
                "rotation=0, translation=0 and scale=0 move nothing; give one of them, as in "
                "Affine(rotation=10)"
            )
        self.padding: Padding = padding

    def sample(self, images: Tensor, u: Uniforms) -> Tensor:
        """One draw an image from u(4): (B, C, H, W) -> (B, C, H, W)."""
        return self._moved(images, u(4))

    def from_latent(self, z: Tensor, images: Tensor) -> Tensor:
        """The same law from z (B, 4): Phi(z) takes the place of u.

        >>> Affine(scale=0.5).from_latent(torch.zeros(1, 4), torch.ones(1, 1, 1, 1))
        tensor([[[[1.]]]])
        """
        self.check_latent(z, images)
        return self._moved(images, torch.special.ndtr(z))

    def latent_size(self, shape: tuple[int, ...]) -> int:
        """4 for images of any shape: the angle, two shifts and the scale."""
        return 4

    def settings(self) -> dict[str, Any]:
        """Name, rotation, translation, scale and padding (norm and eps are None)."""
        names = ("rotation", "translation", "scale", "padding")
        return super().settings() | {name: getattr(self, name) for name in names}

    def _moved(self, images: Tensor, u: Tensor) -> Tensor:
        share = u.to(_wide(images)) * 2 - 1
        degrees, shift = share[:, 0] * self.rotation, share[:, 1:3] * self.translation
        return warp(images, degrees, shift, 1 + share[:, 3] * self.scale, self.padding)


def warp(
    images: Tensor,
    degrees: Tensor,
    shift: Tensor,
    scale: Tensor,
    padding: Padding = "zeros",
) -> Tensor:
    """Each image scaled and turned about its centre, then shifted; one set of numbers an image.

    images (B, C, H, W); degrees (B,), counter-clockwise; shift (B, 2), right as a share of
    the width and down as a share of the height; scale (B,), > 1 enlarges. Returns
    (B, C, H, W), the same dtype. With p the centre of a pixel, counted in pixels from the
    centre of the image (so that angles are kept in images that are not square), the new
    value at p is the bilinear interpolation of the old ones at

        R(-degrees) (p - shift * (W, H)) / scale.

    Computed in float64 where the device has it: then no rotation, no shift and scale 1 give
    the image back. Raises InputError unless images are (B, C, H, W).

    >>> image, zero = torch.arange(3.0).view(1, 1, 1, 3), torch.zeros(1)
    >>> warp(image, zero, torch.tensor([[1 / 3, 0.0]]), torch.ones(1)).round(decimals=4)
    tensor([[[[0., 0., 1.]]]])
    """
    if images.ndim != 4:
        raise InputError(
            f"images have shape {tuple(images.shape)}, expected (B, C, H, W): only pictures can "
            "be turned, moved or resized"
        )
    dtype = _wide(images)
    grid = _grid(
        images.shape[3], images.shape[2], degrees.to(dtype), shift.to(dtype), scale
    )
    found = F.grid_sample(
        images.to(dtype), grid, "bilinear", padding, align_corners=False
    )
    return found.to(images.dtype)


def _grid(
    width: int, height: int, degrees: Tensor, shift: Tensor, scale: Tensor
) -> Tensor:
    """Where each new pixel comes from: (B, H, W, 2), in the units of grid_sample, [-1, 1]."""
    x, y = (
        torch.arange(n, dtype=degrees.dtype, device=degrees.device) + (1 - n) / 2
        for n in (width, height)
    )
    x = (x - shift[:, :1] * width).view(-1, 1, width)
    y = (y - shift[:, 1:] * height).view(-1, height, 1)
    angle = torch.deg2rad(degrees)
    cos, sin = (f(angle).div(scale).view(-1, 1, 1) for f in (torch.cos, torch.sin))
    # Not F.affine_grid: its matrix product may give a row other bits in another batch.
    across = (x * cos - y * sin).mul_(2 / width)
    down = (x * sin + y * cos).mul_(2 / height)
    return torch.stack([across, down], dim=-1)


def _wide(images: Tensor) -> torch.dtype:
    return torch.float32 if images.device.type == "mps" else torch.float64
