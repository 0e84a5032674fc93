"""Which two networks show what robustness is, and how are they trained in seconds?

One small convolutional net, trained twice on the same digits: on the images, and on the
worst images that PGD finds around them (Madry et al. 2018, arXiv:1706.06083).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch
import torchattacks
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ..engines.fork import ForkedRng
from ..engines.zoo.attack import quiet
from ..errors import ConfigError, InputError

Kind = Literal["standard", "adversarial"]
KINDS: tuple[Kind, ...] = get_args(Kind)

EPS = 0.15
"""Radius (Linf) of the demo: two and a half of the 17 grey levels of a digit."""
EPOCHS: dict[Kind, int] = {"standard": 15, "adversarial": 20}
_STEPS = 5
_BATCH_SIZE = 128
_PEAK_RATE = 1e-2


def demo_net() -> nn.Sequential:
    """An untrained net from digits (N, 1, 8, 8) to logits (N, 10); 38,282 parameters.

    Its weights are drawn from the global generator, as always in PyTorch.

    >>> demo_net()(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def train_demo(
    kind: Kind,
    images: Tensor,
    labels: Tensor,
    *,
    seed: int = 0,
    eps: float = EPS,
    epochs: int | None = None,
) -> nn.Sequential:
    """The demo net trained on images (N, 1, 8, 8) in [0, 1] and labels (N,); on the
    CPU, in eval mode.

    kind: "standard", or "adversarial": each batch is replaced by what PGD with 5 steps
    finds within eps (Linf), by torchattacks. seed in [0, 2**63): of weights, order and
    attack. epochs: 15 and 20 when None. The global generators stand afterwards where
    they stood, and sums run on one thread, so that the net does not depend on the
    number of cores (another version of torch may still round otherwise). Adam with a
    one-cycle rate. Raises ConfigError and InputError for arguments outside their
    domains.

    Cost: epochs x N forward and backward row-passes, six times that for "adversarial":
    a few seconds.

    >>> from torchattacks_ext.data.digits import load_digits
    >>> net = train_demo("standard", *load_digits("train"), epochs=1)
    >>> net.training
    False
    """
    if kind not in KINDS:
        raise ConfigError(f"kind={kind!r} is not one of {KINDS}")
    epochs = EPOCHS[kind] if epochs is None else epochs
    if epochs < 1:
        raise ConfigError(f"epochs={epochs} must be >= 1")
    if not len(images) or len(images) != len(labels):
        raise InputError(
            f"{len(images)} images and {len(labels)} labels; expected as many of each, "
            "and at least one"
        )
    with torch.inference_mode(False), torch.enable_grad():
        with ForkedRng(seed), one_thread(), quiet():
            net = demo_net()
            attack = torchattacks.PGD(net, eps=eps, alpha=eps / 4, steps=_STEPS)
            _fit(net, images, labels, epochs, attack if kind == "adversarial" else None)
    return net.eval()


def _fit(
    net: nn.Module,
    images: Tensor,
    labels: Tensor,
    epochs: int,
    attack: torchattacks.PGD | None,
) -> None:
    """Minimise the cross-entropy on the images, or on what the attack makes of them."""
    optimiser = torch.optim.Adam(net.parameters())
    steps = epochs * -(-len(images) // _BATCH_SIZE)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, _PEAK_RATE, total_steps=steps)
    for _ in range(epochs):
        order = torch.randperm(len(images))
        for start in range(0, len(order), _BATCH_SIZE):
            rows = order[start : start + _BATCH_SIZE]
            batch, targets = images[rows], labels[rows]
            if attack is not None:
                batch = attack(batch, targets)
            optimiser.zero_grad()
            torch.autograd.backward(cross_entropy(net(batch), targets))
            optimiser.step()
            rate.step()


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread: the order of sums depends on their number, and small nets gain
    nothing from more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
