"""How does an image look in other light, with other contrast, or slightly out of focus?"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError, InputError
from ..numerics.norms import Bounds, clip_
from .base import Sampler, Uniforms, bounds_setting, check_range, check_real, widened


class Photometric(Sampler):
    """Contrast, brightness and blur, each drawn uniformly and independently for each image.

    brightness (float): b is uniform in [-brightness, brightness], >= 0, in the units of the
        images. (Default: 0.0)
    contrast (float): c is uniform in [-contrast, contrast], in [0, 1]. (Default: 0.0)
    blur (float): the standard deviation of a Gaussian blur is uniform in [0, blur] pixels,
        >= 0. (Default: 0.0)
    bounds (tuple | None): lowest and highest value, floats or tensors of one value a channel;
        None for data without a range. (Default: (0.0, 1.0))

    An image x becomes mean + (1 + c)(x - mean) + b, where mean is the mean of all its
    features (one number an image, over all channels), is then blurred by :func:`blurred`
    (edge pixels repeated, kernel cut off at ceil(3 blur) pixels) and last clipped to the
    bounds. There is no ball. Works on any (B, ...), with blur only on (B, C, H, W):
    InputError for other shapes. Raises ConfigError for settings outside their domain, and
    when nothing would change. Cost beside 3 uniform numbers: 3 us for 3 x 32 x 32, with
    blur=1 12 us.

    >>> u = lambda size, purpose="": torch.tensor([[0.0, 1.0, 0.5]])
    >>> Photometric(brightness=0.1, contrast=0.5).sample(torch.tensor([[0.2, 0.4]]), u)
    tensor([[0.3500, 0.4500]])
    """

    name = "photometric"

    def __init__(
        self,
        brightness: float = 0.0,
        contrast: float = 0.0,
        blur: float = 0.0,
        *,
        bounds: Bounds | None = (0.0, 1.0),
    ) -> None:
        units = "it is in the units of the images, say 0.1"
        self.brightness = check_real("brightness", brightness, 0, math.inf, units)
        factors = "0.2 draws factors from 0.8 to 1.2"
        self.contrast = check_real("contrast", contrast, 0, 1, factors)
        pixels = "it is a standard deviation in pixels, say 1"
        self.blur = check_real("blur", blur, 0, math.inf, pixels)
        check_range(bounds)
        if not (self.brightness or self.contrast or self.blur):
            raise ConfigError(
                "brightness=0, contrast=0 and blur=0 change nothing; give one of them, as in "
                "Photometric(brightness=0.1)"
            )
        self.bounds = bounds

    def sample(self, images: Tensor, u: Uniforms) -> Tensor:
        """One draw an image from u(3), contrast, brightness, blur: (B, ...) -> (B, ...)."""
        return self._changed(images, u(3))

    def from_latent(self, z: Tensor, images: Tensor) -> Tensor:
        """The same law from z (B, 3): Phi(z) takes the place of u.

        >>> Photometric(contrast=0.5).from_latent(torch.zeros(1, 3), torch.ones(1, 2))
        tensor([[1., 1.]])
        """
        self.check_latent(z, images)
        return self._changed(images, torch.special.ndtr(z))

    def latent_size(self, shape: tuple[int, ...]) -> int:
        """3 for images of any shape: contrast, brightness and blur."""
        return 3

    def settings(self) -> dict[str, Any]:
        """Name, brightness, contrast, blur and bounds (norm and eps are None)."""
        names = ("brightness", "contrast", "blur")
        own = {name: getattr(self, name) for name in names}
        return super().settings() | own | {"bounds": bounds_setting(self.bounds)}

    def _changed(self, images: Tensor, u: Tensor) -> Tensor:
        if self.blur and images.ndim != 4:
            raise InputError(
                f"images have shape {tuple(images.shape)}, blur={self.blur:g} needs "
                "(B, C, H, W); give pictures, or blur=0"
            )
        exact = widened(images)
        ones = (1,) * (images.ndim - 1)
        share = u.to(exact.dtype)
        contrast, brightness, deviation = (
            share[:, i].view(-1, *ones) for i in range(3)
        )
        # In float64 the order of the sum, which depends on the batch, hides below float32.
        wide = torch.float32 if exact.device.type == "mps" else torch.float64
        mean = exact.flatten(1).mean(1, dtype=wide).to(exact.dtype).view(-1, *ones)
        out = (exact - mean).mul_((contrast * 2 - 1) * self.contrast).add_(exact)
        out.add_((brightness * 2 - 1) * self.brightness)
        if self.blur:
            radius = math.ceil(3 * self.blur)
            out = blurred(out, deviation.flatten() * self.blur, radius)
        return clip_(out, self.bounds).to(images.dtype)


def blurred(images: Tensor, deviation: Tensor, radius: int) -> Tensor:
    """Each image (B, C, H, W) blurred by a Gaussian of its own deviation (B,) >= 0, in pixels.

    Weights exp(-k^2 / (2 deviation^2)) for |k| <= radius, divided by their sum, first along
    rows and then along columns; edge pixels are repeated. Deviation 0 changes nothing. A sum
    of 2 (2 radius + 1) shifted images: every row has its own weights, and none depends on
    another one. float32 or float64.

    >>> image = torch.tensor([[[[0.0, 1.0, 0.0]]]])
    >>> blurred(image, torch.tensor([1e6]), 1).sum(dim=3)
    tensor([[[1.]]])
    """
    steps = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    # Below 0.01 pixels only the middle weight is not zero; the limit keeps 0/0 away.
    share = steps / deviation.to(images.dtype).clamp_min(1e-2).unsqueeze(1)
    weights = share.square_().mul_(-0.5).exp_()
    weights /= weights.sum(1, keepdim=True)
    for dim, pad in ((3, (radius, radius, 0, 0)), (2, (0, 0, radius, radius))):
        wide, size = F.pad(images, pad, mode="replicate"), images.shape[dim]
        images = torch.zeros_like(images)
        for k in range(2 * radius + 1):
            weight = weights[:, k].view(-1, 1, 1, 1)
            images.addcmul_(wide.narrow(dim, k, size), weight)
    return images
