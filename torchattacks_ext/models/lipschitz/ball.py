r"""How much can a ReLU net stretch within a ball around one image? Less than anywhere.

With L(r) an upper bound of the Lipschitz constant on the L2 ball B(x, r) (see :mod:`.near`), a
latent that is safe within rho is safe for inputs within min(r, rho / L(r)). The largest such r is
looked for by bisection: L(r) grows with r. (A bound at x alone, without its ball, says nothing.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError, InputError
from ...numerics.certificates.rounding import product
from .chain import DENSE, Affine, chain_of
from .near import OUTWARD, State

INWARD = 1 - 1e-9
"""Radii are multiplied by this, which takes off more than their roundings can add."""

MOST_NUMBERS = 1 << 24
"""Entries of matrices of all images that are in memory at a time, four times or so."""
LEAP, EXPANSIONS = 4096.0, 8
"""The radius grows by at most the first, so often, where L is zero on the ball."""


@dataclass(frozen=True, eq=False)
class BallBounds:
    """Bounds of a chain of Linear, Conv and ReLU layers within balls around images.

    layers: as chain_of gives them.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).eval()
    >>> bounds = BallBounds.of(net, (2,))
    >>> near, far = bounds.at(torch.zeros(1, 2), 0.1), bounds.at(torch.zeros(1, 2), 100.0)
    >>> bool(near <= far), bool(far <= bounds.everywhere)
    (True, True)
    """

    layers: tuple[Affine, ...]

    @classmethod
    def of(cls, model: nn.Module, input_shape: Sequence[int]) -> BallBounds:
        """From a model in eval mode; ModelContractError for one that is no such chain."""
        return cls(tuple(chain_of(model, input_shape)))

    @cached_property
    def product(self) -> float:
        """The product of the norms of the layers."""
        return product(layer.norm for layer in self.layers)

    @cached_property
    def everywhere(self) -> float:
        """The bound for all inputs: the product, or less where the layers are small as matrices.

        relu is (x + |x|) / 2, so that ||W_2 relu W_1|| <= (||W_2 W_1|| + ||W_2|| ||W_1||) / 2.
        """
        shape = self.layers[0].shape
        state = State.start(torch.zeros(1, *shape).double(), torch.zeros(1).double())
        for layer in self.layers:
            state = state.anywhere(layer)
        return min(self.product, float(state.bound[0]) * OUTWARD)

    def at(self, images: Tensor, radius: Tensor | float) -> Tensor:
        """Upper bounds L (N,) float64 of the Lipschitz constants on B(x, radius).

        images (N, ...); radius: L2, in the units of the images, >= 0, one or (N,). Raises
        InputError for images of another shape, ConfigError for a negative radius. Cost: about five
        row-passes, and three singular values a layer, an image.
        """
        images, wide = self._checked(images), torch.float64
        radii = torch.as_tensor(radius, dtype=wide).cpu().expand(len(images))
        if not bool(((radii >= 0) & radii.isfinite()).all()):
            raise ConfigError("radius must be finite and >= 0")
        found = [
            self._bounds(
                images[start : start + self._rows], radii[start : start + self._rows]
            )
            for start in range(0, len(images), self._rows)
        ]
        return torch.cat(found) if found else torch.zeros(0, dtype=wide)

    def _bounds(self, images: Tensor, radii: Tensor) -> Tensor:
        state = State.start(images, radii)
        for layer in self.layers:
            state = state.after(layer)
        whole = images.flatten(1).isfinite().all(1)
        found = (state.bound * OUTWARD).clamp(max=self.everywhere)
        return torch.where(whole, found, self.everywhere)

    @property
    def _rows(self) -> int:
        """Images at a time, so that their matrices take some 500 MB at most."""
        pixels = math.prod(self.layers[0].shape)
        sizes = (
            math.prod(one.out) * max(pixels, math.prod(one.shape))
            for one in self.layers
        )
        return max(1, MOST_NUMBERS // max(min(size, DENSE) for size in sizes))

    def radius(self, images: Tensor, rho: Tensor, *, steps: int = 20) -> Tensor:
        """Input radii (N,) float64 within which the latent moves by less than rho (N,).

        rho: latent L2 radius, >= 0; inf gives inf, NaN gives 0, as does an image that is not
        finite. steps: of the bisection. At least rho / `everywhere` for the others. Cost: steps + 3
        calls of :meth:`at`.
        """
        images = self._checked(images)
        wanted = torch.as_tensor(rho, dtype=torch.float64).cpu().expand(len(images))
        whole = (wanted > 0) & wanted.isfinite() & images.flatten(1).isfinite().all(1)
        best = torch.where(wanted == torch.inf, wanted, 0.0)
        if bool(whole.any()):
            best[whole] = self._search(images[whole], wanted[whole], steps)
        return best

    def _search(self, images: Tensor, rho: Tensor, steps: int) -> Tensor:
        low = rho / (self.everywhere * OUTWARD) * INWARD
        best, high = low.clone(), self._safe(images, low, rho)
        for _ in range(EXPANSIONS):
            safe = self._safe(images, high, rho)
            best = torch.maximum(best, torch.minimum(high, safe))
            grows = safe >= high
            if not bool(grows.any()):
                break
            low, high = torch.where(grows, high, low), torch.where(grows, safe, high)
        for _ in range(steps):
            middle = (low + high) / 2
            safe = self._safe(images, middle, rho)
            best = torch.maximum(best, torch.minimum(middle, safe))
            low = torch.where(safe >= middle, middle, low)
            high = torch.where(safe >= middle, high, middle)
        return best

    def _safe(self, images: Tensor, radius: Tensor, rho: Tensor) -> Tensor:
        """rho / L(r), at most LEAP r where the net is constant on the ball."""
        return torch.minimum(rho / self.at(images, radius) * INWARD, LEAP * radius)

    def _checked(self, images: Tensor) -> Tensor:
        shape = self.layers[0].shape
        if images.dim() < 2 or images[0].numel() != torch.Size(shape).numel():
            raise InputError(
                f"images have shape {tuple(images.shape)}, not (N, ...) with the {shape} of the net"
            )
        return images.detach().cpu().double().reshape(-1, *shape)


def local_radius(
    model: nn.Module, images: Tensor, rho: Tensor, *, steps: int = 20, **settings: Any
) -> Tensor:
    """Input radii (N,) for latent radii rho (N,), as :meth:`BallBounds.radius`, for one call.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).eval()
    >>> local_radius(net, torch.zeros(3, 2), torch.ones(3)).shape
    torch.Size([3])
    """
    bounds = BallBounds.of(model, tuple(images.shape[1:]))
    return bounds.radius(images, rho, steps=steps, **settings)
