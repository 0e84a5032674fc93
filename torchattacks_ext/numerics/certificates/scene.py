"""What does a certificate need of some latents and every component, with its rounding error?

Of a component k and a rival i, at z: m = s_k - s_i and g = P_i (z - mu_i) - P_k (z - mu_k), so
that s_k - s_i = m + 2 g.d + d.(P_i - P_k) d at z + d. Bounds of what float64 may have lost stand
beside them (u = 2^-53, gamma = 1.01 (d + 4) u): a dot product of length d, in any order of its
sums, errs by at most gamma |a|.|b| (Higham 2002, Accuracy and Stability, ch. 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .mixture import UNIT, Mixture


def gamma(dim: int) -> float:
    """Relative error of a dot product of length `dim` in float64, with room for four more steps."""
    return 1.01 * (dim + 4) * UNIT


@dataclass(frozen=True, eq=False)
class Scene:
    """N latents before all C components.

    scores (N, C); sizes (N, C): |A_c (z - mu_c)|^2; pulled (C, N, d): P_c (z - mu_c). score_error,
    pulled_error (N, C): bounds of their rounding errors (the second in L2), 0 where `slack` was not
    wanted.
    """

    mixture: Mixture
    scores: Tensor
    sizes: Tensor
    pulled: Tensor
    score_error: Tensor
    pulled_error: Tensor
    slack: bool

    def margin(self, own: Tensor) -> Tensor:
        """s_own - s_c for every c as (N, C), less what rounding may have added; own: (N,)."""
        pick = own.unsqueeze(1)
        raw = self.scores.gather(1, pick) - self.scores
        return raw - self.score_error.gather(1, pick) - self.score_error

    def gradient_error(self, own: Tensor) -> Tensor:
        """Bound (N, C) of the L2 error of g, for every rival of `own` (N,)."""
        return self.pulled_error.gather(1, own.unsqueeze(1)) + self.pulled_error

    def of(self, component: Tensor, rows: Tensor) -> Tensor:
        """P_c (z - mu_c) as (M, d), of pairs of a component and a latent (M,)."""
        c, n, d = self.pulled.shape
        return self.pulled.view(c * n, d).index_select(0, component * n + rows)

    def gradient_norm(self, own: Tensor) -> Tensor:
        """|g| as (N, C), for every rival of `own` (N,)."""
        rows = torch.arange(len(own), device=own.device)
        change = self.pulled - self.of(own, rows)
        steep: Tensor = torch.linalg.vector_norm(change, dim=2)
        return steep.T

    @property
    def reject_margin(self) -> Tensor:
        """How far, squared, z is inside each component's reject region, (N, C), less its error."""
        edge = self.mixture.reject.square()
        return edge - self.sizes - self.score_error - 4 * UNIT * edge * self.slack


def scene_of(mixture: Mixture, z: Tensor, slack: bool = True) -> Scene:
    """All of it for latents z (N, d) float64; slack=False leaves rounding out (for tests).

    Cost: 2 C d^2 multiplications a latent (C d without full matrices); 4 C N d float64 in memory.

    >>> line = torch.tensor([[0.0], [4.0]], dtype=torch.float64)
    >>> one = torch.ones(2, dtype=torch.float64)
    >>> scene = scene_of(Mixture(line, one, one, torch.arange(2), one * torch.inf), line[:1])
    >>> scene.gradient_norm(torch.tensor([0])).tolist()
    [[0.0, 4.0]]
    """
    step = z.unsqueeze(0) - mixture.means.unsqueeze(1)
    w = mixture.transformed(step)
    size = w.square().sum(2).T
    pulled = mixture.transformed(w, transposed=True).contiguous()
    scores = mixture.biases - size
    if not slack:
        none = torch.zeros_like(scores)
        return Scene(mixture, scores, size, pulled, none, none, slack)
    g = gamma(mixture.dim)
    reach = mixture.norms * step.norm(dim=2).T
    error = g * (2 * size.sqrt() * reach + g * reach.square() + size)
    error = error + 4 * UNIT * mixture.biases.abs()
    off = 4 * g * mixture.norms * reach
    return Scene(mixture, scores, size, pulled, error, off, slack)
