"""Which numbers of a logit vector say that an image is from elsewhere? Higher = from outside."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

LogitScore = Callable[[Tensor], Tensor]


def max_softmax(logits: Tensor) -> Tensor:
    """log(1 - p_max): the order of 1 - p_max, without its ties (Hendrycks & Gimpel 2017).

    logits (N, K), K >= 2, -> (N,) float64. 1 - p_max itself is 0 in float32 from a margin of 17
    on, and all such images are ties; its logarithm is the logsumexp of the other classes less that
    of all.

    >>> max_softmax(torch.tensor([[0.0, 0.0], [200.0, 0.0]])).tolist()
    [-0.6931471805599453, -200.0]
    """
    z = logits.double()
    top = z.argmax(1, keepdim=True)
    others = z.scatter(1, top, -torch.inf)
    return torch.logsumexp(others, 1) - torch.logsumexp(z, 1)


def energy(logits: Tensor) -> Tensor:
    """The free energy -log sum exp z at temperature 1 (Liu et al. 2020); (N, K) -> (N,) float64.

    It changes where a constant is added to all logits, of which the answers know nothing: only
    unnormalised logits have it.

    >>> energy(torch.tensor([[0.0, 0.0]])).item()
    -0.6931471805599453
    """
    return -torch.logsumexp(logits.double(), 1)


def max_logit(logits: Tensor) -> Tensor:
    """-max z (Hendrycks et al. 2022); (N, K) -> (N,) float64, for unnormalised logits only.

    >>> max_logit(torch.tensor([[1.0, 3.0]])).item()
    -3.0
    """
    return -logits.double().amax(1)


LOGIT_SCORES: dict[str, LogitScore] = {
    "max_softmax": max_softmax,
    "energy": energy,
    "max_logit": max_logit,
}
"""Scores of the logits alone, by name."""
UNNORMALISED = ("energy", "max_logit")
"""Of those, the ones that probabilities do not have."""
