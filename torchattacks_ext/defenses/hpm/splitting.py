"""Where does a classifier end in a linear head? The trunk before it, or why there is none."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, fx, nn

from ...errors import ConfigError
from ...models.session import session

SAY_IMAGES = "pass images=..., a few inputs on which the split can be seen and checked"


def split_classifier(
    net: nn.Module, images: Tensor | None = None
) -> tuple[nn.Module, nn.Linear, str]:
    """(trunk, linear head, its dotted name); copies: `net` stays as it is.

    The head is the Linear whose value *is* the output of the net. Without images that is read from
    the graph of the net (torch.fx; one that branches on values cannot be read); with images
    (N, ...) from one forward pass of N rows. Raises ConfigError, with the reason, where the output
    is something else, where the Linear is used twice, or where its input is no (N, d).

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> trunk, fc, name = split_classifier(net)
    >>> trunk(torch.zeros(2, 1, 2, 2)).shape, fc.out_features, name
    (torch.Size([2, 8]), 3, '3')
    """
    name = _by_graph(net) if images is None else _by_images(net, images)
    fc = copy.deepcopy(net.get_submodule(name))
    assert isinstance(fc, nn.Linear)
    return without(net, name), fc, name


def without(net: nn.Module, name: str) -> nn.Module:
    """A copy of the net with the identity in the place of a module; "" is the net itself.

    Raises ConfigError where there is no Linear of that name.

    >>> without(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), "1")(torch.zeros(1, 2, 2)).shape
    torch.Size([1, 4])
    """
    places = dict(net.named_modules(remove_duplicate=False))
    if not isinstance(places.get(name), nn.Linear):
        raise ConfigError(
            f"{type(net).__name__} has no Linear of the name {name!r}; give the classifier that "
            "the head was taken from"
        )
    if not name:
        return nn.Identity()
    found = copy.deepcopy(net)
    parent, _, last = name.rpartition(".")
    setattr(found.get_submodule(parent), last, nn.Identity())
    return found


def _by_graph(net: nn.Module) -> str:
    if isinstance(net, nn.Linear):
        return ""
    try:
        graph = fx.symbolic_trace(net).graph
    except Exception as error:  # whatever code does with a stand-in for a tensor
        words = " ".join(str(error).split())[:120]
        raise ConfigError(
            f"the graph of {type(net).__name__} cannot be read ({type(error).__name__}: {words}); "
            + SAY_IMAGES
        ) from error
    nodes = list(graph.nodes)
    last = nodes[-1].args[0]  # fx: what the output node returns
    if not isinstance(last, fx.Node):
        raise ConfigError(
            f"{type(net).__name__} returns a {type(last).__name__}, not one tensor of logits; wrap "
            "it in a Module that returns the logits alone"
        )
    name = str(last.target)
    module = net.get_submodule(name) if last.op == "call_module" else None
    if not isinstance(module, nn.Linear):
        what = name if module is None else f"{type(module).__name__} ({name!r})"
        raise ConfigError(
            f"the last step of {type(net).__name__} is {what}, not a Linear; take it off, or build "
            "HPMModel(trunk, HPMHead(fc)) by hand"
        )
    calls = [n for n in nodes if n.op == "call_module"]
    modules = [net.get_submodule(str(n.target)) for n in calls]
    _used_once(name, sum(one is module for one in modules))
    return name


def _by_images(net: nn.Module, images: Tensor) -> str:
    calls: list[tuple[str, tuple[int, ...], object]] = []
    hooks = []
    for name, module in net.named_modules():
        if isinstance(module, nn.Linear):

            def note(_: nn.Module, args: object, out: object, name: str = name) -> None:
                given = args[0] if isinstance(args, tuple) and args else None
                calls.append((name, tuple(getattr(given, "shape", ())), out))

            hooks.append(module.register_forward_hook(note))
    try:
        with session(net), torch.no_grad():
            out = net(images)
    finally:
        for hook in hooks:
            hook.remove()
    if not calls:
        raise ConfigError(
            f"no Linear ran in {type(net).__name__}; HPM needs a linear head: build "
            "HPMModel(trunk, HPMHead(fc)) by hand"
        )
    name, shape, value = calls[-1]
    if not isinstance(out, Tensor) or not isinstance(value, Tensor) or out is not value:
        raise ConfigError(
            f"the output of {type(net).__name__} is not the value of {name!r}, the last Linear "
            "that ran: something comes after it; take it off, or build HPMModel by hand"
        )
    if len(shape) != 2:
        raise ConfigError(
            f"{name!r} takes inputs {shape}, expected (N, d); build HPMModel with a trunk that "
            "ends in one feature vector a row"
        )
    _used_once(name, sum(one == name for one, _, _ in calls))
    return name


def _used_once(name: str, times: int) -> None:
    if times != 1:
        raise ConfigError(
            f"the Linear {name!r} is used {times} times in one forward pass, so that it cannot be "
            "taken out; build HPMModel(trunk, HPMHead(fc)) by hand"
        )
