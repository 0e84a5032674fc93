"""On what is the black-box score tried, and which slopes does it see there?

A case is a net, its images and the exact score. Four untrained nets and two planted spectra have
close leading eigenvalues, where a sketch errs most; pyautoattack's ResNet-18 is trained.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tax_data
import torch
from prtest_throughput import resnet18
from torch import Tensor, nn

from torchattacks_ext import FIMScore, ReliabilityWarning
from torchattacks_ext.numerics.fisher.blackbox.differences import (
    ask,
    central_differences,
)
from torchattacks_ext.numerics.fisher.blackbox.directions import Directions

DIRECTIONS = 250
"""Of each pair: the first 100 of them are the directions of a sketch with 100."""
STEP = 1e-3
IMAGES = 100
"""Distinct images of a case; pair number i is image i % IMAGES with seed i // IMAGES."""


@dataclass(frozen=True)
class Case:
    """A net and what it is shown.

    Arguments:
        name (str): in tables and files.
        net (Callable): gives the net, pixels to logits.
        images (Callable): gives the images.
        log_lam (float or None): the exact score, None to ask for it.
            (Default: None)
    """

    name: str
    net: Callable[[], nn.Module]
    images: Callable[[], Tensor]
    log_lam: float | None = None


class _Added(nn.Module):
    """x + f(x)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The sum of both ways."""
        return torch.relu(x + self.inner(x))


def _strided() -> nn.Module:
    convs = [nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1)]
    return nn.Sequential(*convs, nn.ReLU(), nn.Flatten(), nn.Linear(2048, 10))


def _averaged() -> nn.Module:
    first = [
        nn.Conv2d(3, 16, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, 1, 1),
        nn.ReLU(),
    ]
    return nn.Sequential(
        *first,
        nn.AvgPool2d(4),
        nn.Flatten(),
        nn.Linear(256, 64),
        nn.ELU(),
        nn.Linear(64, 10),
    )


def _tanh() -> nn.Module:
    convs = [nn.Conv2d(3, 12, 5, 2, 2), nn.Tanh(), nn.Conv2d(12, 24, 5, 2, 2)]
    return nn.Sequential(*convs, nn.Tanh(), nn.Flatten(), nn.Linear(1536, 10))


def _residual() -> nn.Module:
    convs = [nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), _Added(16), nn.AvgPool2d(2)]
    return nn.Sequential(*convs, nn.Flatten(), nn.Linear(784, 10))


def _untrained(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Torch's own first weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().eval().requires_grad_(False)


def planted(spectrum: list[float], size: int = 3072) -> nn.Module:
    """A linear net whose F has this spectrum at the grey image: equal p, so S = (1 - 11^T/K)/K."""
    k, rank = len(spectrum) + 1, len(spectrum)
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(k, k, generator=generator, dtype=torch.float64)
    draws[:, 0] = 1
    classes = torch.linalg.qr(draws).Q[:, 1:]
    pixels = torch.randn(size, rank, generator=generator, dtype=torch.float64)
    root = torch.tensor(spectrum, dtype=torch.float64).sqrt() * math.sqrt(k)
    net = nn.Linear(size, k).double().requires_grad_(False)
    net.weight.copy_(classes * root @ torch.linalg.qr(pixels).Q.mT)
    net.bias.copy_(-net.weight.sum(1) / 2)
    return nn.Sequential(nn.Flatten(), net).eval()


def _grey() -> Tensor:
    return torch.full((1, 3, 32, 32), 0.5, dtype=torch.float64)


def _colour() -> Tensor:
    return tax_data.test_images("cifar10", IMAGES)[0]


def _digits() -> Tensor:
    return tax_data.test_images("mnist", IMAGES)[0]


def _many() -> Tensor:
    return tax_data.test_images("cifar10", 1000)[0]


CASES = (
    Case("untrained, strided", lambda: _untrained(_strided, 1), _colour),
    Case("untrained, averaged", lambda: _untrained(_averaged, 2), _colour),
    Case("untrained, tanh", lambda: _untrained(_tanh, 3), _colour),
    Case("untrained, residual", lambda: _untrained(_residual, 4), _digits),
    Case("planted, gap .5", lambda: planted([1.0] + [0.5] * 8), _grey, 0.0),
    Case("planted, ratio .7", lambda: planted([0.7**j for j in range(9)]), _grey, 0.0),
    Case("planted, ratio .9", lambda: planted([0.9**j for j in range(9)]), _grey, 0.0),
    Case("planted, nine equal", lambda: planted([1.0] * 9), _grey, 0.0),
    Case("resnet18, trained", lambda: resnet18().requires_grad_(False), _many),
)
"""The last but one two are ties, where no estimate is near: shown, nothing is asked of them."""


@dataclass(frozen=True)
class Pairs:
    """Logits (N, K) and slopes (N, DIRECTIONS, K) of pairs, and their exact log lambda (N,)."""

    logits: Tensor
    slopes: Tensor
    exact: Tensor


def pairs(case: Case, first: int, stop: int, kept: Path) -> Pairs:
    """Pairs first..stop-1 of a case, from the file that has them, else asked for and kept.

    1 + 2 DIRECTIONS forward row-passes a pair, and K - 1 vjps where the exact score is asked for.
    """
    word = "".join(c if c.isalnum() else "_" for c in case.name)
    path = kept / f"{word}_{first}_{stop}.npz"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        found = _asked(case, torch.arange(first, stop))
        part = path.with_suffix(".part.npz")
        np.savez(part, **{name: x.numpy() for name, x in vars(found).items()})
        part.replace(path)
    with np.load(path) as data:
        return Pairs(**{name: torch.from_numpy(data[name]) for name in data.files})


def joined(parts: list[Pairs]) -> Pairs:
    """All of them as one."""
    return Pairs(
        *(torch.cat([getattr(part, name) for part in parts]) for name in vars(parts[0]))
    )


@torch.no_grad()
def _asked(case: Case, numbers: Tensor) -> Pairs:
    net, images = case.net(), case.images()

    every = len(images)
    logits, slopes, exact = [], [], []
    for number in numbers.tolist():
        image, ids = images[number % every][None], torch.tensor([number % every])
        v = Directions(number // every, ids, "sketch", image.numel(), image.dtype)
        basis = v.orthonormal(0, DIRECTIONS)
        logits.append(ask(net, image))
        slopes.append(central_differences(net, image, basis, STEP))
        exact.append(_exact(case, net, image))
    return Pairs(torch.cat(logits), torch.cat(slopes), torch.cat(exact))


def _exact(case: Case, net: nn.Module, image: Tensor) -> Tensor:
    if case.log_lam is not None:
        return torch.tensor([case.log_lam], dtype=torch.float64)
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore", ReliabilityWarning)
        found = FIMScore(net, method="gram", kl=False).measure(image, ids=[0])
    return torch.as_tensor(found.log_lam, dtype=torch.float64)
