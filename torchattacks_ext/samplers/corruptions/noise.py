"""How does a picture look after the noise of a sensor, or with pixels lost?"""

from __future__ import annotations

import torch
from torch import Tensor

from ..base import Uniforms
from .pictures import noise_like, uniform_like

FEW = 1024
"""Means up to which a table of their distribution functions is quicker."""


def gaussian_noise(pictures: Tensor, u: Uniforms, sigma: float) -> Tensor:
    """x + sigma z, z standard normal for each feature."""
    return pictures + noise_like(pictures, u, "normal") * sigma


def speckle_noise(pictures: Tensor, u: Uniforms, sigma: float) -> Tensor:
    """x + sigma x z, z standard normal for each feature."""
    return pictures + pictures * noise_like(pictures, u, "normal") * sigma


def shot_noise(pictures: Tensor, u: Uniforms, photons: float) -> Tensor:
    """Poisson(photons x) / photons for each feature: the fewer photons, the more noise."""
    level = uniform_like(pictures, u, "photons")
    return poisson(level, pictures * photons) / photons


def impulse_noise(pictures: Tensor, u: Uniforms, amount: float) -> Tensor:
    """Each feature is lost with probability `amount`, and then 0 or 1 by a fair coin."""
    lost = uniform_like(pictures, u, "lost") <= amount
    salt = (uniform_like(pictures, u, "salt") <= 0.5).to(pictures.dtype)
    return torch.where(lost, salt, pictures)


def poisson(level: Tensor, mean: Tensor) -> Tensor:
    """The least k with P(Poisson(mean) <= k) >= level, as floats; exact inversion.

    level: in [0, 1 - 2^-24], like `mean` (>= 0). P is the regularised incomplete gamma
    function Q(k + 1, mean); pictures of 8 bits need it for 256 means only.

    >>> poisson(torch.tensor([0.0, 0.5, 0.99, 0.5]), torch.tensor([3.0, 3.0, 3.0, 0.0]))
    tensor([0., 3., 8., 0.])
    """
    which: Tensor
    means, which = torch.unique(mean.flatten(), return_inverse=True)
    exact = mean.dtype == torch.float64  # the table lies between whole numbers
    find = _tabled if exact and len(means) <= FEW else _walked
    return find(level.flatten(), means, which).reshape(mean.shape)


def _tabled(level: Tensor, means: Tensor, which: Tensor) -> Tensor:
    """By one look into the distribution functions of all means, laid end to end."""
    most = float(means.max()) if len(means) else 0.0
    n = int(most + 6 * most**0.5) + 12
    counts = torch.arange(1, n + 1, dtype=means.dtype, device=means.device)
    table = torch.special.gammaincc(counts.expand(len(means), n), means[:, None])
    rows = torch.arange(len(means), dtype=means.dtype, device=means.device)
    place = torch.searchsorted((table + rows[:, None]).flatten(), level + rows[which])
    return (place - which * n).clamp_min_(0).to(means.dtype)


def _walked(level: Tensor, means: Tensor, which: Tensor) -> Tensor:
    """From the quantile of Cornish and Fisher to the right integer, each by itself."""
    mean = means[which]
    z = torch.special.ndtri(level.clamp_min(2.0**-25))
    count: Tensor = (mean + mean.sqrt() * z + (z * z - 1) / 6).floor_().clamp_min_(0)
    open_ = torch.arange(len(count), device=count.device)
    while len(open_):
        k, u, m = count[open_], level[open_], mean[open_]
        below = torch.special.gammaincc(k + 1, m) < u
        above = (k > 0) & (torch.special.gammaincc(k.clamp_min(1), m) >= u)
        count[open_] = k + below.to(k.dtype) - (above & ~below).to(k.dtype)
        open_ = open_[below | above]
    return count
