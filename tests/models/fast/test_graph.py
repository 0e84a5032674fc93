"""What is not folded, and is the reason given?"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from torchattacks_ext.models.fast.graph import read

IMAGES = torch.rand(2, 4, 6, 6, generator=torch.Generator().manual_seed(1))
Make = Callable[[], nn.Module]


class Parts(nn.Module):
    """Two layers, two normalisations, and a forward that is given."""

    def __init__(self, forward: Callable[[Parts, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.other, self.tokens = nn.BatchNorm2d(4), nn.BatchNorm1d(36)
        self.linear = nn.Linear(4, 4)
        self.how = forward
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """What was given."""
        return self.how(self, x)


class OwnNorm(nn.BatchNorm2d):
    """A class that may do more."""


def pair(**options: bool) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4, **options)).eval()


def hooked(place: int) -> nn.Module:
    net = pair()
    net[place].register_forward_hook(lambda module, args, out: None)
    return net


def replaced() -> nn.Module:
    net = pair()
    layer = net[0]
    layer.forward = lambda x, inner=layer.forward: inner(x) * 2  # type: ignore[assignment]
    return net


def old_weight_norm() -> nn.Module:
    net = pair()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.nn.utils.weight_norm(net[0])  # type: ignore[no-untyped-call]
    return net


def parametrised() -> nn.Module:
    net = pair()
    parametrizations.weight_norm(net[0])
    return net


def tied(net: Parts, x: Tensor) -> Tensor:
    return net.bn(net.conv(x)) + F.conv2d(x, net.conv.weight, padding=1)


def tokens(net: Parts, x: Tensor) -> Tensor:
    return net.tokens(net.linear(x.flatten(2).transpose(1, 2)))


def twice(net: Parts, x: Tensor) -> Tensor:
    return net.other(net.conv(net.bn(net.conv(x))))


def seen(net: Parts, x: Tensor) -> Tensor:
    out = net.conv(x)
    return net.bn(out) + out


KEPT: dict[str, tuple[Make, str, str]] = {
    "training mode": (lambda: pair().train(), "1", r"training mode.*model\.eval\(\)"),
    "no statistics": (
        lambda: pair(track_running_stats=False),
        "1",
        "no running statistics",
    ),
    "before": (
        lambda: nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3)).eval(),
        "0",
        "comes after .*no plain convolution",
    ),
    "after an activation": (
        lambda: nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)).eval(),
        "2",
        "comes after ReLU",
    ),
    "own class": (
        lambda: nn.Sequential(nn.Conv2d(4, 4, 3), OwnNorm(4)).eval(),
        "1",
        "OwnNorm is a class of its own",
    ),
    "hook on the layer": (lambda: hooked(0), "1", "layer before it has a hook"),
    "hook on the norm": (lambda: hooked(1), "1", "it has a hook"),
    "forward on the object": (replaced, "1", "a forward of its own"),
    "old weight_norm": (old_weight_norm, "1", "layer before it has a hook"),
    "weight_norm": (parametrised, "1", "comes after ParametrizedConv2d"),
    "half": (lambda: pair().bfloat16(), "1", "half precision"),
    "tied weight": (lambda: Parts(tied), "bn", "weights of the layer .* elsewhere"),
    "conv used twice": (lambda: Parts(twice), "bn", "layer before it is called 2"),
    "output used twice": (lambda: Parts(seen), "bn", "output .* used elsewhere"),
    "never called": (lambda: Parts(seen), "other", "it is called 0 times"),
    "norm used twice": (
        lambda: Parts(lambda net, x: net.bn(net.bn(net.conv(x)))),
        "bn",
        "it is called 2 times",
    ),
    "numbers of the norm": (
        lambda: Parts(lambda net, x: net.bn(net.conv(x)) + net.bn.weight.sum()),
        "bn",
        "its numbers are used elsewhere",
    ),
    "computed weight": (
        lambda: Parts(lambda net, x: net.bn(F.conv2d(x, net.conv.weight * 2))),
        "bn",
        "whose weight is computed",
    ),
    "tokens": (lambda: Parts(tokens), "tokens", "channels in another dimension"),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_stays_says_why(name: str) -> None:
    make, path, why = KEPT[name]
    net = make()
    like = next(net.parameters())
    found = read(net, IMAGES.to(like.dtype))
    assert found.unread is None
    assert path not in [norm for _, norm in found.norms]
    assert re.search(why, found.kept[path]), found.kept


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced: nn.Module = torch.jit.trace(pair(), IMAGES)
    return traced


def compiled_in_place() -> nn.Module:
    net = pair()
    net.compile(backend="eager")
    return net


class OptimizedModule(nn.Module):
    """What torch.compile puts around a module, without the compiler."""

    def __init__(self) -> None:
        super().__init__()
        self._orig_mod = pair()


def quantised() -> nn.Module:
    net = nn.Sequential(pair(), nn.Flatten(), nn.Linear(64, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: nn.Module = torch.ao.quantization.quantize_dynamic(net, {nn.Linear})
    return found


UNREAD: dict[str, tuple[Make, str]] = {
    "script": (lambda: nn.Sequential(scripted(), pair()), "'0' is a script"),
    "compiled": (lambda: torch.compile(pair(), backend="eager"), "is compiled"),
    "compiled in place": (compiled_in_place, "is compiled"),
    "as compiled": (OptimizedModule, "is compiled"),
    "wrapped": (lambda: nn.DataParallel(pair()), r"model\.module"),
    "quantised": (quantised, "'2' is quantised"),
    "branches": (
        lambda: Parts(lambda net, x: net.bn(net.conv(x)) if x.sum() > 0 else x),
        "torch.fx cannot follow it",
    ),
}


IMPORTS = ("script", "compiled", "compiled in place")  # whole parts of torch


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n in IMPORTS)) for n in UNREAD],
)
def test_what_is_not_read_says_why(name: str) -> None:
    make, why = UNREAD[name]
    found = read(make().eval(), IMAGES)  # type: ignore[no-untyped-call]
    assert found.norms == () and found.unread is not None
    assert why in found.unread or re.search(why, found.unread)


def test_without_a_norm_nothing_is_traced() -> None:
    class Raises(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError

    assert read(Raises(), IMAGES).unread is None
