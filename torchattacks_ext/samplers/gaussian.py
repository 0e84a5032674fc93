"""How does an image look after Gaussian noise of one standard deviation in every pixel?"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..numerics.gaussian import normals
from ..numerics.norms import Bounds, bounds_for
from .base import (
    Sampler,
    Uniforms,
    add_noise,
    bounds_setting,
    check_real,
    kept_bounds,
    widened,
)

Boundary = Literal["clamp", "truncate", "none"]

_LIMIT = 1 - 2.0**-24
"""Largest float32 below 1; erfinv of it is 5.42 standard deviations, of 1 it is infinite."""


class Gaussian(Sampler):
    r"""Independent noise N(0, sigma^2) in every pixel; no ball holds every draw.

    sigma (float): standard deviation, > 0, in the units of the images.
    boundary (str): "clamp" clips to the bounds, which puts mass on them (torchattacks' GN
        does this); "truncate" draws from the normal law given that the value lies in the
        bounds; "none" lets values leave the bounds (``bounds`` is then None).
        (Default: "clamp")
    bounds (tuple | None): lowest and highest value, floats or tensors of one value a channel;
        None for data without a range (every boundary is then "none").
        (Default: (0.0, 1.0))

    Truncated draws invert the distribution function: with t, T = erf((lo - x) / (sigma
    sqrt 2)), erf((hi - x) / (sigma sqrt 2)) and U uniform, the change is sigma sqrt 2
    erfinv(t + U (T - t)). No draw is farther than 5.77 sigma (truncated: 5.42), which a
    normal number is with probability 8e-9 (6e-8). Works on any (B, ...); images must lie in
    the bounds. Raises ConfigError for settings outside their domain. Cost beside D uniform
    numbers: 10 us for 3072 pixels, truncated 20 us.

    >>> law = Gaussian(0.1, boundary="truncate")
    >>> law.sample(torch.zeros(1, 1), lambda size, purpose="": torch.full((1, size), 0.5))
    tensor([[0.0674]])
    """

    name = "gaussian"

    def __init__(
        self,
        sigma: float,
        *,
        boundary: Boundary = "clamp",
        bounds: Bounds | None = (0.0, 1.0),
    ) -> None:
        self.bounds = kept_bounds(bounds, boundary, get_args(Boundary))
        remedy = "it is the standard deviation in the units of the images, say 0.1"
        self.sigma = check_real("sigma", sigma, 0, math.inf, remedy, above=True)
        self.boundary = boundary

    def sample(self, images: Tensor, u: Uniforms) -> Tensor:
        """One draw an image: (B, ...) -> (B, ...), from u(2 ceil(D/2), "normal"), or u(D)."""
        size = math.prod(images.shape[1:])
        if self._truncates:
            return self._truncated(images, u(size))
        z = normals(u(size + size % 2, "normal"))[:, :size]
        return add_noise(images, z * self.sigma, self.bounds)

    def from_latent(self, z: Tensor, images: Tensor) -> Tensor:
        """The same law from z (B, D): the noise is sigma z, or (truncated) Phi(z) stands for U.

        >>> Gaussian(0.1).from_latent(torch.ones(1, 1), torch.zeros(1, 1))
        tensor([[0.1000]])
        """
        self.check_latent(z, images)
        if self._truncates:
            return self._truncated(images, torch.special.ndtr(z))
        return add_noise(images, z * self.sigma, self.bounds)

    def settings(self) -> dict[str, Any]:
        """Name, sigma, boundary and bounds (norm and eps are None)."""
        return super().settings() | {
            "sigma": self.sigma,
            "boundary": self.boundary,
            "bounds": bounds_setting(self.bounds),
        }

    @property
    def _truncates(self) -> bool:
        return self.boundary == "truncate" and self.bounds is not None

    def _truncated(self, images: Tensor, u: Tensor) -> Tensor:
        assert self.bounds is not None
        exact = widened(images)
        scale = self.sigma * math.sqrt(2)
        low, high = (
            ((bound - exact) / scale).erf_() for bound in bounds_for(self.bounds, exact)
        )
        share = u.to(exact.dtype).reshape(images.shape)
        level = high.sub_(low).mul_(share).add_(low).clamp_(-_LIMIT, _LIMIT)
        return add_noise(images, level.erfinv_().mul_(scale), self.bounds)
