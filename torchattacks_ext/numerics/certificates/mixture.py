"""What is a Gaussian mixture classifier, as stored numbers, and what are its scores?

    s_c(z) = b_c - |A_c (z - mu_c)|^2,   P_c = A_c^T A_c,   b_c = log det P_c + 2 log pi_c

(arXiv:2605.25352, eq. 4: twice the log posterior, up to a constant). A class answers with the
largest score of its components. The stored A, mu and b *are* the classifier: no covariance is
inverted later, so that its conditioning does not enter a certificate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from ...errors import ConfigError

Covariance = Literal["shared", "spherical", "diag", "full"]
COVARIANCES: tuple[Covariance, ...] = "shared", "spherical", "diag", "full"

UNIT = 2.0**-53
"""Half the distance of 1 to the next float64."""
MOST_CONDITION = 1e12
"""Precision matrices of a larger condition number are refused."""
_BLOCK = 64
"""Components whose precisions are in memory at once."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """The numbers that define a classifier of latents (N, d), and what follows from them once.

    Arguments:
        means (Tensor): (C, d) float64, one row a component.
        factors (Tensor): float64 A_c in the least form: (1, d, d) for one covariance that all
            share, (C,) spherical, (C, d) diagonal, (C, d, d) full.
        biases (Tensor): (C,) float64.
        owners (Tensor): (C,) int64, the class 0 .. K-1 of each component; K >= 2.
        reject (Tensor): (C,) float64 Mahalanobis radii beyond which the class of a component
            answers nothing; inf for no such region. One component a class then.

    Raises ConfigError for other shapes, dtypes, non-finite numbers, fewer than two classes, a class
    without a component, and a precision matrix whose condition number exceeds 1e12.

    >>> line = torch.tensor([[0.0], [4.0]], dtype=torch.float64)
    >>> one = torch.ones(2, dtype=torch.float64)
    >>> mixture = Mixture(line, one, one, torch.arange(2), one * torch.inf)
    >>> mixture.kind, mixture.scores(line).tolist()
    ('spherical', [[1.0, -15.0], [-15.0, 1.0]])
    """

    means: Tensor
    factors: Tensor
    biases: Tensor
    owners: Tensor
    reject: Tensor

    def __post_init__(self) -> None:
        _check_shapes(self)
        low, high = self.extremes
        worst = high / low
        bad = ~(low > 0) | ~(worst <= MOST_CONDITION)
        if bool(bad.any()):
            c = int(bad.nonzero()[0])
            raise ConfigError(
                f"the precision of component {c} has eigenvalues {low[c]:.3g} to {high[c]:.3g}, a "
                f"condition number beyond {MOST_CONDITION:g}: shrink the covariance "
                "(shrinkage='ledoit-wolf') or drop latent directions without variance"
            )

    # ------------------------------------------------------------------ sizes
    @property
    def kind(self) -> Covariance:
        """Which form: "shared", "spherical", "diag" or "full"; read from the factors' shape."""
        if self.factors.dim() < 3:
            return "spherical" if self.factors.dim() == 1 else "diag"
        return "shared" if len(self.factors) == 1 else "full"

    @property
    def dim(self) -> int:
        """Length d of a latent."""
        return self.means.shape[1]

    @property
    def n_components(self) -> int:
        """Number C of components."""
        return len(self.means)

    @cached_property
    def n_classes(self) -> int:
        """Number K of classes."""
        return int(self.owners.max()) + 1

    @cached_property
    def one_each(self) -> bool:
        """Whether component c is the only one of class c."""
        order = torch.arange(self.n_components, device=self.owners.device)
        return torch.equal(self.owners, order)

    @cached_property
    def members(self) -> Tensor:
        """(K, O) int64 components of each class, -1 where a class has fewer than O."""
        counts = torch.bincount(self.owners, minlength=self.n_classes)
        found = self.owners.new_full((self.n_classes, int(counts.max())), -1)
        for k in range(self.n_classes):
            own = (self.owners == k).nonzero()[:, 0]
            found[k, : len(own)] = own
        return found

    # ------------------------------------------------------------------ scores
    def transformed(self, steps: Tensor, transposed: bool = False) -> Tensor:
        """A_c x_c, or A_c^T x_c, as (C, N, d), of `steps` x (C, N, d)."""
        if self.factors.dim() < 3:
            return steps * self.factors.reshape(len(steps), 1, -1)
        return steps @ (self.factors if transposed else self.factors.transpose(1, 2))

    def component_scores(self, z: Tensor) -> Tensor:
        """s_c(z) as (N, C); differentiable."""
        w = self.transformed(z.unsqueeze(0) - self.means.unsqueeze(1))
        return self.biases - w.square().sum(2).T

    def scores(self, z: Tensor) -> Tensor:
        """Scores of the classes (N, K), each the largest of its components; differentiable."""
        found = self.component_scores(z)
        if self.one_each:
            return found
        members = self.members
        rows = found[:, members.clamp(min=0)]
        return rows.masked_fill(members < 0, -math.inf).amax(2)

    # ------------------------------------------------------------------ sizes of matrices
    def precision(self, c: int) -> Tensor:
        """P_c of a component: (d, d), or its diagonal (d,) where it is one."""
        if self.factors.dim() < 3:
            diagonal: Tensor = self.factors[c].square()
            return diagonal.expand(self.dim)
        factor = self.factors[0 if len(self.factors) == 1 else c]
        found: Tensor = factor.T @ factor
        return found

    @cached_property
    def norms(self) -> Tensor:
        """|A_c|_F of each component, (C,)."""
        if self.kind == "spherical":
            return self.factors.abs() * math.sqrt(self.dim)
        found: Tensor = torch.linalg.vector_norm(self.factors.flatten(1), dim=1)
        return found.expand(self.n_components)

    @cached_property
    def extremes(self) -> tuple[Tensor, Tensor]:
        """The least and the largest eigenvalue of each P_c, each (C,)."""
        if self.kind == "spherical":
            return self.factors.square(), self.factors.square()
        if self.kind == "diag":
            found = self.factors.square()
            return found.amin(1), found.amax(1)
        parts = [
            torch.linalg.eigvalsh(block.transpose(1, 2) @ block)
            for block in torch.split(self.factors, _BLOCK)
        ]
        found = torch.cat(parts).expand(self.n_components, -1)
        return found[:, 0], found[:, -1]


