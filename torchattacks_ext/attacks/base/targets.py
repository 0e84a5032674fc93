"""Which class should a targeted method aim at?

Random and least likely targets, for all rows at once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...data.door import check_label_range, check_labels
from ...errors import ConfigError
from ...numerics.streams import integers


def _labels(logits: Tensor, labels: Any) -> Tensor:
    if labels is None:
        return logits.argmax(1)
    checked = check_labels(labels, len(logits)).to(logits.device)
    check_label_range(checked, logits.shape[1])
    return checked


def random_targets(
    seed: int, ids: Tensor, logits: Tensor, labels: Any = None
) -> Tensor:
    """Targets (N,) int64, uniform over the K - 1 other classes, a function of (seed, id) alone.

    logits (N, K) give K and, where labels is None, the class to avoid.
    """
    avoid = _labels(logits, labels)
    draw = integers(seed, ids, "target", 0, logits.shape[1] - 1).to(avoid.device)
    return draw + (draw >= avoid).long()


def least_likely_targets(
    logits: Tensor, labels: Any = None, kth_min: int = 1
) -> Tensor:
    """Targets (N,) int64: the class with the kth_min-th smallest logit among the others.

    A class masked with -inf can never be answered: it comes after all others.
    Raises ConfigError unless 1 <= kth_min <= K - 1.
    """
    avoid = _labels(logits, labels)
    others = logits.shape[1] - 1
    if not 1 <= kth_min <= others:
        raise ConfigError(
            f"kth_min={kth_min} must lie in [1, {others}] for {others + 1} classes"
        )
    seen = logits.detach()
    last = torch.finfo(seen.dtype).max
    seen = torch.where(seen == -torch.inf, last, seen)
    seen = seen.scatter(1, avoid[:, None], float("inf"))
    return torch.kthvalue(seen, kth_min, dim=1).indices
