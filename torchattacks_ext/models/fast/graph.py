"""Which normalisations can become a part of the layer beside them, and why not the others?

The graph only tells what is used where; the forward of the copy stays the model's own code, so that
sizes which the graph saw are not written into it. A pair of layers is put together where each is
called once, nothing else sees what goes from one to the other, and neither has anything that would
notice: a hook, a forward of its own, weights that are used elsewhere.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ..lipschitz.graph.concrete import ConcreteTracer, fetch, normalise
from ..lipschitz.graph.tracing import strip
from ..normalised import NormalizedModel
from ..session import session
from .plain import (
    CONVOLUTIONS,
    TRANSPOSED,
    is_norm,
    not_readable,
    refusal_of_norm,
    touched,
)

WIDTHS: dict[Any, int] = {
    F.linear: 0,
    **{one: n for n, one in enumerate((F.conv1d, F.conv2d, F.conv3d), 1)},
}
"""Functions of a weight, and the number of axes over which it slides."""


@dataclass(frozen=True)
class Layer:
    """A linear map: path of the module that holds its weight, and how the weight is laid out."""

    path: str
    groups: int = 1
    transposed: bool = False


@dataclass(frozen=True)
class Folds:
    """What can be put together, and what stays.

    norms: pairs of a layer and the path of the batch normalisation after it. pixels: path of the
    view that normalises the images, and the layer after it. kept: path of what stays, and why.
    unread: why the graph was not read; None where it was, or where there is nothing to fold.
    """

    norms: tuple[tuple[Layer, str], ...] = ()
    pixels: tuple[str, Layer] | None = None
    kept: dict[str, str] = field(default_factory=dict)
    unread: str | None = None


def read(model: nn.Module, images: Tensor) -> Folds:
    """What of a model can be folded, by its graph on images (N, ...). One forward pass of N rows.

    The model should be a copy: what a forward leaves on its modules may be stand-ins of the trace.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.BatchNorm1d(2)).eval()
    >>> found = read(net, torch.zeros(2, 2))
    >>> [path for _, path in found.norms], found.kept
    (['1'], {'2': 'it comes after BatchNorm1d, no plain convolution or linear layer'})
    """
    named = dict(model.named_modules())
    norms = {n: m for n, m in named.items() if is_norm(m)}
    views = {n: m for n, m in named.items() if type(m) is NormalizedModel}
    unread = not_readable(model)
    if unread is not None or not (norms or views):
        return Folds(unread=unread)
    holder = nn.Sequential(OrderedDict(model=model))
    tracer = ConcreteTracer(images.clone())
    try:
        with session(holder), torch.no_grad():
            graph = tracer.trace(holder)
    except Exception as error:  # whatever code does with a stand-in for a tensor
        words = " ".join(str(error).split())[:120]
        return Folds(
            unread=f"torch.fx cannot follow it ({type(error).__name__}: {words})"
        )
    return _Reader(holder, graph, tracer.values).folds(norms, views)


class _Reader:
    """A graph, and who is called in it and by what name."""

    def __init__(
        self, holder: nn.Module, graph: fx.Graph, values: dict[fx.Node, Any]
    ) -> None:
        self.holder, self.graph, self.values = holder, graph, values
        self.calls: dict[int, list[fx.Node]] = {}
        self.weights: dict[int, list[fx.Node]] = {}
        for node in graph.nodes:
            if node.op == "call_module":
                self.calls.setdefault(id(self._owner(node)), []).append(node)
            elif node.op == "get_attr":
                tensor = fetch(holder, str(node.target))
                self.weights.setdefault(id(tensor), []).append(node)

    def folds(self, norms: Mapping[str, Any], views: Mapping[str, Any]) -> Folds:
        """What can be folded of these."""
        pairs, pixels, kept = [], None, {}
        for path, norm in norms.items():
            try:
                pairs.append((self._before(norm), path))
            except _Stays as why:
                kept[path] = str(why)
        for path, view in views.items():
            try:
                pixels = path, self._after(view)
            except _Stays as why:
                kept[path] = str(why)
        return Folds(tuple(pairs), pixels, kept)

    def _owner(self, node: fx.Node) -> Any:
        return self.holder.get_submodule(str(node.target))

    def _before(self, norm: nn.Module) -> Layer:
        """The layer before a normalisation."""
        why = refusal_of_norm(norm)
        if why is not None:
            raise _Stays(why)
        node = self._only_call(norm, "it")
        self._unused(norm, "its numbers are", set())
        before = node.args[0] if len(node.args) == 1 and not node.kwargs else None
        if not isinstance(before, fx.Node):
            raise _Stays("it is called with other arguments than one tensor")
        layer = self._layer(before)
        if len(before.users) > 1:
            raise _Stays("the output of the layer before it is used elsewhere, too")
        return layer

    def _after(self, view: Any) -> Layer:
        """The convolution after a view that normalises."""
        if touched(view):
            raise _Stays("it has a hook, a forward of its own, or half precision")
        means = [n for n in self.weights.get(id(view.mean), []) if n.users]
        steps = [user for node in means for user in node.users]
        if len(steps) != 1 or steps[0].target is not normalise:
            raise _Stays("its mean is used more than once, or not at all")
        users = list(steps[0].users)
        if len(users) != 1 or users[0].op != "call_module":
            raise _Stays("what it gives does not go into one convolution alone")
        if type(self._owner(users[0])) not in CONVOLUTIONS:
            raise _Stays("what it gives does not go into one convolution alone")
        layer, module = self._layer(users[0]), self._owner(users[0])
        padded = module.padding != "valid" and any(_numbers(module.padding))
        if padded and module.padding_mode == "zeros":
            raise _Stays(
                "the first convolution pads with zeros, which stand for the mean of the pixels"
            )
        return layer

    def _layer(self, node: fx.Node) -> Layer:
        """The linear map of a node; nothing else uses its weights."""
        if node.op == "call_function" and node.target in WIDTHS:
            return self._function(node)
        module: Any = self._owner(node) if node.op == "call_module" else None
        if type(module) not in (nn.Linear, *CONVOLUTIONS, *TRANSPOSED):
            name = node.name if module is None else type(module).__name__
            raise _Stays(f"it comes after {name}, no plain convolution or linear layer")
        if touched(module):
            raise _Stays(
                "the layer before it has a hook, a forward of its own, or other than plain weights"
            )
        self._only_call(module, "the layer before it")
        self._unused(module, "weights of the layer before it are", set())
        axes = 0 if type(module) is nn.Linear else len(module.kernel_size)
        self._shaped(node, axes)
        groups = getattr(module, "groups", 1)
        return Layer(strip(str(node.target)), groups, type(module) in TRANSPOSED)

    def _function(self, node: fx.Node) -> Layer:
        """A class of its own may call the function of its kind: its module is then still known."""
        weight = node.args[1] if len(node.args) > 1 else node.kwargs.get("weight")
        target = str(weight.target) if isinstance(weight, fx.Node) else ""
        path, _, name = target.rpartition(".")
        owner = self.holder.get_submodule(path) if name == "weight" else None
        if not isinstance(owner, (nn.Linear, *CONVOLUTIONS)):
            raise _Stays(f"it comes after {node.name}, whose weight is computed")
        if touched(owner) or id(owner) in self.calls:
            raise _Stays("the layer before it has a hook, or is called elsewhere")
        self._unused(owner, "weights of the layer before it are", {node})
        self._shaped(node, WIDTHS[node.target])
        return Layer(strip(path), getattr(owner, "groups", 1))

    def _shaped(self, node: fx.Node, axes: int) -> None:
        """The channels must be dimension 1 of a batch."""
        if self.values[node].dim() != axes + 2:
            raise _Stays(
                "the layer before it has its channels in another dimension than it"
            )

    def _only_call(self, module: Any, name: str) -> fx.Node:
        calls = self.calls.get(id(module), [])
        if len(calls) != 1:
            raise _Stays(f"{name} is called {len(calls)} times")
        return calls[0]

    def _unused(self, module: Any, name: str, allowed: set[fx.Node]) -> None:
        """Nothing but the allowed nodes reads the numbers of the module."""
        for tensor in _tensors(module):
            for node in self.weights.get(id(tensor), []):
                if set(node.users) - allowed:
                    raise _Stays(f"{name} used elsewhere, too")


class _Stays(Exception):
    """Why a normalisation stays."""


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters(recurse=False)
    yield from module.buffers(recurse=False)


def _numbers(padding: Any) -> tuple[Any, ...]:
    return padding if isinstance(padding, tuple) else (padding,)
