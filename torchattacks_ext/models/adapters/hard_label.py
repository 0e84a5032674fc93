"""What does an attack see that is told only the label? Logits of +1 and -1, and no gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..logits import to_logits
from .bpda import value_with_vjp
from .soft_assign import one_hot_argmax


class HardLabel(nn.Module):
    """`model` reduced to its answer: +1 for the class it names, -1 for the others.

    The label-only threat model. Values are 1 and -1, not one-hot, so that nothing takes them for
    probabilities; every margin is 2 or -2. The result needs a gradient when the images do, and
    that gradient is zero: a white-box attack runs and finds nothing. A row with a NaN stays NaN;
    ties name the first class, as argmax does.

    Arguments:
        model (Module or callable): images (N, ...) to scores.

    Cost: one forward row-pass a row, never a backward. Raises ModelContractError as
    :func:`~torchattacks_ext.models.logits.to_logits` does.

    >>> HardLabel(torch.nn.Identity())(torch.tensor([[0.2, 0.3], [9.0, 1.0]]))
    tensor([[-1.,  1.],
            [ 1., -1.]])
    """

    def __init__(self, model: Callable[..., Any]) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of 1 and -1."""
        return value_with_vjp(images, self._value, no_gradient)

    def _value(self, images: Tensor) -> Tensor:
        logits = to_logits(self.model(images), len(images))
        return one_hot_argmax(logits).mul_(2).sub_(1)


def no_gradient(images: Tensor, gradient: Tensor) -> Tensor:
    """Zeros like the images (N, ...), whatever the gradient at the value.

    >>> no_gradient(torch.ones(1, 2), torch.ones(1, 3))
    tensor([[0., 0.]])
    """
    return torch.zeros_like(images)
