"""Which class is nearest? Targets ranked to first order, MALT (Melamed et al. 2024, 2407.02240).

At the clean image s_j = (z_y - z_j) / |grad z_y - grad z_j|_q, smallest first, q dual to the norm
of the ball (1 for Linf, 2 for L2, inf for L1): the radius at which class j wins in a linear net.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..._typing import Norm
from ...models.gradients import uncompiled
from .ball import TINY, dual_norm
from .slope import Slope

MOST = 100
"""Classes that are ranked, those of the largest logits."""


def nearest(slope: Slope, points: Tensor, labels: Tensor, norm: Norm) -> Tensor:
    """(n, min(K, 101) - 1) classes other than the label, nearest first.

    points (n, ...) on [0, 1], labels (n,). Where gradients say nothing, the order of the logits
    stands. n forward and n (K - 1) backward row-passes, K at most 101.

    >>> from ...numerics.unit import Unit
    >>> from ..judge.harvest import Graded
    >>> w = torch.tensor([[0.0, 0.0], [1.0, 0.0], [9.0, 9.0]])  # class 2 is steep
    >>> model = Graded(lambda x: x @ w.T + torch.tensor([5.0, 2.0, -9.0]))
    >>> slope, x = Slope(model, Unit((0.0, 1.0))), torch.tensor([[0.5, 0.5]])
    >>> nearest(slope, x, torch.tensor([0]), "Linf").tolist()  # 2.5 / 1 and 5 / 18
    [[2, 1]]
    """
    with torch.enable_grad(), uncompiled():  # the graph is kept
        leaf = points.detach().requires_grad_()
        logits = slope.model(slope.unit.back(leaf))
        rest = logits.detach().scatter(1, labels[:, None], -torch.inf)
        n_ranked = min(logits.shape[1] - 1, MOST)
        classes = rest.sort(dim=1, descending=True, stable=True).indices[:, :n_ranked]
        gaps = logits.gather(1, labels[:, None]) - logits.gather(1, classes)
        sizes = []
        for number, column in enumerate(gaps.unbind(1)):
            more = number < n_ranked - 1
            (gradient,) = torch.autograd.grad(column.sum(), leaf, retain_graph=more)
            sizes.append(dual_norm(gradient, norm))
    size = torch.nan_to_num(torch.stack(sizes, 1), 0.0, 0.0, 0.0)
    scores = torch.nan_to_num(gaps.detach(), torch.inf) / (size + TINY)
    order = scores.sort(dim=1, stable=True).indices
    found: Tensor = classes.gather(1, order)
    return found


def by_logits(logits: Tensor, labels: Tensor) -> Tensor:
    """(n, K - 1) classes other than the label, largest logit first.

    >>> by_logits(torch.tensor([[1.0, 3.0, 2.0]]), torch.tensor([1])).tolist()
    [[2, 0]]
    """
    rest = logits.scatter(1, labels[:, None], -torch.inf)
    order = rest.sort(dim=1, descending=True, stable=True).indices
    return order[order != labels[:, None]].reshape(len(logits), -1)
