"""What do the tests of fast copies share? Nets with batch normalisations that do something."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

Settle = Callable[..., nn.Module]


@pytest.fixture(scope="session")
def settle() -> Settle:
    """A function: the net in eval mode, its normalisations with statistics as after training."""

    def settled(net: nn.Module, seed: int = 0) -> nn.Module:
        source = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for tensor in net.parameters():
                tensor.copy_(torch.randn(tensor.shape, generator=source) * 0.5)
            for name, tensor in net.named_buffers():
                if name.endswith("running_mean"):
                    tensor.copy_(torch.randn(tensor.shape, generator=source))
                if name.endswith("running_var"):
                    tensor.copy_(torch.rand(tensor.shape, generator=source) * 2 + 0.1)
        return net.eval()

    return settled
