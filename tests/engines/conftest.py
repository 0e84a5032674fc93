"""What do the tests of engines share? A relative of the target to attack it by."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

from torchattacks_ext.testing.props import balanced_net


@pytest.fixture
def near() -> Callable[[int], nn.Module]:
    """balanced_net(n_classes) with other last weights, as a relative that was trained apart."""

    def make(n_classes: int) -> nn.Module:
        net, other = balanced_net(n_classes), balanced_net(n_classes, seed=3)
        net[-1].weight.data.add_(other[-1].weight.data)
        return net

    return make
