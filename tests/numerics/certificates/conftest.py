"""What do tests of mixtures share? Random classifiers, and slow twins of the mathematics."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from torchattacks_ext.numerics.certificates.mixture import Mixture

DOUBLE = torch.float64


@dataclass(frozen=True, eq=False)
class Gaussians:
    """Means (C, d), covariances (C, d, d), priors (C,), owners (C,): the classifier on paper."""

    means: Tensor
    covariances: Tensor
    priors: Tensor
    owners: Tensor

    def mixture(self, form: str = "full", reject: float = math.inf) -> Mixture:
        """As stored numbers, in a form that holds them."""
        lower = torch.linalg.cholesky(self.covariances)
        one = torch.eye(self.means.shape[1], dtype=DOUBLE).expand_as(lower)
        factors = torch.linalg.solve_triangular(lower, one, upper=False).contiguous()
        biases = -torch.logdet(self.covariances) + 2 * self.priors.log()
        if form == "shared":
            factors = factors[:1].clone()
        elif form != "full":
            factors = factors.diagonal(dim1=1, dim2=2).clone()
            factors = factors[:, 0].clone() if form == "spherical" else factors
        edge = torch.full_like(biases, reject)
        return Mixture(self.means, factors, biases, self.owners, edge)

    def quadratics(self) -> tuple[Tensor, Tensor, Tensor]:
        """(P (C, d, d), mu (C, d), b (C,)), from inverses: no factor, no shortcut."""
        biases = -torch.logdet(self.covariances) + 2 * self.priors.log()
        return torch.linalg.inv(self.covariances), self.means, biases

    def scores(self, z: Tensor) -> Tensor:
        """(N, C), literally."""
        precision, means, biases = self.quadratics()
        step = z.unsqueeze(1) - means
        return biases - torch.einsum("ncd,cde,nce->nc", step, precision, step)

    def sample(self, n: int, source: torch.Generator) -> Tensor:
        """Latents near the classes, some between them: (n, d)."""
        c, d = self.means.shape
        which = torch.randint(c, (n,), generator=source)
        lower = torch.linalg.cholesky(self.covariances)[which]
        noise = torch.randn(n, d, 1, generator=source, dtype=DOUBLE)
        return self.means[which] + (lower @ noise)[..., 0] * 1.2


def draw(family: str, k: int, d: int, seed: int, owners: int = 1) -> Gaussians:
    """A classifier of k classes, `owners` components each, of a family of covariances.

    "general", "shared", "spherical", "anisotropic" (variances over e^8) or "diag".
    """
    source = torch.Generator().manual_seed(seed)
    c = k * owners
    means = 3 * torch.randn(c, d, generator=source, dtype=DOUBLE)
    width = {"anisotropic": 8.0, "general": 2.0, "shared": 2.0}.get(family, 1.5)
    logs = width * (torch.rand(c, d, generator=source, dtype=DOUBLE) - 0.5)
    if family == "spherical":
        logs = logs[:, :1].expand(c, d)
    turn = torch.linalg.qr(torch.randn(c, d, d, generator=source, dtype=DOUBLE))[0]
    if family in ("spherical", "diag"):
        turn = torch.eye(d, dtype=DOUBLE).expand(c, d, d)
    values = turn @ logs.exp().diag_embed() @ turn.mT
    if family == "shared":
        values = values[:1].expand(c, d, d)
    priors = torch.rand(c, generator=source, dtype=DOUBLE) + 0.2
    number = torch.arange(k).repeat_interleave(owners)
    return Gaussians(means, values.contiguous(), priors / priors.sum(), number)


def along(m: Tensor, slope: Tensor, bend: Tensor) -> Tensor:
    """Smallest t > 0 with m + 2 t slope + t^2 bend <= 0, inf where there is none; m > 0."""
    inside = slope.square() - m * bend
    below = inside.clamp(min=0).sqrt() - slope
    return torch.where((inside >= 0) & (below > 0), m / below, math.inf)


def swept(gaussians: Gaussians, z: Tensor, n_rays: int = 360) -> Tensor:
    """True distances (N,) in the plane, one component a class, by rays in all directions.

    The least root on each ray against each rival, then closer about the best ray of each.
    """
    precision, means, _ = gaussians.quadratics()
    scores = gaussians.scores(z)
    own = scores.argmax(1)
    steps = torch.einsum("cde,nce->ncd", precision, z.unsqueeze(1) - means)
    found = torch.full((len(z),), math.inf, dtype=DOUBLE)
    rows = torch.arange(len(z))
    for j in range(len(means)):
        m, g = scores[rows, own] - scores[:, j], steps[:, j] - steps[rows, own]
        near = best_ray(m, g, (precision[j] - precision)[own], n_rays)
        found = torch.where(own == j, found, torch.minimum(found, near))
    return found


def best_ray(m: Tensor, g: Tensor, w: Tensor, n_rays: int) -> Tensor:
    """Least t > 0 (N,) on any ray of the plane, of m (N,), g (N, 2), w (N, 2, 2)."""
    count = torch.arange(n_rays, dtype=DOUBLE) * (2 * math.pi / n_rays)
    angles, width = count.expand(len(m), n_rays), 2 * math.pi / n_rays
    for _ in range(4):
        x, y = angles.cos(), angles.sin()
        slope = x * g[:, :1] + y * g[:, 1:]
        bend = x * x * w[:, :1, 0] + 2 * x * y * w[:, :1, 1] + y * y * w[:, 1:, 1]
        least, where = along(m.unsqueeze(1), slope, bend).min(1)
        best = angles.gather(1, where.unsqueeze(1))
        angles = best + torch.linspace(-1, 1, 41, dtype=DOUBLE) * width
        width /= 20
    return least


@pytest.fixture(scope="session")
def drawn() -> Callable[..., Gaussians]:
    """:func:`draw`."""
    return draw


@pytest.fixture(scope="session")
def ray_sweep() -> Callable[..., Tensor]:
    """:func:`swept`."""
    return swept
