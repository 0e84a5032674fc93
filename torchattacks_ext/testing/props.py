"""What does the contract of a probe look at? Images, a victim, and its state before and after."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..numerics.streams import uniform
from .victims import small_net


def require(truth: object, claim: str) -> None:
    """AssertionError naming the claim unless it holds."""
    if not truth:
        raise AssertionError(f"the contract of a probe is broken: {claim}")


def example_images(n: int = 10, shape: tuple[int, ...] = (1, 8, 8)) -> Tensor:
    """n distinct 8-bit images (n, ...) in [0, 1], the same on every machine."""
    size = int(np.prod(shape))
    noise = uniform(7, torch.arange(n), "images", 0, size)
    return ((noise * 255).round() / 255).reshape(n, *shape)


def balanced_net(
    n_classes: int = 5, shape: tuple[int, ...] = (1, 8, 8), seed: int = 0
) -> nn.Module:
    """small_net without its favourite class: all classes occur, margins are small; eval, frozen.

    >>> net = balanced_net(3)
    >>> len(net(example_images(64)).argmax(1).unique())
    3
    """
    net = small_net(shape, n_classes, seed).eval().requires_grad_(False)
    with torch.no_grad():
        net[-1].bias -= net(example_images(64, shape)).mean(0)
    return net


def victim_and_labels(
    shape: tuple[int, ...],
) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """A small net for images of `shape`, and its own answers as labels."""
    net = small_net(shape)

    def labels(images: Tensor) -> Tensor:
        with torch.no_grad():
            logits: Tensor = copy.deepcopy(net).eval()(images)
        return logits.argmax(1)

    return net, labels


def state(net: nn.Module) -> list[Any]:
    """Modes, gradients and values of a model, to be compared later."""
    modes = [module.training for module in net.modules()]
    grads = [(id(p), p.requires_grad, id(p.grad)) for p in net.parameters()]
    values = [tensor.clone() for tensor in net.state_dict().values()]
    return [modes, grads, values]


def same_state(before: list[Any], net: nn.Module, claim: str) -> None:
    """AssertionError unless the model is as it was."""
    now = state(net)
    require(before[0] == now[0], f"train/eval modes {claim}")
    require(before[1] == now[1], f"requires_grad and grad {claim}")
    require(all(map(torch.equal, before[2], now[2])), f"weights and buffers {claim}")


def half_frozen(net: nn.Module) -> nn.Module:
    """A net in train mode with one frozen layer, one frozen parameter and a gradient."""
    net.train()
    children = [m for m in net.modules() if isinstance(m, (nn.BatchNorm2d, nn.Dropout))]
    children[0].eval()
    parameters = list(net.parameters())
    parameters[0].requires_grad_(False)
    parameters[-1].grad = torch.ones_like(parameters[-1])
    return net


class Broken(nn.Module):
    """A model that raises while it is not `working`; `raised` says whether it was asked then."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.working, self.raised = True, False

    def forward(self, images: Tensor) -> Any:
        """What the net says, or ZeroDivisionError."""
        if not self.working:
            self.raised = True
            raise ZeroDivisionError("planted")
        return self.net(images)
