"""What does a model compute, step by step? Its torch.fx graph, with the shape of every value.

Modules with a rule are leaves; all others are traced through. The graph is believed only where it
gives the model's own output, no hook changes a value in between, nothing is drawn at random, and
nothing is computed in half precision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves, tree_map

from ....errors import InputError, ModelContractError
from ....numerics.generators import Watch
from ....numerics.streams import uniform
from ...modes import in_training
from ...normalised import NormalizedModel
from ...precision import full_precision
from ...session import first_tensor, session
from ...skeletons import is_skeleton
from ..rules.table import rule_of

ROOT = "model"
"""Name of the model inside its holder."""
AGREE = 1e-4
"""Largest difference of graph and model, in parts of the largest output."""
WEIGHT_HOOKS = ("SpectralNorm", "WeightNorm", "BasePruningMethod")
"""Hooks of torch.nn.utils that write a weight before the forward, which is measured after it."""


@dataclass(frozen=True, eq=False)
class Trace:
    """A graph whose values are known for one image.

    module: the graph and its modules; values: of every node; inputs: of every module, as they were
    when it was called.
    """

    module: fx.GraphModule
    values: dict[fx.Node, Any]
    inputs: dict[fx.Node, tuple[Any, ...]]


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(images - mean) / std a channel, as one step of a graph.

    >>> normalise(torch.ones(1, 1, 2), torch.tensor([0.5]), torch.tensor([0.25])).tolist()
    [[[2.0, 2.0]]]
    """
    shape = (1, -1) + (1,) * (images.dim() - 2)
    return (images - mean.to(images).reshape(shape)) / std.to(images).reshape(shape)


class _Holder(nn.Module):
    """The model as a child: what is special about a module is then special about the root too."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Any:
        """The model's."""
        return self.model(images)


class _Tracer(fx.Tracer):
    """Leaves are the modules with a rule, and torch's own that have none."""

    def __init__(self) -> None:
        super().__init__()
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


class _Recorder(fx.Interpreter):
    """Runs the graph and keeps what it saw."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.values: dict[fx.Node, Any] = {}
        self.inputs: dict[fx.Node, tuple[Any, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        """The value of a node, and a copy of what a module got (it may write on it)."""
        if n.op == "call_module":
            args, _ = self.fetch_args_kwargs_from_env(n)
            self.inputs[n] = tree_map(_copy, args)
        self.values[n] = super().run_node(n)
        return self.values[n]


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def trace(model: nn.Module, shape: Sequence[int], point: Tensor | None = None) -> Trace:
    """The graph of a model on images (1, *shape), at `point` or at one random image.

    Raises ModelContractError for models that are in training mode, of half precision, without
    values, changed by hooks, or not to be traced; each says what to do. The model is given back as
    it was. Cost: two row-passes.
    """
    _refuse_unready(model)
    images = _images(model, shape, point)
    with session(model), torch.no_grad(), full_precision():
        watch = Watch(model)
        answer = _answer(model, images.clone())
        module = _graph(model)
        recorder = _Recorder(module)
        found = recorder.run(images.clone())
        if watch.moved():
            raise ModelContractError(
                "the model draws random numbers in eval mode: a bound would be one of a single "
                "draw; take the noise out, or give the mean model"
            )
        _compare(answer, found)
    _refuse_half(recorder.values)
    return Trace(module, recorder.values, recorder.inputs)


def _refuse_unready(model: object) -> None:
    if not isinstance(model, nn.Module):
        raise ModelContractError(
            f"bounds are read from the modules of a model; {type(model).__name__} is no nn.Module"
        )
    if is_skeleton(model):
        raise ModelContractError(
            "the model's weights are on the meta device and have no values"
        )
    training = next(in_training(model), None)
    if training is not None:
        raise ModelContractError(
            f"{type(training).__name__} is in training mode, where it is another function: call "
            "model.eval() first"
        )
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_floating_point() and tensor.element_size() < 4:
            raise ModelContractError(
                f"{name} is {tensor.dtype}: what such a model computes is far from the function "
                "that a bound speaks of; call model.float() or model.double()"
            )
    for name, module in model.named_modules():
        _refuse_hooks(name, module)


def _refuse_hooks(name: str, module: nn.Module) -> None:
    for table in ("_forward_hooks", "_forward_pre_hooks"):
        for hook in (vars(module).get(table) or {}).values():
            kinds = [kind.__name__ for kind in type(hook).__mro__]
            if not any(kind in WEIGHT_HOOKS for kind in kinds):
                raise ModelContractError(
                    f"{name or type(module).__name__} has a forward hook ({hook!r}), which may "
                    "change values unseen: take it off, or write it into the forward"
                )
    if "forward" in vars(module):
        raise ModelContractError(
            f"the forward of {name or type(module).__name__} was replaced on the object: make a "
            "subclass, and register_rule for it"
        )


def _images(model: nn.Module, shape: Sequence[int], point: Tensor | None) -> Tensor:
    """One image of the model's dtype and device."""
    like = first_tensor(model)
    like = torch.zeros(()) if like is None else like
    if point is None:
        size = torch.Size(shape).numel()
        drawn = uniform(0, torch.zeros(1, dtype=torch.int64), "lipschitz", 0, size)
        return drawn.reshape(1, *shape).to(like)
    if tuple(point.shape) not in (tuple(shape), (1, *shape)):
        raise InputError(
            f"point has shape {tuple(point.shape)}, not that of one image {tuple(shape)}"
        )
    return point.detach().reshape(1, *shape).to(like)


def _answer(model: nn.Module, images: Tensor) -> Any:
    try:
        return model(images)
    except Exception as error:
        raise ModelContractError(
            f"the model does not take images of shape {tuple(images.shape)}: {error}"
        ) from error


def _graph(model: nn.Module) -> fx.GraphModule:
    tracer, holder = _Tracer(), _Holder(model)
    try:
        return fx.GraphModule(holder, tracer.trace(holder))
    except Exception as error:
        path = strip(tracer.inside[-1]) if tracer.inside else ""
        where = f"module '{path}' ({type(model.get_submodule(path)).__name__})"
        raise ModelContractError(
            f"torch.fx cannot trace {where}: {error}. Give its class a rule by register_rule, or "
            "write the model as an nn.Sequential of modules that have one"
        ) from error


def strip(path: str) -> str:
    """The path of a module within the model itself.

    >>> strip("model.features.0"), strip("model")
    ('features.0', '')
    """
    return path.removeprefix(ROOT).removeprefix(".")


def _compare(answer: Any, found: Any) -> None:
    pairs = list(zip(tree_leaves(answer), tree_leaves(found)))
    for one, two in pairs:
        if isinstance(one, Tensor) and one.is_floating_point():
            apart = float((one - two).abs().max()) if one.numel() else 0.0
            if not apart <= AGREE * max(1e-30, float(one.abs().max())):
                raise ModelContractError(
                    f"the graph that torch.fx saw is not the model: their outputs differ by "
                    f"{apart:.2g}; write it as an nn.Sequential, or register_rule for its parts"
                )


def _refuse_half(values: dict[fx.Node, Any]) -> None:
    for node, value in values.items():
        for one in tree_leaves(value):
            if (
                isinstance(one, Tensor)
                and one.is_floating_point()
                and one.element_size() < 4
            ):
                raise ModelContractError(
                    f"{node.name} is computed in {one.dtype}: bounds need float32 or float64"
                )
