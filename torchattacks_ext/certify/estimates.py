"""How steep does an encoder look from samples? Numbers that no certificate may rest on.

Sampled gradients: the largest norm of the Jacobian that was met. CLEVER (Weng et al. 2018,
arXiv:1801.10578): the maxima of batches of such norms are taken for draws of a reverse Weibull law,
and the end of that law for the constant. Both may lie below it, CLEVER by any factor (Goodfellow
2018, arXiv:1804.07870), so that both return an :class:`~.bounds.Estimate`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from ..errors import InputError, ModelContractError
from ..models.logits import working_dtype
from ..models.modes import in_training
from ..models.precision import full_precision
from ..models.session import first_tensor, session
from ..numerics.arguments import parse_number, parse_seed, parse_whole
from ..numerics.gaussian import normals
from ..numerics.streams import uniform
from .bounds import Estimate

FLAT = 1e-6
"""Spread of the maxima, in parts of the largest, below which there is no law to fit."""


def sampled_gradients(
    encoder: nn.Module,
    images: Tensor,
    radius: float = 0.0,
    *,
    n_samples: int = 1,
    seed: int = 0,
    batch_size: int = 256,
) -> Estimate:
    """The largest spectral norm of the Jacobian of latents among points around the images.

    encoder: nn.Module in eval mode, float32 or float64, images (N, ...) to latents (N, ...).
    radius: L2, of the ball around each image in which `n_samples` points are drawn uniformly
    (1 point, radius 0: the images themselves), from `seed` alone. Never above the constant of the
    encoder on these balls, but for rounding.

    Raises InputError for images without rows, ModelContractError in training mode and in half
    precision, ConfigError for settings outside their domains. Cost: N n_samples (1 + d)
    row-passes for d latents: one forward and one backward each.

    >>> sampled_gradients(nn.Linear(2, 1).eval(), torch.zeros(3, 2)).status
    'not a certificate'
    """
    radius, n = parse_number(radius, "radius"), parse_whole(n_samples, "n_samples", 1)
    found = _norms(encoder, images, radius, n, seed, batch_size)
    source = f"largest of {found.size} sampled gradients"
    return Estimate(float(found.max()), f"{source}, L2 radius {radius:g}")


def clever(
    encoder: nn.Module,
    images: Tensor,
    radius: float,
    *,
    n_batches: int = 50,
    n_samples: int = 64,
    seed: int = 0,
    batch_size: int = 256,
) -> Estimate:
    """CLEVER's estimate of the largest slope in the L2 ball of `radius` around any of the images.

    A reverse Weibull law is fitted (scipy.stats.weibull_max, maximum likelihood) to the `n_batches`
    maxima of `n_samples` Jacobian norms each; its end, but never less than what was met, is the
    estimate of that image, and the largest over the images is returned: give one image for its own.
    The published settings are 500 batches of 1024. Other arguments, and errors, as for
    :func:`sampled_gradients`. Cost: N n_batches n_samples (1 + d) row-passes.

    >>> found = clever(nn.Linear(2, 1).eval(), torch.zeros(1, 2), 0.5, n_batches=5, n_samples=2)
    >>> found.source
    'CLEVER, 5 batches of 2 gradients, L2 radius 0.5'
    """
    radius = parse_number(radius, "radius")
    n_batches = parse_whole(n_batches, "n_batches", 2)
    n_samples = parse_whole(n_samples, "n_samples", 1)
    norms = _norms(encoder, images, radius, n_batches * n_samples, seed, batch_size)
    maxima = norms.reshape(len(norms), n_batches, n_samples).max(2)
    value = max(_end_of_law(row) for row in maxima)
    words = (
        f"CLEVER, {n_batches} batches of {n_samples} gradients, L2 radius {radius:g}"
    )
    return Estimate(value, words)


def _end_of_law(maxima: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """Location of the reverse Weibull law of the maxima, at least the largest of them."""
    largest, spread = float(maxima.max()), float(np.ptp(maxima))
    if spread <= FLAT * largest:
        return largest
    scaled = (maxima - largest) / spread  # the optimiser starts from numbers of order 1
    _, location, _ = stats.weibull_max.fit(scaled)
    end = largest + float(location) * spread
    return max(largest, end) if math.isfinite(end) else largest


def _norms(
    encoder: nn.Module,
    images: Tensor,
    radius: float,
    n: int,
    seed: int,
    batch_size: int,
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Spectral norms of the Jacobians at n points around every image, (N, n) float64."""
    _refuse_unready(encoder)
    batch_size, seed = parse_whole(batch_size, "batch_size", 1), parse_seed(seed)
    if images.dim() < 2 or not images.numel():
        raise InputError(
            f"images have shape {tuple(images.shape)}, expected (N, ...) with rows"
        )
    like = first_tensor(encoder)
    device = images.device if like is None else like.device
    images = images.detach().to(device, working_dtype(encoder))
    found = []
    with session(encoder), full_precision(), torch.enable_grad():
        for points in _points(images, radius, n, seed, batch_size):
            found.append(_jacobian_norms(encoder, points))
    return torch.cat(found).reshape(len(images), n).cpu().double().numpy()


def _points(
    images: Tensor, radius: float, n: int, seed: int, batch_size: int
) -> Iterator[Tensor]:
    """n points in the ball of every image, image after image, in batches."""
    rows = torch.arange(len(images)).repeat_interleave(n)
    draws = torch.arange(n).repeat(len(images))
    size = images[0].numel()
    for start in range(0, len(rows), batch_size):
        at, draw = rows[start : start + batch_size], draws[start : start + batch_size]
        centres = images[at.to(images.device)]
        if radius == 0:
            yield centres
            continue
        z = normals(uniform(seed, at, "clever direction", draw, size + size % 2))[
            :, :size
        ]
        length = uniform(seed, at, "clever length", draw, 1) ** (1 / size) * radius
        step = z / z.norm(dim=1, keepdim=True).clamp(min=1e-30) * length
        yield centres + step.to(centres).reshape(centres.shape)


def _jacobian_norms(encoder: nn.Module, points: Tensor) -> Tensor:
    """Largest singular value of every row's Jacobian, (B,)."""
    points = points.clone().requires_grad_(True)
    latents = encoder(points)
    if not isinstance(latents, Tensor) or len(latents) != len(points):
        raise ModelContractError(
            "the encoder must map images (N, ...) to one tensor of N rows"
        )
    sums = latents.flatten(1).sum(0)
    rows = []
    for one in sums:
        (slope,) = torch.autograd.grad(
            one, points, retain_graph=True, allow_unused=True
        )
        rows.append(torch.zeros_like(points) if slope is None else slope)
    jacobian = torch.stack([row.flatten(1) for row in rows], dim=1).double()
    norms: Tensor = torch.linalg.matrix_norm(jacobian, 2)
    return norms


def _refuse_unready(encoder: nn.Module) -> None:
    training = next(in_training(encoder), None)
    if training is not None:
        raise ModelContractError(
            f"{type(training).__name__} is in training mode, where it is another function: call "
            "encoder.eval() first"
        )
    sample = first_tensor(encoder)
    if sample is not None and sample.element_size() < 4:
        raise ModelContractError(
            f"the encoder computes in {sample.dtype}: give encoder.float() or encoder.double()"
        )
