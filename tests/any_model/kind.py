"""What is a kind of model? How it is made, its plain twin, and what must be said of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from torchattacks_ext.testing import small_net

K = 4
SHAPES = ((1, 6, 6), (3, 5, 6))
ALL = ("prtest", "fim", "blackbox", "msa", "zoo", "plan", "cli")
"""Families of verbs: plan is an evaluation of several stages, cli the same by the command."""
GRADIENTS = ("fim", "zoo")
"""Families that cannot do without the gradient of the images; msa leaves parts out."""
Shape = tuple[int, ...]
Model = Callable[[Tensor], Any]


@dataclass(frozen=True, eq=False)
class Made:
    """One model of a kind.

    twin: a plain model of the same numbers, None where there is none. owned: modules that must be
    as before afterwards (the model itself, where it is one). options: how its answers are read;
    twin_options: those of the twin. poisoned: it raises on black images. top: its
    largest label.
    """

    model: Any
    twin: Any = None
    owned: tuple[nn.Module, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    twin_options: dict[str, Any] = field(default_factory=dict)
    poisoned: bool = False
    top: int = K - 2  # masks take the last class away


@dataclass(frozen=True, eq=False)
class Kind:
    """A way to be a model.

    gradient: whether its images get the right gradient. refused: the words (a pattern) of the
    refusal in the families `refuses`; may_end: those in which another end is right as well. flags:
    codes that it brings beside its twin's; doubtful: codes that may come. modal: whether train()
    and eval() may be asked of it; still: whether nothing else may be done to it either; dear:
    whether it takes long to make. weight: how often it is drawn.
    """

    name: str
    make: Callable[[Shape], Made]
    gradient: bool = True
    refused: str = ""
    refuses: tuple[str, ...] = ALL
    may_end: tuple[str, ...] = ()
    flags: frozenset[str] = frozenset()
    doubtful: frozenset[str] = frozenset()
    modal: bool = True
    still: bool = False
    dear: bool = False
    weight: int = 3


KINDS: dict[str, Kind] = {}


def kind(**about: Any) -> Callable[[Callable[[Shape], Made]], Callable[[Shape], Made]]:
    """Registers a function from a shape to a model as a kind of its name."""

    def register(make: Callable[[Shape], Made]) -> Callable[[Shape], Made]:
        KINDS[make.__name__] = Kind(make.__name__, cache(make), **about)
        return make

    return register


def like(base: str, name: str, make: Callable[[Shape], Made], **about: Any) -> None:
    """Registers a kind that is as another one but for what is said here."""
    KINDS[name] = replace(KINDS[base], name=name, make=cache(make), **about)


@cache
def plain(shape: Shape) -> nn.Sequential:
    """The net that most kinds wrap, in eval mode; twins share it, so nobody may change it."""
    net = small_net(shape, K, seed=1).eval()
    with torch.no_grad():  # clear answers of several classes
        net[-1].weight.mul_(4)
        images = torch.rand(64, *shape, generator=torch.Generator().manual_seed(2))
        net[-1].bias -= net(0.25 + 0.6 * images).mean(0)
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    return net


def fresh(shape: Shape) -> nn.Sequential:
    """The same net, to be wrapped and handed out."""
    net = small_net(shape, K, seed=1).eval()
    net.load_state_dict(plain(shape).state_dict())
    return net


class Before(nn.Module):
    """A net behind a map of its images (and, where it is given, before one of its scores)."""

    def __init__(
        self, first: Model, net: nn.Module, last: Callable[[Any], Any] = lambda z: z
    ) -> None:
        super().__init__()
        self.net, self.first, self.last = net, first, last

    def forward(self, images: Tensor) -> Any:
        return self.last(self.net(self.first(images)))


def same(images: Tensor) -> Tensor:
    """The images themselves."""
    return images
