"""Do the latents of each class look like a round Gaussian? Losses that ask for it.

Pure functions of latents z (N, d) and labels y (N,), differentiable, in the dtype of z; none looks
at a model. They shape latents; they prove nothing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...errors import ConfigError, InputError
from ..arguments import as_number


def isotropy_loss(z: Tensor, y: Tensor) -> Tensor:
    r"""How far each class's covariance is from a multiple of the identity; 0 = a sphere each.

        sum_k |C_k - (tr C_k / d) I|_F^2,    C_k = (1/n_k) sum_{i in k} (z_i - mu_k)(z_i - mu_k)^T

    (arXiv:2605.25352, section 5). z (N, d), y (N,) integers -> scalar >= 0. Classes that are absent
    add nothing. Raises InputError for other shapes.

    >>> z = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> float(isotropy_loss(z, torch.zeros(4, dtype=torch.long)))
    0.0
    """
    check_latents(z, y)
    d, total = z.shape[1], z.new_zeros(())
    for k in torch.unique(y):
        own = z[y == k]
        own = own - own.mean(0)
        covariance = own.T @ own / len(own)
        mean = covariance.diagonal().mean()
        total = total + (covariance - mean * torch.eye(d).to(z)).square().sum()
    return total


def mmd_rbf(z: Tensor, other: Tensor, bandwidth: float = 1.0) -> Tensor:
    r"""Squared maximum mean discrepancy of two samples under a Gaussian kernel; 0 = the same.

        mean k(z, z') + mean k(w, w') - 2 mean k(z, w),    k(a, b) = exp(-|a - b|^2 / (2 h^2))

    over all pairs, a point with itself included (the biased estimate of Gretton et al. 2012, eq. 5:
    never negative, exactly 0 for equal samples). z (N, d), other (M, d), bandwidth h > 0 in latent
    units -> scalar in [0, 2]. Raises InputError for other shapes, ConfigError for h <= 0. Memory:
    (N + M)^2 numbers.

    >>> float(mmd_rbf(torch.zeros(2, 3), torch.zeros(2, 3)))
    0.0
    """
    h = _bandwidth(bandwidth)
    for one in (z, other):
        if one.dim() != 2 or not len(one) or one.shape[1] != z.shape[1]:
            raise InputError(
                f"samples are {tuple(z.shape)} and {tuple(other.shape)}, expected (N, d) and "
                "(M, d) with the same d"
            )
    return (
        _kernel(z, z, h).mean()
        + _kernel(other, other, h).mean()
        - 2 * _kernel(z, other, h).mean()
    )


def mmd_gaussian(z: Tensor, mean: Tensor, bandwidth: float = 1.0) -> Tensor:
    r"""Squared discrepancy between a sample and N(mean, I), whose part is known in closed form.

        mean k(z, z') + (h^2/(h^2+2))^{d/2}
          - 2 mean_i (h^2/(h^2+1))^{d/2} exp(-|z_i - mu|^2 / (2 (h^2+1)))

    with the kernel of :func:`mmd_rbf`: its limit for infinitely many draws of the Gaussian, without
    the noise of drawing. z (N, d), mean (d,) -> scalar >= 0. Errors as there.

    >>> z = torch.zeros(1, 1, dtype=torch.float64)
    >>> round(float(mmd_gaussian(z, z[0])), 6)  # 1 + 1/sqrt(3) - 2/sqrt(2)
    0.163137
    """
    h2 = _bandwidth(bandwidth) ** 2
    if z.dim() != 2 or not len(z) or tuple(mean.shape) != (z.shape[1],):
        raise InputError(
            f"latents {tuple(z.shape)} and mean {tuple(mean.shape)}, expected (N, d) and (d,)"
        )
    d = z.shape[1]
    cross = (-(z - mean).square().sum(1) / (2 * (h2 + 1))).exp().mean()
    own = math.exp(d / 2 * math.log(h2 / (h2 + 2)))
    scale = math.exp(d / 2 * math.log(h2 / (h2 + 1)))
    return _kernel(z, z, math.sqrt(h2)).mean() + own - 2 * scale * cross


def mcr2_loss(z: Tensor, y: Tensor, distortion: float = 0.5) -> Tensor:
    r"""Minus the coding rate reduction: small where all latents spread and each class does not.

        R(Z) = 1/2 log det(I + d/(n e^2) Z^T Z)
        loss = sum_k (n_k / n) R(Z_k) - R(Z)

    (Yu et al. 2020, arXiv:2006.08558, eq. 7-8, with n_k rows in Z_k.) z (N, d), y (N,), distortion
    e > 0 in latent units -> scalar <= 0 in nats. The rate grows with the length of the latents
    without end: keep them on, or in, a sphere. Raises InputError for other shapes, ConfigError for
    e <= 0. Cost: one Cholesky factor of min(n, d) a class.

    >>> z = torch.eye(2)
    >>> round(float(mcr2_loss(z, torch.tensor([0, 1]), 1.0)), 6)  # (log 3 - 2 log 2) / 2
    -0.143841
    """
    check_latents(z, y)
    e = as_number(distortion)
    if not 0 < e < math.inf:
        raise ConfigError(
            f"distortion={distortion!r} must be a finite number > 0, say 0.5"
        )
    parts = [z[y == k] for k in torch.unique(y)]
    within = [len(own) / len(z) * _rate(own, e) for own in parts]
    return torch.stack(within).sum() - _rate(z, e)


def _rate(z: Tensor, e: float) -> Tensor:
    n, d = z.shape
    gram = z @ z.T if n < d else z.T @ z  # the same determinant
    inner = torch.eye(len(gram)).to(z) + d / (n * e * e) * gram
    found: Tensor = torch.linalg.cholesky(inner).diagonal().log().sum()
    return found


def _kernel(a: Tensor, b: Tensor, h: float) -> Tensor:
    # not torch.cdist: its gradient is undefined between equal points
    return (-(a[:, None] - b[None]).square().sum(2) / (2 * h * h)).exp()


def _bandwidth(bandwidth: float) -> float:
    h = as_number(bandwidth)
    if not 0 < h < math.inf:
        raise ConfigError(
            f"bandwidth={bandwidth!r} must be a finite number > 0, say the median distance"
        )
    return h


def check_latents(z: Tensor, y: Tensor) -> None:
    """InputError unless z is (N, d) floating, N >= 1, and y (N,) integers.

    >>> check_latents(torch.zeros(2, 3), torch.tensor([0, 1]))
    """
    right = z.dim() == 2 and z.numel() and z.is_floating_point()
    whole = not (y.is_floating_point() or y.is_complex() or y.dtype == torch.bool)
    if not right or tuple(y.shape) != z.shape[:1] or not whole:
        raise InputError(
            f"latents {tuple(z.shape)} {z.dtype} and labels {tuple(y.shape)} {y.dtype}, expected "
            "(N, d) floating and (N,) integers"
        )
