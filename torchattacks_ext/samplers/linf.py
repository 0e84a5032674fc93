"""How does an image look after uniform noise of at most eps a pixel? The Linf ball and the box."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from .._typing import Norm
from ..errors import ConfigError
from ..numerics.norms import Bounds, bounds_for, clip_
from .base import Sampler, Uniforms, bounds_setting, check_real, kept_bounds, widened

Boundary = Literal["truncate", "clamp"]


class LinfUniform(Sampler):
    """Every pixel independently and uniformly within eps of its value, and within the bounds.

    eps (float): radius in the units of the images, 0 < eps <= hi - lo.
    boundary (str): "truncate" draws uniformly on [max(lo, x - eps), min(hi, x + eps)],
        which is the uniform law on ball and box together; "clamp" draws on
        [x - eps, x + eps] and clips to the bounds, which puts mass on the bounds.
    bounds (tuple | None): lowest and highest value, floats or tensors of one value a
        channel; None for data without a range (both boundaries are the plain ball).

    Draws are exactly in the bounds and, for float32 images in [0, 1], within eps (1 +
    1e-6) + 1e-7 of the image (rounding of the sum; half images: of half precision).
    Works on any (B, ...); images must lie in the bounds. Raises ConfigError for
    settings outside their domain. Cost beside the uniform numbers: five passes over the
    images (clamp: three), 2-5 us for 3072 pixels.

    >>> u = lambda size, purpose="": torch.tensor([[0.0, 0.5, 0.75]])[:, :size]
    >>> LinfUniform(eps=0.1).sample(torch.tensor([[0.0, 0.5, 1.0]]), u)
    tensor([[0.0000, 0.5000, 0.9750]])
    """

    name = "linf"
    norm: Norm | None = "Linf"

    def __init__(
        self,
        eps: float = 8 / 255,
        *,
        boundary: Boundary = "truncate",
        bounds: Bounds | None = (0.0, 1.0),
    ) -> None:
        self.bounds = kept_bounds(bounds, boundary, get_args(Boundary))
        self.eps: float = check_real("eps", eps, 0, math.inf, "say 8/255", above=True)
        _check_width(self.eps, bounds)
        self.boundary = boundary

    def sample(self, images: Tensor, u: Uniforms) -> Tensor:
        """One draw an image from u(D), D numbers an image: (B, ...) -> (B, ...)."""
        return self._place(images, u(math.prod(images.shape[1:])))

    def from_latent(self, z: Tensor, images: Tensor) -> Tensor:
        """The same law as a map of standard normal numbers z (B, D): Phi(z) takes the place of u.

        >>> LinfUniform(eps=0.1).from_latent(torch.zeros(1, 1), torch.full((1, 1), 0.5))
        tensor([[0.5000]])
        """
        self.check_latent(z, images)
        return self._place(images, torch.special.ndtr(z))

    def settings(self) -> dict[str, Any]:
        """Name, norm, eps, boundary and bounds."""
        own = {"boundary": self.boundary, "bounds": bounds_setting(self.bounds)}
        return super().settings() | own

    def _place(self, images: Tensor, u: Tensor) -> Tensor:
        exact = widened(images)
        share = u.to(exact.dtype).reshape(images.shape)
        low = exact - self.eps
        if self.boundary == "clamp" or self.bounds is None:
            draw = clip_(low.add_(share, alpha=2 * self.eps), self.bounds)
        else:
            floor, ceiling = self.bounds
            if isinstance(floor, Tensor) or isinstance(ceiling, Tensor):
                floor, ceiling = bounds_for(self.bounds, exact)
            high = (exact + self.eps).clamp_(max=ceiling)
            # lerp works from the nearer end, so that rounding cannot leave [low, high].
            draw = low.clamp_(min=floor).lerp_(high, share)
        return draw.to(images.dtype)


def _check_width(eps: float, bounds: Bounds | None) -> None:
    if bounds is None:
        return
    widths = torch.as_tensor(bounds[1]) - torch.as_tensor(bounds[0])
    if eps > float(widths.max()):
        raise ConfigError(
            f"eps={eps:g} is larger than the range {float(widths.max()):g} of the bounds; eps is "
            "in the units of the images: for pixels in [0, 1] write 8/255, not 8"
        )
