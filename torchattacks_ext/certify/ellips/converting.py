"""Which classifier did scikit-learn fit? LDA, QDA, or a Gaussian mixture a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ...errors import ConfigError, StatusError
from ...numerics.certificates.mixture import Covariance, Mixture
from .parameters import as_double, check_priors, mixture_of


def from_estimator(model: Any, priors: Any = None) -> Mixture:
    """The stored numbers of what scikit-learn fitted; the arguments of `EllipsHead.from_sklearn`.

    Read are only public attributes of a fitted model (means_, covariance_, priors_, ..), whatever
    its class. Raises StatusError for what has none of them, ConfigError for labels that are not
    0 .. K-1.
    """
    if isinstance(model, (list, tuple)):
        return _from_mixtures(model, priors)
    if not hasattr(model, "means_") or not hasattr(model, "priors_"):
        raise StatusError(
            f"{type(model).__name__} is no fitted LDA or QDA, nor a list of GaussianMixture, one a "
            "class; fit it first"
        )
    if not hasattr(model, "covariance_"):
        raise StatusError(
            f"{type(model).__name__} kept no covariance_; fit it with store_covariance=True"
        )
    classes = np.asarray(model.classes_)
    if classes.tolist() != list(range(len(classes))):
        raise ConfigError(
            f"classes_={classes.tolist()} must be 0 .. K-1; number the labels so and fit again"
        )
    given = model.priors_ if priors is None else priors
    one_for_all = isinstance(model.covariance_, np.ndarray)
    form: Covariance = "shared" if one_for_all else "full"
    matrices = np.asarray(model.covariance_)
    return mixture_of(model.means_, matrices, given, covariance=form)


def _from_mixtures(models: Sequence[Any], priors: Any) -> Mixture:
    """Components of one GaussianMixture a class, as one classifier."""
    lost = [m for m in models if not hasattr(m, "covariances_")]
    if lost or not models:
        raise StatusError(
            "expected a list of fitted GaussianMixture, one a class, in the order of the labels"
        )
    weights = check_priors(priors, len(models))
    kinds = {m.covariance_type for m in models}
    form: Covariance = "full"
    if len(kinds) == 1 and kinds <= {"diag", "spherical"}:
        form = "diag" if kinds == {"diag"} else "spherical"
    owners = torch.cat(
        [torch.full((len(m.weights_),), k) for k, m in enumerate(models)]
    )
    parts = [_covariances(m, form) for m in models]
    shares = [w * as_double(m.weights_, "weights") for w, m in zip(weights, models)]
    whole = torch.cat(shares)
    return mixture_of(
        np.concatenate([m.means_ for m in models]),
        torch.cat(parts),
        whole / whole.sum(),
        owners,
        covariance=form,
    )


def _covariances(model: Any, form: Covariance) -> torch.Tensor:
    """Of its components, as matrices unless the form is less."""
    values = as_double(model.covariances_, "covariances")
    n, d = np.asarray(model.means_).shape
    if form != "full":
        return values
    if model.covariance_type == "spherical":
        values = values.unsqueeze(1).expand(n, d)
    if values.dim() == 2 and model.covariance_type != "tied":
        return values.diag_embed()
    return values.expand(n, d, d)
