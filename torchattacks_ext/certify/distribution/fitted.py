"""Which law did a head fit? Its Gaussians and priors, and draws of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import ConfigError
from ..ellips.head import EllipsHead

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Fitted:
    """One Gaussian a class. means (K, d), covariances (K, d, d), priors (K,), float64."""

    means: FloatArray
    covariances: FloatArray
    priors: FloatArray

    @property
    def factors(self) -> FloatArray:
        """A (K, d, d) with covariance^-1 = A^T A: A (z - mean) is N(0, I) under the fit."""
        return np.linalg.inv(np.linalg.cholesky(self.covariances))

    def draws(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        """n latents (n, d) float64 and their classes (n,)."""
        rng = np.random.default_rng(seed)
        y = rng.choice(len(self.priors), n, p=self.priors)
        roots = np.linalg.cholesky(self.covariances)
        steps = rng.standard_normal((n, self.means.shape[1]))
        z = np.empty_like(steps)
        for k in range(len(self.priors)):
            z[y == k] = self.means[k] + steps[y == k] @ roots[k].T
        return torch.from_numpy(z), torch.from_numpy(y)


def fitted_law(head: EllipsHead) -> Fitted:
    """The law of latent and class that the head stands for.

    b_k = ln det P_k + 2 ln pi_k up to a constant, so that the priors are known. Raises ConfigError
    for a head with several Gaussians a class.

    >>> gaussians = [[0.0], [4.0]], [[1.0]], [0.25, 0.75]
    >>> head = EllipsHead.from_parameters(*gaussians, covariance="shared")
    >>> fitted_law(head).priors.round(6).tolist()
    [0.25, 0.75]
    """
    mixture = head.pairs.mixture
    if not mixture.one_each:
        raise ConfigError(
            "head has several Gaussians a class; the report is of one a class"
        )
    found = []
    for c in range(mixture.n_components):
        p = mixture.precision(c).cpu()
        found.append(np.linalg.inv((torch.diag(p) if p.dim() == 1 else p).numpy()))
    covariances = np.stack(found)
    dets = -np.linalg.slogdet(covariances)[1]
    half = (head.biases.detach().cpu().numpy() - dets) / 2
    share = np.exp(half - half.max())
    means = head.means.detach().cpu().numpy()
    return Fitted(means, covariances, share / share.sum())
