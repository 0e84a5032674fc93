"""What does a class look like, in this batch and in the data set? Means of features.

Mixed prototypes in sec. 3.6 of arXiv:2606.01746, eq. 14-16 and 18. N rows, K classes, d features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...models.adapters.soft_assign import SoftAssign, one_hot_argmax
from .settings import Assign, Distance

EPS = 1e-8
"""Added to the number of rows of a class before it divides (eq. 16)."""
LARGE = 2**24
"""Differences (N, K, d) of more numbers than this are not written down."""


def assignments(logits: Tensor, kind: Assign, tau: float = 1.0) -> Tensor:
    """How much each row counts for each class: logits (N, K) -> weights (N, K), rows sum to 1.

    "hard": one-hot argmax, no gradient; "ste": the same value with the gradient of the softmax
    (P_ste, eq. 15); else softmax(logits / tau). Values of "hard" and "ste" are equal bit for bit.

    >>> assignments(torch.tensor([[1.0, 3.0]]), "ste")
    tensor([[0., 1.]])
    """
    if kind == "hard":
        return one_hot_argmax(logits.detach())
    found: Tensor = SoftAssign(tau, hard=kind == "ste")(logits)
    return found


def batch_prototypes(features: Tensor, weights: Tensor, empty: Tensor | None) -> Tensor:
    """Weighted means of the rows of a batch (eq. 16): (N, d), (N, K) -> (K, d).

    empty: (K, d) for classes without any weight; None leaves them zero, as eq. 16 does (whose
    gradient is then that of a division by EPS).

    >>> z, p = torch.tensor([[1.0], [3.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    >>> batch_prototypes(z, p, None).tolist(), batch_prototypes(z, p, torch.ones(2, 1)).tolist()
    ([[2.0], [0.0]], [[2.0], [1.0]])
    """
    return weighted_means(weights.T @ features, weights.sum(0), empty)


def weighted_means(sums: Tensor, mass: Tensor, empty: Tensor | None) -> Tensor:
    """sums (..., d) over mass (...,); `empty` (..., d) where the mass is zero.

    >>> weighted_means(torch.tensor([[4.0]]), torch.tensor([2.0]), None)
    tensor([[2.]])
    """
    means = sums / (mass + EPS).unsqueeze(-1)
    if empty is None:
        return means
    return torch.where((mass.detach() > 0).unsqueeze(-1), means, empty)


def class_sums(
    features: Tensor, labels: Tensor, n_classes: int
) -> tuple[Tensor, Tensor]:
    """Sums of the rows of each class (K, d) and their numbers (K,), by true labels (N,).

    >>> sums, numbers = class_sums(torch.ones(3, 2), torch.tensor([1, 1, 0]), 2)
    >>> sums.tolist(), numbers.tolist()
    ([[1.0, 1.0], [2.0, 2.0]], [1.0, 2.0])
    """
    sums = features.new_zeros(n_classes, features.shape[1])
    numbers = features.new_zeros(n_classes)
    sums.index_add_(0, labels, features)
    numbers.index_add_(0, labels, torch.ones_like(features[:, 0]))
    return sums, numbers


def moved_average(
    average: Tensor, features: Tensor, labels: Tensor, momentum: float
) -> Tensor:
    """C_glob after one batch (eq. 14): momentum C_glob + (1 - momentum) C_gt, (K, d).

    Classes that are not in the batch stay as they are (the paper does not say).

    >>> moved_average(torch.zeros(2, 1), torch.ones(1, 1), torch.tensor([1]), 0.75).tolist()
    [[0.0], [0.25]]
    """
    sums, numbers = class_sums(features, labels, len(average))
    means = sums / numbers.clamp_min(1).unsqueeze(1)
    moved = momentum * average + (1 - momentum) * means
    return torch.where((numbers > 0).unsqueeze(1), moved, average)


def similarities(features: Tensor, prototypes: Tensor, distance: Distance) -> Tensor:
    """Logits (N, K) of rows (N, d) against prototypes (K, d), or (N, K, d) of each row's own.

    "l2": -||z - c|| (eq. 18), whose gradient is 0 where z = c; "l2sq": -||z - c||^2; "dot": z.c.
    Distances are sums over differences, not |z|^2 - 2 z.c + |c|^2, which loses digits of small
    ones; (N, K, d) numbers in memory up to 2^24, first derivatives only beyond.

    >>> similarities(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2), "l2")
    tensor([[-5.]])
    """
    if distance == "dot":
        own = prototypes.ndim == 3
        return torch.einsum("nd,nkd->nk" if own else "nd,kd->nk", features, prototypes)
    n, (k, d) = len(features), prototypes.shape[-2:]
    if prototypes.ndim == 2 and n * k * d > LARGE:
        way = "donot_use_mm_for_euclid_dist"
        far = torch.cdist(features, prototypes, compute_mode=way)
        return -far.square() if distance == "l2sq" else -far
    squared = (features.unsqueeze(1) - prototypes).square().sum(-1)
    if distance == "l2sq":
        return -squared
    apart = squared > 0
    # the root of zero has no gradient: 0 is put in its place
    return -torch.where(apart, torch.where(apart, squared, 1).sqrt(), 0)
