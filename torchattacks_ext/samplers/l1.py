"""How does an image look after a step of at most eps in the sum of its changes, uniformly?"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._typing import Norm
from ..numerics.norms import norm_of
from .base import Uniforms, add_noise
from .l2 import RoundBall


class L1Ball(RoundBall):
    r"""A step drawn uniformly from the L1 ball of radius eps, over all features of an image.

    eps (float): radius, > 0: the sum of |change| over all C*H*W features.
    boundary (str): "clamp" clips the image plus the step to the bounds, which never leaves
        the ball; "none" lets values leave the bounds (``bounds`` is then None).
        (Default: "clamp")
    bounds (tuple | None): lowest and highest value, floats or tensors of one value a channel;
        None for data without a range. (Default: (0.0, 1.0))

    With D features, independent E_0..E_D ~ Exp(1) and signs s_i, change i is

        eps s_i E_i / (E_0 + E_1 + ... + E_D)

    (Barthe et al. 2005, "A probabilistic approach to the geometry of the l_p^n-ball", Ann.
    Probab., p = 1). Its length obeys P(r <= t) = (t / eps)^D, so in many dimensions nearly
    every draw lies next to the sphere, and a change is about eps / D: where that is near
    the rounding of a pixel, the law is that of the rounded sums. Works on any (B, ...);
    images must lie in the bounds. Draws are within eps (1 + 1e-6) + 1e-7 sqrt(D) of float32
    images in [0, 1] (D rounded sums). Raises ConfigError for settings outside their domain.
    Cost beside D + 1 uniform numbers: about 11 us for 3072 features.

    >>> law = L1Ball(eps=0.5, boundary="none")
    >>> far = law.sample(torch.zeros(1, 3), lambda size, purpose="": torch.full((1, size), 0.5))
    >>> bool(far.abs().sum() < 0.5)
    True
    """

    name = "l1"
    norm: Norm | None = "L1"

    def sample(self, images: Tensor, u: Uniforms) -> Tensor:
        """One draw an image from u(D, "exponential") and u(1, "radius"): (B, ...) -> (B, ...)."""
        # Odd multiples of 2^-24 in (-1, 1): sign and size of one number, both exact, never
        # 0 and never 1. So is 1 - |v|, and log(1 - |v|) is log1p(-|v|) at an eighth of
        # its time.
        v = u(math.prod(images.shape[1:]), "exponential") * 2
        v.sub_(1).add_(2.0**-24)
        sizes = (1 - v.abs()).log_().neg_()
        extra = (1 - u(1, "radius")).log_().neg_()
        return self._place(images, sizes.copysign_(v), extra)

    def from_latent(self, z: Tensor, images: Tensor) -> Tensor:
        """The same law from z (B, D + 1): signs of z, sizes -log(2 Phi(-|z|)); the last is E_0.

        >>> law = L1Ball(0.5)
        >>> law.from_latent(torch.tensor([[-2.0, 0.0]]), torch.ones(1, 1)) < 1
        tensor([[True]])
        """
        self.check_latent(z, images)
        tails = torch.special.log_ndtr
        sizes = tails(-z[:, :-1].abs()).add_(math.log(2)).neg_().clamp_min_(0)
        return self._place(images, sizes.copysign_(z[:, :-1]), -tails(z[:, -1:]))

    def latent_size(self, shape: tuple[int, ...]) -> int:
        """D + 1 for D features."""
        return math.prod(shape) + 1

    def _place(self, images: Tensor, signed: Tensor, extra: Tensor) -> Tensor:
        total = norm_of(signed, "L1").unsqueeze(1) + extra
        return add_noise(images, signed * (self.eps / total), self.bounds)
