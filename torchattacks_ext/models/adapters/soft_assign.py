"""What is the smooth stand-in of one-hot argmax? A softmax with temperature, in value or gradient.

A model in two stages may first assign every row to a class, A = onehot(argmax L), and then compute
with A. That map is constant almost everywhere and jumps where the largest logit changes.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from ...errors import ConfigError, InputError
from .bpda import value_with_vjp, vjp_through


def one_hot_argmax(logits: Tensor) -> Tensor:
    """1 at the largest logit of a row (the first of equal ones), else 0: (N, K) -> (N, K).

    Same dtype, no gradient. A row with a NaN stays NaN: it has no largest logit.

    >>> import torch
    >>> one_hot_argmax(torch.tensor([[1.0, 3.0, 3.0]]))
    tensor([[0., 1., 0.]])
    """
    found = logits.new_zeros(logits.shape)
    found.scatter_(1, logits.argmax(1, keepdim=True), 1.0)
    return found.masked_fill_(logits.isnan().any(1, keepdim=True), float("nan"))


class SoftAssign(nn.Module):
    r"""softmax(L / tau): the differentiable stand-in of a hard assignment onehot(argmax L).

    For tau -> 0 it is the hard assignment (away from ties), for tau -> infinity 1 / K. It takes
    logits, not images: put it behind the first stage.

    Arguments:
        tau (float): temperature, > 0 and finite, in units of the logits. (Default: 1.0)
        hard (bool): False: value and gradient are those of softmax(L / tau), the "Soft-Hybrid"
            surrogate. True: the value is onehot(argmax L) exactly and the gradient the soft
            one's, a straight-through estimator without its rounding. (Default: False)

    Logits (N, K) -> weights (N, K) of the same dtype, rows sum to 1. A row with a NaN gives NaN.
    Rows do not depend on each other. No row-passes of any model. Raises ConfigError for another
    tau, InputError for another shape. Source: Bengio, Leonard & Courville, arXiv:1308.3432, 2013
    (straight through).

    >>> import torch
    >>> logits = torch.tensor([[2.0, 0.0]], requires_grad=True)
    >>> SoftAssign(2.0)(logits).detach()
    tensor([[0.7311, 0.2689]])
    >>> hard = SoftAssign(2.0, hard=True)(logits)
    >>> hard.tolist(), torch.autograd.grad(hard[0, 0], logits)[0]
    ([[1.0, 0.0]], tensor([[ 0.0983, -0.0983]]))
    """

    def __init__(self, tau: float = 1.0, hard: bool = False) -> None:
        super().__init__()
        if not 0 < tau < math.inf:
            raise ConfigError(f"tau={tau!r} must be a temperature in (0, inf)")
        self.tau, self.hard = tau, hard

    def forward(self, logits: Tensor) -> Tensor:
        """Weights (N, K) of logits (N, K)."""
        if logits.ndim != 2 or not logits.is_floating_point():
            raise InputError(
                f"an assignment needs floating logits (N, K), got {tuple(logits.shape)} "
                f"{logits.dtype}; it stands behind the first stage, not before it"
            )
        if self.hard:
            return value_with_vjp(logits, one_hot_argmax, self._soft_vjp)
        return self._soft(logits)

    def _soft(self, logits: Tensor) -> Tensor:
        # the largest becomes 0 before the division, so that a small tau cannot overflow
        top = logits.detach().amax(1, keepdim=True)
        return ((logits - top) / self.tau).softmax(1)

    def _soft_vjp(self, logits: Tensor, gradient: Tensor) -> Tensor:
        return vjp_through(self._soft, logits, gradient)
