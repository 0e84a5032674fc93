"""What does a Gaussian head answer on the mean latent of noisy copies? A smoothed encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...data.door import check_label_range
from ...data.stream import Batch
from ...errors import ConfigError, ModelContractError
from ...models.meter import Meter
from ...models.normalised import NormalizedModel
from ...numerics.arguments import parse_number
from ...numerics.smoothing.functional import (
    bernstein_lower,
    functional_radius,
    hoeffding_shift,
)
from ...results.base.columns import Rows
from ..ellips.entrance import encoded
from ..ellips.head import EllipsHead
from .certifier import SmoothedCertifier
from .noise import Asked, Noise, moments
from .randomized import asked
from .rows import smoothed_rows
from .settings import SmoothingSettings

ROUNDING = 2.0**-40
"""Share of the bound that covers the float64 rounding of sums and directions."""


class BoundedLatents(nn.Module):
    """An encoder whose latents are moved into the ball of radius `bound`: z B / max(|z|, B).

    The map is 1-Lipschitz. images (N, ...) -> (N, d) float64; the meter counts rows.

    >>> latents = BoundedLatents(nn.Flatten(), 1.0)(torch.tensor([[3.0, 4.0], [0.3, 0.4]]))
    >>> latents.norm(dim=1).round(decimals=6).tolist()
    [1.0, 0.5]
    """

    def __init__(
        self, encoder: nn.Module, bound: float, meter: Meter | None = None
    ) -> None:
        super().__init__()
        self.encoder, self.bound = encoder, bound
        self._meter = Meter() if meter is None else meter

    def forward(self, images: Tensor) -> Tensor:
        """Latents (N, d) float64, of norm <= bound. One forward row-pass a row."""
        self._meter.forward += len(images)
        z = self.encoder(images)
        if not isinstance(z, Tensor) or z.dim() < 2 or len(z) != len(images):
            kind = tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__
            raise ModelContractError(
                f"the encoder gave {kind} for {len(images)} images, expected a tensor (N, d)"
            )
        z = z.flatten(1).double()
        # the division rounds: a last digit below the bound, not above it
        length = z.norm(dim=1, keepdim=True).clamp(min=self.bound)
        inside: Tensor = z * (self.bound / length * (1 - 2.0**-40))
        return inside


class SmoothedEllips(SmoothedCertifier):
    r"""A shared-covariance :class:`~torchattacks_ext.certify.EllipsHead` on the mean latent.

        f^(x) = E f(x + N(0, sigma^2 I)),  |f| <= B;    g(x) = argmax_k s_k(f^(x))

    With one covariance s_k - s_i = |a_i| (u_i - tau_i), u_i = a_i^T z / |a_i| in [-B, B], and each
    smoothed u_i stays above tau_i within sigma(Phi^-1((B + u_i) / 2B) - Phi^-1((B + tau_i) / 2B))
    (Salman et al. 2019, arXiv:1906.04584, Lemma 2); the radius is the least over the rivals i, with
    a lower bound of u_i from n draws, all K - 1 together at `significance`. n0 other draws choose
    k. What is certified is g, not the net without noise.

    Arguments:
        encoder (nn.Module): maps images (N, ...) to latents (N, d), in eval mode.
        head (EllipsHead): fitted on bounded latents, covariance "shared".
        sigma (float): standard deviation of the noise, in pixel units.
        bound (float): B; latents are moved into that ball. (Default: 1.0)
        n0 (int), n (int), significance (float), seed (int), batch_size (int): as in
            :class:`RandomizedSmoothing`. (Default: 100, 10_000, 0.001, 0, 256)
        interval (str): "hoeffding", or "bernstein", which is better where latents hardly move.
            (Default: "bernstein")
        normalization (tuple): (mean, std) a channel, applied before the encoder. (Default: None)

    Raises ConfigError for settings outside their domains and another covariance.

    Examples::
        >>> head = EllipsHead.from_parameters([[-0.9], [0.9]], [[0.1]], covariance="shared")
        >>> model = SmoothedEllips(nn.Flatten().eval(), head, sigma=0.25, n=1000)
        >>> found = model.certify(torch.tensor([[0.9], [0.0]]), [1, 1], ids=[1, 2])
        >>> found.label.tolist(), bool(0.2 < found.radius[0] < 0.9)
        ([1, -1], True)
    """

    name = "SmoothedEllips"
    model: nn.Module

    def __init__(
        self,
        encoder: nn.Module,
        head: EllipsHead,
        sigma: float,
        bound: float = 1.0,
        n0: int = 100,
        n: int = 10_000,
        significance: float = 0.001,
        *,
        interval: str = "bernstein",
        seed: int = 0,
        batch_size: int = 256,
        normalization: Any = None,
    ) -> None:
        if not isinstance(head, EllipsHead) or head.covariance != "shared":
            kind = (
                f"one of covariance {head.covariance!r}"
                if isinstance(head, EllipsHead)
                else f"a {type(head).__name__}"
            )
            raise ConfigError(
                f"head is {kind}, expected an EllipsHead with covariance='shared': only there are "
                "differences of scores linear in the latent"
            )
        if len(head.means) != head.n_classes:
            raise ConfigError(
                f"head has {len(head.means)} Gaussians for {head.n_classes} classes; one a class "
                "is needed: the largest of several is not linear in the latent"
            )
        if interval not in ("hoeffding", "bernstein"):
            raise ConfigError(
                f"interval={interval!r} is neither 'hoeffding' nor 'bernstein'"
            )
        config = SmoothingSettings(
            sigma=sigma,
            n0=n0,
            n=n,
            significance=significance,
            seed=seed,
            batch_size=batch_size,
        )
        if normalization is not None:
            encoder = NormalizedModel(encoder, *normalization)
        bound = parse_number(bound, "bound")
        if not bound > 0:
            raise ConfigError(f"bound={bound!r} must be > 0")
        super().__init__(encoder, config)
        self.head, self.bound, self.interval = head, bound, interval
        self.latents = BoundedLatents(encoder, bound, self.meter)
        self._noise = Noise(config.sigma, config.seed)

    def settings(self, input_shape: tuple[int, ...]) -> dict[str, Any]:
        """As every smoothed certifier's, and the head, the bound of latents, the interval."""
        return super().settings(input_shape) | {
            "bound": self.bound,
            "interval": self.interval,
            "covariance": self.head.covariance,
            "n_classes": self.head.n_classes,
        }

    def _certified(self, batch: Batch) -> Rows:
        config = self.config
        if batch.labels is not None:
            check_label_range(batch.labels, self.head.n_classes)
        guess = self._chosen(batch, "choice", config.n0)
        lower, tau = self._lower(batch, "bound", guess, config.n, config.significance)
        found = functional_radius(lower, tau, config.sigma, self.bound)
        radius = torch.from_numpy(np.asarray(found.min(1)))
        none = torch.zeros(len(batch), dtype=torch.int64)
        drawn = none + config.n
        return smoothed_rows(batch, guess, radius, config.sigma, drawn, none, none)

    def _answered(
        self, batch: Batch, n: int, significance: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        guess = self._chosen(batch, "answer", self.config.n0)
        lower, tau = self._lower(batch, "answers", guess, n, significance)
        sure = torch.from_numpy((lower > tau).all(1))
        p_value = torch.where(sure, significance, 1.0).double()
        return torch.where(sure, guess, -1), guess, p_value

    def _chosen(self, batch: Batch, purpose: str, n: int) -> Tensor:
        """The class of the mean latent of n draws, (N,) on the CPU."""
        first = torch.zeros(len(batch), dtype=torch.int64)
        total = self._moments(asked(batch, purpose, first, n), None, None).total
        return (
            self.head.half_scores(total.to(self.head.means.device) / n).argmax(1).cpu()
        )

    def _lower(
        self, batch: Batch, purpose: str, guess: Tensor, n: int, significance: float
    ) -> tuple[Any, Any]:
        """Lower bounds of the projections (N, K - 1) on the rivals' directions, and thresholds."""
        directions, tau = rival_directions(self.head)
        first = torch.zeros(len(batch), dtype=torch.int64)
        seen = self._moments(asked(batch, purpose, first, n), directions, guess)
        mean = (seen.total / n).numpy()
        level = significance / (self.head.n_classes - 1)
        if self.interval == "hoeffding" or n < 2:
            lower = mean - hoeffding_shift(n, level, self.bound)
        else:
            spread = (seen.squares.numpy() - n * mean**2) / (n - 1)
            spread = np.maximum(spread, 0)
            lower = bernstein_lower(mean, spread, n, level, self.bound)
        return lower - ROUNDING * self.bound, tau[guess].numpy()

    def _moments(
        self, part: Asked, directions: Tensor | None, guess: Tensor | None
    ) -> Any:
        def project(row: Tensor, images: Tensor) -> Tensor:
            z = encoded(self.latents, images, self.model).cpu()
            if z.shape[1] != self.head.dim:
                raise ModelContractError(
                    f"the encoder gives latents of {z.shape[1]} numbers, the head was fitted on "
                    f"{self.head.dim}; fit it on this encoder's latents"
                )
            if directions is None or guess is None:
                return z
            return torch.einsum("md,mrd->mr", z, directions[guess[row]])

        return moments(project, part, self._noise, self.config.batch_size)


def rival_directions(head: EllipsHead) -> tuple[Tensor, Tensor]:
    """Unit directions (K, K - 1, d), thresholds (K, K - 1) of s_k - s_i >= 0, float64 on the CPU.

    Row k holds the rivals i != k in order: s_k(z) - s_i(z) = |a| (direction . z - threshold) with
    a = 2 P (mu_k - mu_i). Equal means give direction 0 and a threshold of +-inf by their biases.

    >>> eye = [[1.0, 0.0], [0.0, 1.0]]
    >>> head = EllipsHead.from_parameters([[0.0, 0.0], [4.0, 0.0]], eye, covariance="shared")
    >>> [side.tolist() for side in rival_directions(head)]
    [[[[-1.0, 0.0]], [[1.0, 0.0]]], [[-2.0], [2.0]]]
    """
    means, biases = head.means.detach().cpu(), head.biases.detach().cpu()
    factor = head.factors.detach().cpu().reshape(head.dim, head.dim)
    precision = factor.T @ factor
    order = head.owners.detach().cpu().argsort()
    means, biases = means[order], biases[order]
    pull = means @ precision
    offset = biases - (pull * means).sum(1)
    a = 2 * (pull[:, None] - pull[None])
    c = offset[:, None] - offset[None]
    length = a.norm(dim=2)
    unit = torch.where(length[..., None] > 0, a / length[..., None], 0.0)
    tau = torch.where(length > 0, -c / length, -torch.sign(c) * torch.inf)
    k = head.n_classes
    rivals = ~torch.eye(k, dtype=torch.bool)
    return unit[rivals].reshape(k, k - 1, -1), tau[rivals].reshape(k, k - 1)
