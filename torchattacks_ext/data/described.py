"""How do data that were given as an argument stand in a report? By name, or by what they hold."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

ARGUMENTS = ("near", "far", "noise", "train", "val", "other", "detectors")
"""Names under which stages take data sets, and things that are fitted on them."""
_MOST = 8
"""Parts of a list that are described one by one."""


def described(value: Any) -> Any:
    """`value` in JSON types: arrays by shape and SHA-256, other data sets by class and length.

    >>> described("digits"), described({"a": np.zeros((2, 3), np.uint8)})["a"]["shape"]
    ('digits', [2, 3])
    """
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {str(key): described(part) for key, part in value.items()}
    if isinstance(value, (Tensor, np.ndarray)):
        return _array(value)
    if isinstance(value, (list, tuple)) and len(value) <= _MOST:
        return [described(part) for part in value]
    value = getattr(value, "detector", value)  # one that is turned
    kind = value if isinstance(value, type) else type(value)
    found: dict[str, Any] = {"class": f"{kind.__module__}.{kind.__qualname__}"}
    try:
        found["n"] = len(value)
    except TypeError:  # a loader of a stream has no length
        pass
    return found


def _array(value: Any) -> dict[str, Any]:
    array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
    whole = np.ascontiguousarray(array)
    return {
        "class": type(value).__name__,
        "shape": list(whole.shape),
        "sha256": hashlib.sha256(whole.tobytes()).hexdigest(),
    }
