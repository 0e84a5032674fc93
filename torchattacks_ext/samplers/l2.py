"""How does an image look after a step of at most eps in Euclidean length, uniform in that ball?"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from .._typing import Norm
from ..numerics.gaussian import normals
from ..numerics.norms import Bounds, norm_of
from .base import Sampler, Uniforms, add_noise, bounds_setting, check_real, kept_bounds

Boundary = Literal["clamp", "none"]


class RoundBall(Sampler):
    """What the uniform laws in the L2 and the L1 ball share: settings, and the step to the image.

    See :class:`L2Ball` for the arguments. A subclass writes ``_inside``, D numbers an image
    that are uniform in the unit ball, from uniform or from normal numbers.
    """

    def __init__(
        self,
        eps: float,
        *,
        boundary: Boundary = "clamp",
        bounds: Bounds | None = (0.0, 1.0),
    ) -> None:
        self.bounds = kept_bounds(bounds, boundary, get_args(Boundary))
        remedy = "eps is the length of a whole step, in the units of the images"
        self.eps: float = check_real("eps", eps, 0, math.inf, remedy, above=True)
        self.boundary = boundary

    def settings(self) -> dict[str, Any]:
        """Name, norm, eps, boundary and bounds."""
        own = {"boundary": self.boundary, "bounds": bounds_setting(self.bounds)}
        return super().settings() | own


class L2Ball(RoundBall):
    r"""A step drawn uniformly from the L2 ball of radius eps, over all features of an image.

    eps (float): radius, > 0: the Euclidean length of the whole step over all C*H*W features.
    boundary (str): "clamp" clips the image plus the step to the bounds, which shortens each
        coordinate and so never leaves the ball, but puts mass on the bounds; "none" lets
        values leave the bounds (``bounds`` is then None). The uniform law on ball and box
        together has no such simple draw: nearly all of the ball lies outside the box.
        (Default: "clamp")
    bounds (tuple | None): lowest and highest value, floats or tensors of one value a channel;
        None for data without a range. (Default: (0.0, 1.0))

    With D features, z ~ N(0, I_D) and U uniform, the step is eps U^(1/D) z / ||z||_2. Its
    length r obeys P(r <= t) = (t / eps)^D: with D = 3072 its mean is .99967 eps, so nearly
    every draw lies next to the sphere, with changes of about eps / sqrt(D) a feature (the
    Linf cube of the same radius reaches sqrt(D/3) times as far). Works on any (B, ...);
    images must lie in the bounds. Draws are within eps (1 + 1e-6) + 1e-7 of float32 images
    in [0, 1] (rounding of the sums). Raises ConfigError for settings outside their domain.
    Cost beside D + 2 uniform numbers: about 10 us for 3072 features.

    >>> law = L2Ball(eps=0.5, boundary="none")
    >>> far = law.sample(torch.zeros(1, 3), lambda size, purpose="": torch.full((1, size), 0.5))
    >>> far.norm(), 0.5 * 0.5 ** (1 / 3)
    (tensor(0.3969), 0.3968502629920499)
    """

    name = "l2"
    norm: Norm | None = "L2"

    def sample(self, images: Tensor, u: Uniforms) -> Tensor:
        """One draw an image from u(2 ceil(D/2), "normal") and u(1, "radius"): like ``images``."""
        size = math.prod(images.shape[1:])
        z = normals(u(size + size % 2, "normal"))[:, :size]
        # exp(log) and not pow: torch's pow gives the last row of a batch other bits.
        radius = u(1, "radius").log().div_(size).exp_().mul_(self.eps)
        return add_noise(images, z * (radius / _length(z)), self.bounds)

    def from_latent(self, z: Tensor, images: Tensor) -> Tensor:
        """The same law from z (B, D + 2): a point of the sphere in D + 2 dimensions, two dropped.

        Those D coordinates are exactly uniform in the ball (Voelker et al. 2017,
        "Efficiently sampling vectors and coordinates from the n-sphere and n-ball").

        >>> L2Ball(0.5).from_latent(torch.tensor([[3.0, 0.0, 4.0]]), torch.zeros(1, 1))
        tensor([[0.3000]])
        """
        self.check_latent(z, images)
        step = z[:, : z.shape[1] - 2] * (self.eps / _length(z))
        return add_noise(images, step, self.bounds)

    def latent_size(self, shape: tuple[int, ...]) -> int:
        """D + 2 for D features."""
        return math.prod(shape) + 2


def _length(z: Tensor) -> Tensor:
    # A row of zeros (probability 2^-24 for a single feature) stays zero, not NaN.
    return norm_of(z, "L2").clamp_min_(torch.finfo(z.dtype).tiny).unsqueeze(1)
