"""What is a kind of model, and which victim stands behind most of them?"""

from __future__ import annotations

import functools
import importlib.metadata
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

VERBS = ("PRTest", "FIMScore", "MSA")
EQUAL = 1e-4
"""Largest difference of log lambda that is called equal."""
COMPILER = "a C++ compiler"

NOISE, ATTACK = 0.35, 0.06
"""Radii at which the digits net keeps some of its eight images and loses others."""


def nothing() -> None:
    """What most kinds have to clean up."""


@dataclass(frozen=True, eq=False)
class Case:
    """One model of a kind, and the plain module that must have the same numbers.

    options: of every verb on the model; plain_options: on the plain module; images, plain_images:
    (N, ...) for each, rows that correspond. noise, attack: radii of PRTest and MSA (in the unit of
    `plain_images`; `scale` times that for the model). shift: what log lambda differs by, known on
    paper. allowed: the difference of log lambda. scores: the model gives no gradient on purpose;
    FIMScore is then compared as a black box, MSA with the plain module behind no_grad. refused:
    verb -> words of the refusal, or of the flag beside the rows that were left. told: verb -> codes
    of all flags of the model, where the plain module has others. doubted: verb -> words of the flag
    that says why its number means nothing here.
    """

    model: Any
    plain: Any
    images: Tensor
    labels: Tensor
    options: Mapping[str, Any] = field(default_factory=dict)
    plain_options: Mapping[str, Any] = field(default_factory=dict)
    plain_images: Tensor | None = None
    noise: float = NOISE
    attack: float = ATTACK
    scale: float = 1.0
    shift: float = 0.0
    allowed: float = EQUAL
    scores: bool = False
    refused: Mapping[str, str] = field(default_factory=dict)
    told: Mapping[str, frozenset[str]] = field(default_factory=dict)
    doubted: Mapping[str, str] = field(default_factory=dict)
    close: Callable[[], None] = nothing


@dataclass(frozen=True, eq=False)
class Kind:
    """A name, what has to be installed, and how it is built."""

    name: str
    build: Callable[[], Case]
    packages: tuple[str, ...] = ()
    group: str = ""

    @property
    def takes_long(self) -> bool:
        """Compilers and other packages: left out where time is short."""
        return bool(self.packages)

    def missing(self) -> str:
        """Why it cannot be built here; empty where it can."""
        for package in self.packages:
            if package == COMPILER:
                if not any(map(shutil.which, ("c++", "g++", "clang++"))):
                    return f"{COMPILER} is not there"
            elif version(package) is None:
                return f"{package} is not installed"
        return ""


def version(package: str) -> str | None:
    """Of an installed distribution; None without it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


KINDS: dict[str, Kind] = {}


def kind(
    name: str, *packages: str
) -> Callable[[Callable[[], Case]], Callable[[], Case]]:
    """Registers a function that builds a case."""

    def register(build: Callable[[], Case]) -> Callable[[], Case]:
        assert name not in KINDS, name
        group = build.__module__.rpartition(".")[2]
        KINDS[name] = Kind(name, build, packages, group)
        return build

    return register


# ---------------------------------------------------------------------- the victim
@functools.cache
def _trained() -> tuple[nn.Sequential, Tensor, Tensor]:
    from torchattacks_ext.data.digits import load_digits
    from torchattacks_ext.evaluation.demo import train_demo

    net = train_demo("standard", *load_digits("train"), epochs=3)
    images, labels = load_digits("test")
    with torch.no_grad():
        top = net(images).topk(2, dim=1).values
    # from the least sure to the surest; one of the least sure is wrong
    order = (top[:, 0] - top[:, 1]).argsort()
    rows = order[torch.tensor([1, 5, 10, 20, 60, 150, 300, 440])]
    return net, images[rows], labels[rows]


def digits_net() -> nn.Sequential:
    """The demo's net, trained for three epochs; a copy of its own for each caller.

    conv 1-16, relu, conv 16-32 (stride 2), relu, flatten, linear 512-64, relu, linear 64-10.
    """
    import copy

    return copy.deepcopy(_trained()[0])


def digits() -> tuple[Tensor, Tensor]:
    """Eight test images (8, 1, 8, 8), sure and less sure ones, and their labels."""
    return _trained()[1].clone(), _trained()[2].clone()


@functools.cache
def the_plain_net() -> nn.Sequential:
    """The digits net that most kinds are compared with; nobody changes it."""
    return digits_net()


def on_digits(model: Any, plain: Any = None, **facts: Any) -> Case:
    """A case on the eight images; the plain module is the digits net."""
    images, labels = digits()
    return Case(
        model, the_plain_net() if plain is None else plain, images, labels, **facts
    )


def dense_digits_net() -> nn.Sequential:
    """The digits net with its convolutions written as matrices; compilers need fewer graphs."""
    net, layers = digits_net(), [nn.Flatten()]
    shape = (1, 8, 8)
    for layer in net[:4]:
        if isinstance(layer, nn.Conv2d):
            layers.append(_as_matrix(layer, shape))
            shape = (layer.out_channels, *(8 // layer.stride[0],) * 2)
        else:
            layers.append(layer)
    return nn.Sequential(*layers, *net[5:])


def _as_matrix(layer: nn.Conv2d, shape: tuple[int, ...]) -> nn.Linear:
    n = shape[0] * shape[1] * shape[2]
    with torch.no_grad():
        shift = layer(torch.zeros(1, *shape)).flatten(1)
        matrix = layer(torch.eye(n).view(n, *shape)).flatten(1) - shift
        dense = nn.Linear(n, matrix.shape[1])
        dense.weight.copy_(matrix.T)
        dense.bias.copy_(shift[0])
    return dense


def radii(plain: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Radii at which noise, and one signed gradient step, break some of the images only."""
    generator = torch.Generator().manual_seed(0)
    ladder = [0.005 * 1.5**i for i in range(14)]
    share = [_noise_failures(plain, images, labels, eps, generator) for eps in ladder]
    noise = min(zip(share, ladder), key=lambda pair: abs(pair[0] - 0.5))[1]
    pixels = images.clone().requires_grad_()
    with torch.enable_grad():
        loss = torch.nn.functional.cross_entropy(plain(pixels), labels)
        step = torch.autograd.grad(loss, pixels)[0].sign()
    small = [0.0002 * 1.5**i for i in range(18)]
    with torch.no_grad():
        left = [
            float(
                (plain((images + eps * step).clamp(0, 1)).argmax(1) == labels)
                .float()
                .mean()
            )
            for eps in small
        ]
    attack = min(zip(left, small), key=lambda pair: abs(pair[0] - 0.6))[1]
    return noise, attack


def _noise_failures(
    plain: nn.Module,
    images: Tensor,
    labels: Tensor,
    eps: float,
    generator: torch.Generator,
) -> float:
    """Share of the images that fail in more than a tenth of forty draws."""
    wrong = torch.zeros(len(images))
    for _ in range(40):
        u = torch.rand(images.shape, generator=generator)
        with torch.no_grad():
            seen = plain((images + eps * (2 * u - 1)).clamp(0, 1)).argmax(1)
        wrong += seen != labels
    return float((wrong > 4).float().mean())
