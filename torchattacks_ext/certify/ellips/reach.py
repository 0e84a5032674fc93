"""How far does a latent radius reach in pixels? Divided by the Lipschitz bound, within its ball."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from ...errors import ConfigError, StatusError
from ..bounds import Estimate, LipschitzBound, only_bounds

REPRODUCTION = "reproduction, not a certificate"
OUTWARD = 1 + 1e-9
"""Factor of every bound: its own rounding, and that of the division."""
ROUNDING_FACTOR = 10.0

Known = LipschitzBound | Estimate


def admitted(found: object, paper_mode: bool) -> Known:
    """`found`, if it may scale radii of that kind.

    Raises StatusError for an estimate, a point bound or a bare number without `paper_mode`.

    >>> admitted(Estimate(2.0), paper_mode=True).value
    2.0
    """
    if paper_mode and isinstance(found, Estimate):
        if not 0 <= found.value < math.inf:
            raise ConfigError(f"an estimate of {found.value!r} must be finite and >= 0")
        return found
    return only_bounds(found)


def tier_of(known: Known, paper_mode: bool) -> str:
    """How radii that rest on it may be called.

    >>> tier_of(LipschitzBound.assume(1.0), False), tier_of(LipschitzBound(1.0), True)
    ('conditional: L assumed', 'reproduction, not a certificate')
    """
    return REPRODUCTION if paper_mode else known.status


def one_image_only(known: Known, n: int) -> None:
    """Raises StatusError where a bound of one image's ball meets `n` images."""
    if isinstance(known, LipschitzBound) and known.scope == "ball" and n > 1:
        raise StatusError(
            f"a bound that holds within {known.radius:g} of one image says nothing about {n}; "
            "certify image by image, or give a global bound"
        )


def pixel_radius(rho: Tensor, known: Known, encoder_slack: float = 0.0) -> Tensor:
    """Radii (N,) in pixels of latent radii rho (N,): min(ball, (rho - 2 slack) / L).

    encoder_slack: how far the encoder's arithmetic may be from the function that the bound is of,
    in latent L2, at the image and at its neighbour. 0 where nothing is left; inf where L is 0.

    >>> pixel_radius(torch.ones(1, dtype=torch.float64), LipschitzBound(2.0))
    tensor([0.5000], dtype=torch.float64)
    """
    left = rho - 2 * encoder_slack
    if known.value > 0:
        found = left / (known.value * OUTWARD)
    else:
        found = torch.full_like(left, math.inf)
    if isinstance(known, LipschitzBound) and known.scope == "ball":
        found = found.clamp(max=known.radius)
    return torch.where(left > 0, found, 0.0)


def rounding_estimate(encoder: nn.Module, images: Tensor) -> Estimate:
    """Ten times the largest L2 difference of the encoder's latents in its own and in double.

    images: (N, ...) checked pixels. What may go into `encoder_slack`: an estimate, since other
    images may differ more. Two forward row-passes an image, one of a deep copy.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> 0 < rounding_estimate(net, torch.rand(3, 1, 2, 2)).value < 1e-4
    True
    """
    double = copy.deepcopy(encoder).double()
    with torch.no_grad():
        change = encoder(images).double() - double(images.double())
    worst = float(change.flatten(1).norm(dim=1).max()) if len(images) else 0.0
    source = f"{ROUNDING_FACTOR:g} times the largest of {len(images)} images"
    return Estimate(ROUNDING_FACTOR * worst, source)
