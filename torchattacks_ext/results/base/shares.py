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


def share_interval(k: int, n: int, confidence: float, copies: int = 0) -> list[float]:
    """[low, high] for k of n, two-sided and exact (Clopper & Pearson 1934).

    copies: rows of the n that show an image again: those of n - copies others decide, and the
    copies are taken at their worst for either end. Raises ConfigError for a confidence outside
    (0, 1), where n > 0.

    >>> share_interval(0, 0, 0.95), share_interval(2, 4, 0.95, copies=4)
    ([0.0, 1.0], [0.0, 1.0])
    """
    least, most, left = without_copies(k, n, copies)
    if left <= 0:
        return [0.0, 1.0]
    low, _ = clopper_pearson(least, left, confidence)
    _, high = clopper_pearson(most, left, confidence)
    return [float(low), float(high)]


def without_copies(k: int, n: int, copies: int) -> tuple[int, int, int]:
    """(least, most, left): of `left` images that are there once, how many of the k there may be.

    >>> without_copies(9, 10, 2), without_copies(1, 10, 2)
    ((7, 8, 8), (0, 1, 8))
    """
    copies = min(copies, n)
    return max(k - copies, 0), min(k, n - copies), n - copies
