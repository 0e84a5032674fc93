"""How far is a latent from the boundary between its class and each rival, with a gradient?

For training: an encoder and its Gaussians are moved so that these distances grow. What is certified
in the end is computed anew by the radii of `numerics.certificates`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...errors import InputError
from .losses import check_latents

STEPS = 3
"""Projections on the linearised boundary; the third moves a distance by less than 1 % at d = 96."""
_FAR = 1e4
"""Distance to the own class, which has none: larger than any other, and without gradient."""
_FLAT = 1e-3
"""Gradients of scores shorter than this divide nothing."""


def boundary_distances(
    z: Tensor,
    y: Tensor,
    means: Tensor,
    factors: Tensor,
    biases: Tensor,
    steps: int = STEPS,
) -> Tensor:
    r"""Signed L2 distances from latents to the boundary of their class with each rival.

        m_i(x) = s_y(x) - s_i(x),    s_k(x) = b_k - |A_k (x - mu_k)|^2
        d <- -(m_i(z + d) - g^T d) g / |g|^2,    g = grad m_i(z + d),    d_0 = 0

    The fixed points are the points where the line from z meets the boundary at a right angle: the
    nearest one, for latents near the boundary. No step leads further than the mean of the class to
    be reached, before which the boundary is crossed. A distance is positive on the own side. Its
    gradient is that of the exact distance: at the nearest point x* = z + d the distance changes by
    dm_i(x*) / |grad m_i(x*)| (envelope theorem), whether z or the Gaussians move.

    Arguments:
        z (Tensor): (N, d) latents. y (Tensor): (N,) classes in 0 .. K-1.
        means (Tensor): (K, d). factors (Tensor): (K, d, d) A_k. biases (Tensor): (K,).
        steps (int): projections, >= 1. (Default: 3)

    Returns (N, K); a constant 1e4 in the column of the own class. It is a first-order figure where
    the steps have not settled (far from a strongly curved boundary), and never a certificate.
    Raises InputError for other shapes. Cost: (steps + 2) K N d^2 multiplications, twice.

    >>> means = torch.tensor([[0.0, 0.0], [4.0, 0.0]], dtype=torch.float64)
    >>> one = torch.eye(2, dtype=torch.float64).expand(2, 2, 2)
    >>> z, y = means[:1] + 0.5, torch.tensor([0])
    >>> boundary_distances(z, y, means, one, torch.zeros(2))[0, 1].item()
    1.5
    """
    check_latents(z, y)
    k, d = means.shape if means.dim() == 2 else (0, 0)
    shapes = tuple(factors.shape), tuple(biases.shape), z.shape[1]
    if shapes != ((k, d, d), (k,), d):
        raise InputError(
            f"latents {tuple(z.shape)}, means {tuple(means.shape)}, factors {shapes[0]} and biases "
            f"{shapes[1]}; expected (N, d), (K, d), (K, d, d) and (K,)"
        )
    precisions = factors.mT @ factors

    def rise(points: Tensor) -> tuple[Tensor, Tensor]:
        """m (N, K) at one point (N, K, d) a rival, and its gradient."""
        other, own = points - means, points - means[y][:, None]
        over = torch.einsum("kij,bkj->bki", precisions, other)
        under = own @ precisions[y]  # symmetric
        m = (other * over).sum(2) - (own * under).sum(2)
        return m + biases[y][:, None] - biases, 2 * (over - under)

    start = z[:, None].expand(-1, k, -1)
    with torch.no_grad():
        to_mean = (start - means).norm(dim=2)
        reach = torch.maximum(to_mean, to_mean.gather(1, y[:, None].long()))
        step, sign = _nearest(rise, start, reach.unsqueeze(2), steps)
        slope = rise(start + step)[1].norm(dim=2).clamp(min=_FLAT)
    found = sign * step.norm(dim=2) + rise(start + step)[0] / slope
    own = torch.nn.functional.one_hot(y.long(), k).bool()
    whole: Tensor = found.masked_fill(own, _FAR)
    return whole


def _nearest(
    rise: Callable[[Tensor], tuple[Tensor, Tensor]],
    start: Tensor,
    reach: Tensor,
    steps: int,
) -> tuple[Tensor, Tensor]:
    """Steps (N, K, d) to the boundaries, at most `reach` long, and the sides (N, K) of `start`."""
    m, slope = rise(start)
    sign, step = m.sign(), torch.zeros_like(slope)
    for _ in range(steps):
        size = slope.square().sum(2).clamp(min=_FLAT**2)
        step = -((m - (slope * step).sum(2)) / size).unsqueeze(2) * slope
        step = step * (reach / step.norm(dim=2, keepdim=True).clamp(min=_FLAT)).clamp(
            max=1
        )
        m, slope = rise(start + step)
    return step, sign
