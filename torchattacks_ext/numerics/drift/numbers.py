"""What must the numbers of a score be? One finite number an image."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError

FloatArray = NDArray[np.float64]


def one_score(values: Iterable[float], name: str) -> FloatArray:
    """(n,) float64. Raises InputError, naming `name`, for other shapes, NaN and infinities.

    >>> one_score(range(3), "the batch").tolist()
    [0.0, 1.0, 2.0]
    """
    found = np.asarray(
        values if hasattr(values, "__array__") else list(values), np.float64
    )
    if found.ndim != 1 or not np.isfinite(found).all():
        raise InputError(f"{name} must be (n,) finite numbers, one score an image")
    return found
