"""How do prototypes of the data set and of the batch become one? Linear or convex, class by class.

arXiv:2606.01746, eq. 17. Both mixers work on any leading dimensions, so that two columns of one
row can be mixed anew by themselves.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .settings import Mixer


class LinearMixer(nn.Module):
    """C_hyb = [C_glob, C_batch] W + b, learnable.

    Arguments:
        size (int): d, number of features.
        share (float): W starts as [share I; (1 - share) I] and b as 0. The start is ours; the
            paper does not name one.

    >>> mix = LinearMixer(2, 0.25)
    >>> mix(torch.zeros(3, 2), torch.ones(3, 2))[0].tolist()
    [0.75, 0.75]
    """

    def __init__(self, size: int, share: float) -> None:
        super().__init__()
        one = torch.eye(size)
        self.weight = nn.Parameter(torch.cat([share * one, (1 - share) * one]))
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, of_all: Tensor, of_batch: Tensor) -> Tensor:
        """(..., d), (..., d) -> (..., d)."""
        both = torch.cat([of_all, of_batch], -1)
        weight, bias = self.weight.to(both.dtype), self.bias.to(both.dtype)
        return both @ weight + bias


class ConvexMixer(nn.Module):
    """C_hyb = share C_glob + (1 - share) C_batch, without parameters (ours; exact at 0 and 1).

    Arguments:
        share (float): of C_glob, in [0, 1].

    >>> ConvexMixer(0.25)(torch.zeros(1), torch.ones(1))
    tensor([0.7500])
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, of_all: Tensor, of_batch: Tensor) -> Tensor:
        """(..., d), (..., d) -> (..., d)."""
        return self.share * of_all + (1 - self.share) * of_batch


def make_mixer(kind: Mixer, size: int, share: float) -> LinearMixer | ConvexMixer:
    """The mixer of a setting.

    >>> make_mixer("convex", 2, 0.5).share
    0.5
    """
    return LinearMixer(size, share) if kind == "linear" else ConvexMixer(share)