def _check_shapes(mixture: Mixture) -> None:
    c, d = mixture.means.shape if mixture.means.dim() == 2 else (0, 0)
    forms = {(1, d, d), (c,), (c, d), (c, d, d)}
    shape = tuple(mixture.factors.shape)
    if c < 1 or d < 1 or shape not in forms:
        raise ConfigError(
            f"means {tuple(mixture.means.shape)} and factors {shape} do not go together; expected "
            "(C, d) and one of (1, d, d), (C,), (C, d), (C, d, d)"
        )
    for name in ("means", "factors", "biases", "reject"):
        values = getattr(mixture, name)
        if values.dtype != torch.float64:
            raise ConfigError(
                f"{name} are {values.dtype}; a certificate needs float64, in which they were "
                "made: use .double() on the data, not on the stored numbers"
            )
        whole = values.isfinite() | (values == math.inf if name == "reject" else False)
        if not bool(whole.all()):
            raise ConfigError(f"{name} hold NaN or infinite values; fit them again")
    for name in ("biases", "owners", "reject"):
        if tuple(getattr(mixture, name).shape) != (c,):
            raise ConfigError(f"{name} must be ({c},), one entry a component")
    _check_owners(mixture.owners)
    rejects = mixture.reject < math.inf
    if bool((mixture.reject <= 0).any()):
        raise ConfigError("reject radii must be > 0; inf for no reject region")
    if bool(rejects.any()) and not mixture.one_each:
        raise ConfigError("a reject region needs one component a class, in order")


def _check_owners(owners: Tensor) -> None:
    if owners.dtype != torch.int64 or int(owners.min()) < 0:
        raise ConfigError("owners must be int64 class numbers 0 .. K-1")
    seen = torch.unique(owners)
    if len(seen) < 2:
        raise ConfigError(
            "K=1: a classifier of one class has no rival and nothing to certify; give two or more"
        )
    if int(seen[-1]) + 1 != len(seen):
        raise ConfigError(
            f"owners name the classes {seen.tolist()[:9]}, expected 0 .. K-1 without a gap"
        )
