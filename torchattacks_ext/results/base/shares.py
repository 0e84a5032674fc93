"""What share of the images is that, and how sure is it? nan and [0, 1] where there are none."""

from __future__ import annotations

from torch import Tensor

from ...errors import ConfigError
from ...numerics.rates.binomial import clopper_pearson


def check_confidence(confidence: float) -> None:
    """Raises ConfigError unless it lies in (0, 1)."""
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence={confidence} must lie in (0, 1), say 0.95")


def share(rows: Tensor) -> float:
    """The part of `rows` (N,) bool that is true; nan for no rows.

    >>> import torch
    >>> share(torch.tensor([True, False]))
    0.5
    """
    return float(rows.double().mean()) if len(rows) else float("nan")


def share_interval(k: int, n: int, confidence: float) -> list[float]:
    """[low, high] for k of n, two-sided and exact (Clopper & Pearson 1934).

    Raises ConfigError for a confidence outside (0, 1), where n > 0.

    >>> share_interval(0, 0, 0.95)
    [0.0, 1.0]
    """
    low, high = clopper_pearson(k, n, confidence) if n else (0.0, 1.0)
    return [float(low), float(high)]
