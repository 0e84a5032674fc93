"""By what are logits divided before they are scored? A temperature, given or fitted elsewhere.

A confident model has a small lambda because it is confident. Temperature scaling (Guo et al., "On
calibration of modern neural networks", ICML 2017) takes the overconfidence out, fitted on images
that are not scored.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional

from ..._typing import LogitsFn
from ...data.stream import Stream
from ...errors import ConfigError, InputError, StateError
from ...numerics.arguments import as_number
from ...numerics.losses import is_scored

_LIMITS = (math.log(1e-3), math.log(1e3))


def given_temperature(said: Any, fitted: float | None = 1.0) -> float:
    """The number that `temperature=` means; fitted: what a fit has found, None before one.

    Raises ConfigError for a value that is no temperature, StateError for "fit" without a fit.

    >>> given_temperature(None), given_temperature(2), given_temperature("fit", 1.5)
    (1.0, 2.0, 1.5)
    """
    if said is None:
        return 1.0
    if said == "fit":
        if fitted is None:
            raise StateError(
                'temperature="fit" has no fit yet: call fit_temperature(loader) with images that '
                "you do not score"
            )
        return fitted
    number = as_number(said)
    if not 0 < number < math.inf:
        raise ConfigError(
            f'temperature={said!r} must be a finite number > 0, "fit" or None'
        )
    return number


def fitted_temperature(stream: Stream, view: LogitsFn) -> tuple[float, frozenset[int]]:
    """(temperature, ids of the images it was fitted on): the least mean cross-entropy of z / T.

    In [1e-3, 1e3], by a bounded search over log T in float64; convex in 1 / T. One forward row-pass
    an image. Raises InputError for no images, no labels or logits that are no numbers.
    """
    logits, labels, ids = [], [], []
    for batch in stream:
        if batch.labels is None:
            raise InputError("a temperature is fitted to labels; give them")
        logits.append(view(batch.images).double().cpu())
        labels.append(batch.labels.cpu())
        ids += batch.ids.tolist()
    if not logits:
        raise InputError("a temperature cannot be fitted to no images")
    z, y = torch.cat(logits), torch.cat(labels)
    if not bool(is_scored(z, y).all()):
        raise InputError("logits of the images to fit on are not finite")

    def loss(log_t: float) -> float:
        return float(functional.cross_entropy(z / math.exp(log_t), y))

    found = minimize_scalar(loss, bounds=_LIMITS, method="bounded")
    return float(np.exp(found.x)), frozenset(ids)


def refuse_equal(ids: Tensor, fit_ids: frozenset[int]) -> None:
    """Raises InputError where an image to be scored was one of those that the fit saw."""
    both = [number for number in ids.tolist() if number in fit_ids]
    if both:
        raise InputError(
            f"{len(both)} images were also used to fit the temperature (first id "
            f"{both[0] & (2**64 - 1):016x}); fit on images that you do not score"
        )
