"""Are kept features never served for images, weights or modes that have changed?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext.models import SharedTrunk

Make = Callable[..., Any]
"""The fixtures of conftest.py: functions that make images or a net, or compare it with its twin."""


def _add(x: Tensor) -> None:
    x.add_(0.1)


def _behind_the_counter(x: Tensor) -> None:
    x.data[0, 0, 0, 0] = 0.5


def _numpy(x: Tensor) -> None:
    x.numpy()[1] *= 0.5


@pytest.mark.parametrize("write", [_add, _behind_the_counter, _numpy])
@pytest.mark.parametrize("grad", [True, False])
def test_never_stale_after_a_write_into_the_images(
    write: Callable[[Tensor], None], grad: bool, images: Make, shared: Make, check: Make
) -> None:
    net, x = shared(), images().detach()
    with torch.set_grad_enabled(grad):
        net.head("fc")(x)
        write(x)
        check(net, x)
    assert net.trunk_rows == 8


def test_never_stale_when_memory_is_used_again(
    images: Make, shared: Make, check: Make
) -> None:
    net = shared()
    for seed in range(20):
        x = images(seed).detach()
        with torch.no_grad():
            check(net, x)
        del x


def test_never_stale_after_new_weights_or_modes(
    images: Make, shared: Make, check: Make
) -> None:
    net, x = shared(), images().detach()
    with torch.no_grad():
        net.probe(x)
        net.trunk[0].weight.mul_(1.5)
        check(net, x)
        net.trunk[1].train()
        found = net.probe(x)["fc"]
        net.trunk[1].eval()
        assert not torch.equal(found, net.probe(x)["fc"])


def test_never_stale_after_two_weights_changed_places(
    images: Make, shared: Make, check: Make
) -> None:
    """A sum over all weights would not see it."""
    net, x = shared(), images().detach()
    bias = net.trunk[0].bias
    other = nn.Parameter(bias.detach().flip(0).clone(), requires_grad=False)
    net.trunk.register_parameter("spare", other)
    with torch.no_grad():
        net.probe(x)
        bias.data, other.data = other.data, bias.data
        check(net, x)


def test_weights_that_keep_no_version_are_asked_each_time() -> None:
    with torch.inference_mode():
        net, x = SharedTrunk(nn.Linear(3, 2), {"a": nn.Identity()}), torch.rand(4, 3)
        net.head("a")(x)
        net.trunk.weight.mul_(2)
        assert torch.equal(net.head("a")(x), net.trunk(x)) and net.trunk_rows == 8
