"""What do the tests of a shared trunk share? Images, a small net of two heads, its naive twin."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext.models import SharedTrunk
from torchattacks_ext.testing import small_net


@pytest.fixture
def images() -> Callable[..., Tensor]:
    """Of a seed (0): four images that need a gradient."""

    def make(seed: int = 0) -> Tensor:
        source = torch.Generator().manual_seed(seed)
        found = torch.rand(4, 1, 8, 8, generator=source, dtype=torch.float64)
        return found.requires_grad_()

    return make


@pytest.fixture
def shared() -> Callable[[], SharedTrunk]:
    """Two heads on a small net without its last layer; all parameters frozen."""

    def make() -> SharedTrunk:
        net = small_net().double()
        torch.manual_seed(0)
        heads = {"fc": net[-1], "soft.3": nn.Sequential(nn.Tanh(), nn.Linear(16, 5))}
        found = SharedTrunk(net[:-1], heads).double()
        return found.eval().requires_grad_(False)

    return make


def _naive(net: SharedTrunk, name: str, x: Tensor) -> Tensor:
    return net.heads[net.names.index(name)](net.trunk(x))


@pytest.fixture
def naive() -> Callable[[SharedTrunk, str, Tensor], Tensor]:
    """The logits of one head, from the trunk and the head themselves."""
    return _naive


@pytest.fixture
def check() -> Callable[[SharedTrunk, Tensor], None]:
    """Both heads equal their naive twins, in value and gradient."""

    def compare(net: SharedTrunk, x: Tensor) -> None:
        for name in net.names:
            pair = net.head(name)(x), _naive(net, name, x)
            assert torch.equal(*pair)
            if torch.is_grad_enabled() and x.requires_grad:
                grads = (torch.autograd.grad(z.square().sum(), x)[0] for z in pair)
                assert torch.allclose(*grads, atol=1e-13)

    return compare
