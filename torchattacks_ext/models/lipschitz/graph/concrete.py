"""How is a model traced where it asks for sizes? Every step is computed for one image on the way.

torch.fx runs a forward with stand-ins and refuses `if x.shape[1] == 3`. These stand-ins know their
value for one image, so that sizes, types and lengths are plain numbers, the same for every image of
that shape. What the numbers in an image are, no forward may ask: that stays refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves, tree_map

from ...loans import writes_of
from ...normalised import NormalizedModel
from ..rules.table import rule_of


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(images - mean) / std a channel, as one step of a graph.

    >>> normalise(torch.ones(1, 1, 2), torch.tensor([0.5]), torch.tensor([0.25])).tolist()
    [[[2.0, 2.0]]]
    """
    shape = (1, -1) + (1,) * (images.dim() - 2)
    return (images - mean.to(images).reshape(shape)) / std.to(images).reshape(shape)


_CALL, _GETATTR = nn.Module.__call__, nn.Module.__getattr__


@contextmanager
def untraced() -> Iterator[None]:
    """Inside, modules compute: torch.fx puts other methods on nn.Module while it traces.

    >>> with untraced():
    ...     pass
    """
    names = "__call__", "__getattr__"
    tracing = [getattr(nn.Module, name) for name in names]
    try:
        for name, own in zip(names, (_CALL, _GETATTR)):
            setattr(nn.Module, name, own)
        yield
    finally:
        for name, other in zip(names, tracing):
            setattr(nn.Module, name, other)


Inputs = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and named arguments of a call."""


class Known(fx.Proxy):
    """The stand-in of a value that is known for one image."""

    tracer: ConcreteTracer

    @property
    def known(self) -> Any:
        """The value."""
        return self.tracer.values[self.node]

    @property
    def shape(self) -> torch.Size:
        """Of the tensor."""
        return torch.Size(self.known.shape)

    @property
    def dtype(self) -> torch.dtype:
        """Of the tensor."""
        found: torch.dtype = self.known.dtype
        return found

    @property
    def device(self) -> torch.device:
        """Of the tensor."""
        found: torch.device = self.known.device
        return found

    @property
    def ndim(self) -> int:
        """Of the tensor."""
        return self.dim()

    def size(self, dim: int | None = None) -> Any:
        """All sizes, or one."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def numel(self) -> int:
        """Number of entries."""
        return self.shape.numel()

    def is_floating_point(self) -> bool:
        """Whether the entries are real numbers."""
        return self.dtype.is_floating_point

    def __len__(self) -> int:
        return len(self.known)


class ConcreteTracer(fx.Tracer):
    """Leaves are the modules with a rule, and torch's own that have none.

    images: what the model is run on; keep_inputs: see `inputs`. `values`: of every step so far;
    `inputs`: positional and named arguments of the modules, as they were when these were called (a
    later step may write on them), their shapes only unless they are kept; `written`: the memory on
    which steps wrote that they were given; `inside`: path of the module that is being run.
    """

    def __init__(self, images: Tensor, keep_inputs: bool = False) -> None:
        super().__init__()
        self.images, self.keep_inputs = images, keep_inputs
        self.values: dict[fx.Node, Any] = {}
        self.inputs: dict[fx.Node, Inputs] = {}
        self.written: dict[fx.Node, set[int]] = {}
        self.inside: list[str] = []

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether the module is one step of the graph."""
        return rule_of(m) is not None or super().is_leaf_module(
            m, module_qualified_name
        )

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """As torch's; a view that normalises becomes a step of its own."""
        if type(m) is NormalizedModel:
            images = args[0] if args else kwargs["images"]
            step = self.create_proxy(
                "call_function", normalise, (images, m.mean, m.std), {}
            )
            return m.model(step)
        self.inside.append(self.path_of_module(m))
        found = super().call_module(m, forward, args, kwargs)
        self.inside.pop()  # stays where it broke
        return found

    def proxy(self, node: fx.Node) -> Known:
        """The stand-in of a step."""
        return Known(node, self)

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        """The parts of several outputs, or the rows of a tensor."""
        return iter([obj[i] for i in range(len(obj))])  # type: ignore[index]

    def create_proxy(self, *args: Any, **kwargs: Any) -> Any:
        """A step of the graph, computed at once."""
        proxy = super().create_proxy(*args, **kwargs)
        node = proxy.node
        given = [self.value_of(one) for one in node.all_input_nodes]
        tensors = [one for one in tree_leaves(given) if isinstance(one, Tensor)]
        before = [writes_of(one) for one in tensors]
        with untraced():
            self.values[node] = self._compute(node)
        touched = [one for one, n in zip(tensors, before) if writes_of(one) != n]
        if touched:
            self.written[node] = memory_of(touched)
        return proxy

    def _compute(self, node: fx.Node) -> Any:
        args, kwargs = fx.map_arg((node.args, node.kwargs), self.value_of)
        if node.op == "placeholder":
            return self.images
        if node.op == "get_attr":
            return fetch(self.root, str(node.target))
        if node.op == "call_method":
            owner, *rest = args
            return getattr(owner, str(node.target))(*rest, **kwargs)
        if node.op == "call_module":
            self.inputs[node] = tree_map(self._kept, (args, kwargs))
            return self.root.get_submodule(str(node.target))(*args, **kwargs)
        step: Any = node.target
        return step(*args, **kwargs)

    def _kept(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return value.clone() if self.keep_inputs else value.to("meta")

    def value_of(self, node: fx.Node) -> Any:
        """The value of a step, also of tensors that were written into the graph as they are."""
        if node not in self.values and node.op == "get_attr":
            self.values[node] = fetch(self.root, str(node.target))
        return self.values[node]


def fetch(root: Any, path: str) -> Any:
    """An attribute by its dotted path.

    >>> fetch(nn.Sequential(nn.ReLU()), "0.training")
    True
    """
    for name in path.split("."):
        root = getattr(root, name)
    return root


def memory_of(value: Any) -> set[int]:
    """Where the tensors in a value lie; the views of a tensor lie where it does.

    >>> x = torch.ones(2, 3)
    >>> memory_of(x[0]) == memory_of((x, 1))
    True
    """
    tensors = (
        one for one in tree_leaves(value) if isinstance(one, Tensor) and one.numel()
    )
    return {one.untyped_storage().data_ptr() for one in tensors}
