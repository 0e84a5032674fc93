"""How do the Gaussians of a head learn together with the encoder? As parameters of a module."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ...errors import ConfigError
from ...numerics.arguments import as_number
from ...numerics.certificates.mixture import Covariance, Mixture
from ...numerics.latents.boundary import boundary_distances
from ..ellips import EllipsHead


class Gaussians(nn.Module):
    """Means, precision factors and biases of one Gaussian a class, in float32, to be trained.

    It starts as a fitted head and ends as one. forward(z, y): signed distances (N, K) of latents
    to the boundaries of their class, as :func:`.boundary_distances`.

    head (EllipsHead): where it starts, one component a class, covariance "full" or "shared".
    Raises ConfigError for others.

    >>> head = EllipsHead.from_parameters([[0.0], [1.0]], [[1.0]], covariance="shared")
    >>> start = Gaussians(head)
    >>> start(torch.tensor([[0.25]]), torch.tensor([0])).tolist()
    [[10000.0, 0.25]]
    """

    def __init__(self, head: EllipsHead) -> None:
        super().__init__()
        found = head.pairs.mixture
        if found.kind not in ("full", "shared") or not found.one_each:
            raise ConfigError(
                f"a head with covariance={found.kind!r} cannot be trained; fit one Gaussian a "
                "class with covariance='full' or 'shared'"
            )
        self.means = nn.Parameter(found.means.float())
        self.factors = nn.Parameter(found.factors.float())
        self.biases = nn.Parameter(found.biases.float())

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Signed distances (N, K), 1e4 in the column of the own class."""
        k, d = self.means.shape
        factors = self.factors.expand(k, d, d)
        return boundary_distances(z, y, self.means, factors, self.biases)

    def head(self) -> EllipsHead:
        """The head as it is now. Raises ConfigError where a precision has become singular."""
        means, factors, biases = (
            p.detach().double() for p in (self.means, self.factors, self.biases)
        )
        owners = torch.arange(len(means), device=means.device)
        nowhere = torch.full_like(biases, math.inf)
        mixture = Mixture(means, factors, biases, owners, nowhere)
        return EllipsHead(mixture, {"source": "trained on the certified radius"})


def check_covariance(covariance: Covariance) -> None:
    """ConfigError unless it can be trained.

    >>> check_covariance("full")
    """
    if covariance not in ("full", "shared"):
        raise ConfigError(
            f"covariance={covariance!r} cannot be trained; take 'full' or 'shared'"
        )


def radius_loss(distances: Tensor, eps: float, temperature: float) -> Tensor:
    r"""Mean of t log(1 + sum_i exp((eps - r_i) / t)): every rival is to be further than eps.

    distances r (N, K), of :func:`.boundary_distances`; eps and temperature t > 0 in the same units.
    With r the differences of two logits this is the softmax loss with an offset eps and a
    temperature t (as in Prach & Lampert 2022, arXiv:2208.03160); here r are radii, so that eps is
    the radius that the training asks for.

    >>> round(float(radius_loss(torch.tensor([[1e4, 1.0]]), 1.0, 0.5)), 6)  # log(2) / 2
    0.346574
    """
    t = as_number(temperature)
    late = (eps - distances) / t
    zero = torch.zeros_like(late[:, :1])
    return t * torch.cat([late, zero], dim=1).logsumexp(1).mean()
