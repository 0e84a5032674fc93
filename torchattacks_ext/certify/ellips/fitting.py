"""Which means, covariances and priors do labelled latents have? Plain, pooled or shrunk."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from ...data.door import check_labels
from ...errors import ConfigError, InputError, MissingExtra
from ...numerics.arguments import as_number
from ...numerics.certificates.mixture import COVARIANCES, Covariance
from .parameters import as_double, check_priors

Shrinkage = Literal["ledoit-wolf", "oas"] | float | None
ESTIMATORS = {"ledoit-wolf": "LedoitWolf", "oas": "OAS"}
LEAST_ROWS = 5
"""A full covariance without shrinkage needs so many latents a class for each dimension."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """Estimated means (K, d), covariances in the form of `covariance`, priors (K,), all float64.

    facts: what was done, in JSON types: sizes, and how much each covariance was shrunk.
    """

    means: Tensor
    covariances: Tensor
    priors: Tensor
    covariance: Covariance
    facts: dict[str, Any] = field(default_factory=dict)


def fitted(
    z: Any,
    y: Any,
    covariance: Covariance = "shared",
    shrinkage: Shrinkage = None,
    priors: Any = "empirical",
) -> Fitted:
    """Gaussians of labelled latents; the arguments are those of :meth:`EllipsHead.fit`.

    >>> z = torch.tensor([[0.0], [1.0], [4.0], [5.0]])
    >>> found = fitted(z, [0, 0, 1, 1])
    >>> found.means.tolist(), found.covariances.tolist()
    ([[0.5], [4.5]], [[[0.5]]])
    """
    if covariance not in COVARIANCES:
        raise ConfigError(f"covariance={covariance!r} is not one of {COVARIANCES}")
    z, y = _data(z, y)
    counts = torch.bincount(y)
    _check_counts(counts, z.shape[1], covariance, _check_shrinkage(shrinkage))
    means = torch.stack([z[y == k].mean(0) for k in range(len(counts))])
    centred = z - means[y]
    if covariance == "shared":
        values, amount = _matrix(centred, len(z) - len(counts), shrinkage)
        parts, amounts = [values], [amount]
    else:
        rows = [centred[y == k] for k in range(len(counts))]
        made = [_of_class(one, covariance, shrinkage) for one in rows]
        parts, amounts = [one for one, _ in made], [amount for _, amount in made]
    facts = {
        "covariance": covariance,
        "shrinkage": shrinkage,
        "amounts": amounts,
        "n_per_class": counts.tolist(),
    }
    weights = _priors(priors, counts)
    return Fitted(means, torch.stack(parts), weights, covariance, facts)


def _data(z: Any, y: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(z, Tensor):
        z = as_double(
            z, "latents"
        )  # a list would become float32 on its way through torch
    z = z.detach()
    if z.dim() != 2 or not z.numel() or z.dtype.is_complex:
        raise InputError(
            f"latents have shape {tuple(z.shape)} {z.dtype}, expected (N, d) numbers; flatten what "
            "the encoder gives: z.flatten(1)"
        )
    y = check_labels(y, len(z)).to(z.device)
    z = z.to(torch.float64)
    if not bool(z.isfinite().all()):
        raise InputError("latents hold NaN or infinite values; leave those rows out")
    if int(y.min()) < 0:
        raise InputError(f"labels go down to {int(y.min())}, expected 0 .. K-1")
    return z, y


def _check_shrinkage(shrinkage: Shrinkage) -> bool:
    """Whether there is any. Raises ConfigError for an unknown one."""
    if shrinkage is None or shrinkage in ESTIMATORS:
        return shrinkage is not None
    amount = as_number(shrinkage)
    if not 0 <= amount <= 1:
        raise ConfigError(
            f"shrinkage={shrinkage!r} must be {', '.join(map(repr, ESTIMATORS))}, a number in "
            "[0, 1], or None"
        )
    return amount > 0


def _check_counts(counts: Tensor, d: int, covariance: Covariance, shrunk: bool) -> None:
    """Raises where classes are missing, or too small for a covariance of their own."""
    n, k = int(counts.sum()), len(counts)
    if k < 2:
        raise InputError(
            "all labels are 0: a classifier of one class (K=1) has no rival and nothing to "
            "certify; give latents of two classes or more"
        )
    least, where = int(counts.min()), int(counts.argmin())
    if least == 0:
        raise InputError(
            f"class {where} has no latents, so its prior would be 0; number the classes 0 .. K-1 "
            "without a gap"
        )
    if covariance == "shared":
        if n - k < d and not shrunk:
            raise InputError(
                f"{n} latents of {k} classes leave {n - k} degrees of freedom for a covariance of "
                f"{d} dimensions, which is singular: give more, or shrinkage='ledoit-wolf'"
            )
        return
    if least < 2:
        raise InputError(
            f"class {where} has 1 latent and no variance of its own: give more, or "
            "covariance='shared'"
        )
    if covariance == "full" and least < LEAST_ROWS * d and not shrunk:
        raise InputError(
            f"class {where} has {least} latents, too few for a full covariance of {d} dimensions "
            f"(expected >= {LEAST_ROWS * d}): use covariance='shared', shrinkage='ledoit-wolf', or "
            "fewer dimensions"
        )


def _of_class(
    centred: Tensor, covariance: Covariance, shrinkage: Shrinkage
) -> tuple[Tensor, float]:
    """The covariance of one class in its form, and how much it was shrunk."""
    if covariance == "full":
        return _matrix(centred, len(centred), shrinkage)
    variance = centred.square().mean(0)
    if covariance == "spherical":
        if shrinkage is not None:
            raise ConfigError(
                f"shrinkage={shrinkage!r} does not go with covariance='spherical', which is what "
                "shrinking leads to; leave it out"
            )
        return variance.mean(), 0.0
    if isinstance(shrinkage, str):
        raise ConfigError(
            f"shrinkage={shrinkage!r} is for matrices; covariance='diag' takes a number in [0, 1]"
        )
    amount = 0.0 if shrinkage is None else as_number(shrinkage)
    return (1 - amount) * variance + amount * variance.mean(), amount


def _matrix(
    centred: Tensor, freedom: int, shrinkage: Shrinkage
) -> tuple[Tensor, float]:
    """The covariance (d, d) of centred rows, (1 - a) S + a tr(S) / d I, and a."""
    if isinstance(shrinkage, str):
        made = _estimator(ESTIMATORS[shrinkage])(assume_centered=True)
        made.fit(centred.cpu().numpy())
        values = torch.from_numpy(made.covariance_).to(centred)
        return values, float(made.shrinkage_)
    amount = 0.0 if shrinkage is None else as_number(shrinkage)
    plain = centred.T @ centred / max(freedom, 1)
    one = torch.eye(len(plain), dtype=plain.dtype, device=plain.device)
    return (1 - amount) * plain + amount * plain.diagonal().mean() * one, amount


def _estimator(name: str) -> Any:
    try:
        return getattr(importlib.import_module("sklearn.covariance"), name)
    except ImportError as error:
        raise MissingExtra(
            "this shrinkage needs scikit-learn; pip install 'torchattacks_ext[demo]', or give a "
            "number such as shrinkage=0.1"
        ) from error


def _priors(priors: Any, counts: Tensor) -> Tensor:
    if isinstance(priors, str):
        known = {"empirical": counts / counts.sum(), "uniform": None}
        if priors not in known:
            raise ConfigError(
                f"priors={priors!r} is not one of {tuple(known)}; or give the numbers"
            )
        priors = known[priors]
    return check_priors(priors, len(counts)).to(counts.device)
