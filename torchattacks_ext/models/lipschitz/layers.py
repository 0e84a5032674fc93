"""Which layers are meant to have a bound of 1, and stand in no library that is needed anyway?"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...errors import ConfigError
from ...numerics.arguments import is_whole, parse_number


class GroupSort(nn.Module):
    """Sorts groups of channels (Anil, Lucas & Grosse 2019): norm 1, and keeps gradients whole.

    size (int): channels a group, that many neighbours of dimension 1. (Default: 2, MaxMin)
    (N, C, ...) -> the same shape, ascending in each group. Raises ConfigError for a size < 1 and,
    when called, for channels that it does not divide. No parameters.

    >>> GroupSort()(torch.tensor([[2.0, 1.0, 3.0, 5.0]])).tolist()
    [[1.0, 2.0, 3.0, 5.0]]
    """

    def __init__(self, size: int = 2) -> None:
        super().__init__()
        if not is_whole(size, 1):
            raise ConfigError(f"size={size!r} must be a whole number >= 1")
        self.size = int(size)

    def forward(self, x: Tensor) -> Tensor:
        """Each group in ascending order."""
        if x.shape[1] % self.size:
            raise ConfigError(
                f"{x.shape[1]} channels are no groups of {self.size}: choose a size that divides"
            )
        if self.size == 2:
            low, high = x[:, ::2], x[:, 1::2]
            both = (torch.minimum(low, high), torch.maximum(low, high))
            return torch.stack(both, dim=2).flatten(1, 2)
        groups = x.reshape(len(x), -1, self.size, *x.shape[2:])
        return groups.sort(dim=2).values.reshape(x.shape)

    def extra_repr(self) -> str:
        """The size of a group."""
        return f"size={self.size}"


class ClippedNorm(nn.Module):
    """`x / max(|x|, c)`: rows into the unit ball, 1/c-Lipschitz (normalisation itself is not).

    c (float): > 0; rows of L2 norm above it get norm 1, the others are divided by c. (Default: 1.0)
    (N, ...) -> the same shape; the norm is over all dimensions but the first. Raises ConfigError
    for c <= 0.

    >>> ClippedNorm()(torch.tensor([[3.0, 4.0], [0.5, 0.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.5, 0.0]]
    """

    def __init__(self, c: float = 1.0) -> None:
        super().__init__()
        self.c = parse_number(c, "c")
        if self.c == 0:
            raise ConfigError("c=0 would divide by zero; give a number > 0")

    def forward(self, x: Tensor) -> Tensor:
        """Rows of norm at most 1."""
        norms: Tensor = x.flatten(1).norm(dim=1)
        return x / norms.clamp(min=self.c).reshape(-1, *(1,) * (x.dim() - 1))

    def extra_repr(self) -> str:
        """The smallest divisor."""
        return f"c={self.c:g}"
