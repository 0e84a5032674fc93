"""How do means, covariances and priors become the stored numbers of a classifier?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import ConfigError
from ...numerics.certificates.mixture import COVARIANCES, Covariance, Mixture

REMEDY = (
    "shrink it (shrinkage='ledoit-wolf', 'oas' or a number such as 0.1), share one covariance "
    "(covariance='shared'), or drop latent directions without variance"
)
"""What to do about a covariance that is singular, or nearly so."""


def as_double(values: Any, what: str, finite: bool = True) -> Tensor:
    """`values` as a detached float64 tensor; ConfigError for what is no array of (finite) numbers.

    >>> as_double([0.1], "means").item() == 0.1
    True
    """
    try:
        # a list would become float32 on its way through torch
        given = values if isinstance(values, Tensor) else np.array(values, np.float64)
        found = torch.as_tensor(given).detach()
        if found.is_complex():
            raise TypeError
        found = found.to(torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise ConfigError(
            f"{what} are {type(values).__name__}, expected numbers in a tensor, array or list"
        ) from None
    if finite and not bool(found.isfinite().all()):
        raise ConfigError(f"{what} hold NaN or infinite values")
    return found


def mixture_of(
    means: Any,
    covariances: Any,
    priors: Any = None,
    owners: Any = None,
    covariance: Covariance | None = None,
    reject: Any = None,
) -> Mixture:
    """The classifier of Gaussians N(mu_c, Sigma_c) with prior probabilities pi_c.

    means: (C, d). covariances: () or (C,) variances, (C, d) diagonals, (d, d) one matrix for all,
    (C, d, d). priors: (C,) > 0 that sum to 1; None for equal ones. owners: (C,) class of each
    component; None for one a class. covariance: the form, needed where C = d leaves it open.
    reject: Mahalanobis radii (C,), or None.

    Raises ConfigError for other shapes, priors that are not positive, and covariances that are not
    symmetric or not safely positive definite (condition number beyond 1e12), with the remedy.

    >>> mixture_of([[0.0, 0.0], [4.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]], covariance="shared").kind
    'shared'
    """
    means = as_double(means, "means")
    if means.dim() != 2 or not means.numel():
        raise ConfigError(f"means have shape {tuple(means.shape)}, expected (C, d)")
    c, d = means.shape
    form, values = _form(as_double(covariances, "covariances"), c, d, covariance)
    factors = _factors(form, values)
    if form in ("spherical", "diag"):
        logs = factors.log().reshape(c, -1)
        half = logs.sum(1) * (d if form == "spherical" else 1)
    else:
        half = factors.diagonal(dim1=1, dim2=2).log().sum(1).expand(c)
    biases = 2 * half + 2 * check_priors(priors, c).log()
    number = torch.arange(c) if owners is None else torch.as_tensor(owners).long()
    edge = torch.full((c,), math.inf, dtype=torch.float64)
    if reject is not None:
        edge = as_double(reject, "reject radii", finite=False).expand(c).clone()
    return Mixture(means, factors, biases.contiguous(), number, edge)


def check_priors(priors: Any, n: int) -> Tensor:
    """Priors (n,) float64 that sum to 1. Raises ConfigError for others, zero ones included.

    >>> check_priors(None, 4).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    if priors is None:
        return torch.full((n,), 1 / n, dtype=torch.float64)
    found = as_double(priors, "priors")
    if tuple(found.shape) != (n,) or not bool((found > 0).all()):
        raise ConfigError(
            f"priors={found.tolist()} must be {n} numbers > 0, one a component; a class of prior 0 "
            "is never answered: leave it out"
        )
    total = float(found.sum())
    if abs(total - 1) > 1e-6:
        raise ConfigError(f"priors sum to {total:g}, expected 1; divide them by it")
    return found / total


def _form(
    values: Tensor, c: int, d: int, wanted: Covariance | None
) -> tuple[Covariance, Tensor]:
    """Which of the forms the covariances have, and they in it."""
    if wanted is not None and wanted not in COVARIANCES:
        raise ConfigError(f"covariance={wanted!r} is not one of {COVARIANCES}")
    if values.dim() == 0:
        values = values.expand(c)
    if tuple(values.shape) == (d, d) and wanted == "shared":
        values = values.unsqueeze(0)
    shapes: dict[Covariance, tuple[int, ...]] = {
        "shared": (1, d, d),
        "spherical": (c,),
        "diag": (c, d),
        "full": (c, d, d),
    }
    if tuple(values.shape) == (d, d) and wanted is None:
        if c == d:
            raise ConfigError(
                f"covariances of shape {(d, d)} may be one matrix or {c} diagonals; say "
                "covariance='shared' or 'diag'"
            )
        values = values.unsqueeze(0)
    for form, shape in shapes.items():
        if tuple(values.shape) == shape and wanted in (None, form):
            return form, values
    raise ConfigError(
        f"covariances have shape {tuple(values.shape)} for {c} means of {d} numbers"
        + f" and covariance={wanted!r}" * (wanted is not None)
        + f"; expected one of {shapes}"
    )


def _factors(form: Covariance, values: Tensor) -> Tensor:
    """A with A Sigma A^T = I, in the least form."""
    if form in ("spherical", "diag"):
        if not bool((values > 0).all()):
            raise ConfigError(
                f"variances down to {float(values.min()):g} are not positive: {REMEDY}"
            )
        return values.rsqrt()
    size = values.abs().amax((1, 2), keepdim=True)
    skew = (values - values.transpose(1, 2)).abs()
    if bool((skew > 1e-8 * size).any()):
        raise ConfigError("a covariance is not symmetric: use (S + S.T) / 2")
    lower, bad = torch.linalg.cholesky_ex((values + values.transpose(1, 2)) / 2)
    if bool(bad.any()):
        k = int(bad.nonzero()[0])
        raise ConfigError(f"covariance {k} is singular: {REMEDY}")
    one = torch.eye(values.shape[1], dtype=values.dtype, device=values.device)
    found: Tensor = torch.linalg.solve_triangular(
        lower, one.expand_as(lower), upper=False
    )
    return found
