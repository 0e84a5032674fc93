"""What does a model compute, step by step? Its torch.fx graph, with the value of every step.

Modules with a rule are leaves; all others are traced through. The graph is believed only where it
gives the model's own output, no hook changes a value in between, nothing is drawn at random, and
nothing is computed in half precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from ....errors import InputError, ModelContractError
from ....numerics.generators import Watch
from ....numerics.streams import uniform
from ...precision import full_precision
from ...session import first_tensor, session
from .concrete import ConcreteTracer, Inputs
from .ready import inner_of, refuse_half, refuse_unready

ROOT = "model"
"""Name of the model inside its holder."""
AGREE = 1e-4
"""Largest difference of graph and model, in parts of the largest output."""


@dataclass(frozen=True, eq=False)
class Trace:
    """A graph whose values are known for one image.

    module: the graph and its modules; values: of every node; inputs: arguments of every module, as
    they were when it was called, without values unless the trace is at a point; written: the memory
    on which nodes wrote that they were given.
    """

    module: fx.GraphModule
    values: dict[fx.Node, Any]
    inputs: dict[fx.Node, Inputs]
    written: dict[fx.Node, set[int]]


class _Holder(nn.Module):
    """The model as a child: what is special about a module is then special about the root too."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Any:
        """The model's."""
        return self.model(images)


def trace(model: nn.Module, shape: Sequence[int], point: Tensor | None = None) -> Trace:
    """The graph of a model on images (1, *shape), at `point` or at one random image.

    Raises ModelContractError for models that are in training mode, of half precision, without
    values, changed by hooks, random, or not to be traced; each says what to do. The model is given
    back as it was. Cost: two row-passes.
    """
    model = inner_of(model)
    refuse_unready(model)
    images = _images(model, shape, point)
    with session(model), torch.no_grad(), full_precision():
        watch = Watch(model)
        found = _graph(model, images.clone(), point is not None)
        # last, so that what a forward leaves on its model are tensors and no stand-ins
        answer = _answer(model, images.clone())
        if watch.moved():
            raise ModelContractError(
                "the model draws random numbers in eval mode: a bound would be one of a single "
                "draw; take the noise out, or give the mean model"
            )
        _compare(answer, found)
    for node, value in found.values.items():
        refuse_half(node.name, value)
    return found


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


def _graph(model: nn.Module, images: Tensor, keep_inputs: bool) -> Trace:
    tracer, holder = ConcreteTracer(images.clone(), keep_inputs), _Holder(model)
    try:
        graph = tracer.trace(holder)
    except Exception as error:
        _answer(model, images)
        path = strip(tracer.inside[-1]) if tracer.inside else ""
        where = f"module '{path}' ({type(model.get_submodule(path)).__name__})"
        raise ModelContractError(
            f"torch.fx cannot trace {where}: {error}. Give its class a rule by register_rule, or "
            "write the model as an nn.Sequential of modules that have one"
        ) from error
    for node in graph.nodes:
        if node.op == "get_attr":
            tracer.value_of(node)
    return Trace(
        fx.GraphModule(holder, graph), tracer.values, tracer.inputs, tracer.written
    )


def strip(path: str) -> str:
    """The path of a module within the model itself.

    >>> strip("model.features.0"), strip("model")
    ('features.0', '')
    """
    return path.removeprefix(ROOT).removeprefix(".")


def _compare(answer: Any, found: Trace) -> None:
    """ModelContractError where the steps do not end in the model's output."""
    output = next(node for node in found.module.graph.nodes if node.op == "output")
    seen = fx.map_arg(output.args[0], lambda node: found.values[node])
    for one, two in zip(tree_leaves(answer), tree_leaves(seen)):
        if isinstance(one, Tensor) and one.is_floating_point() and one.numel():
            # NaN and infinity come of a weight, which its rule will name
            apart = float((one - two).nan_to_num(0, 0, 0).abs().max())
            largest = float(one.nan_to_num(0, 0, 0).abs().max())
            if not apart <= AGREE * max(1e-30, largest):
                raise ModelContractError(
                    f"the steps that torch.fx saw are not the model: their outputs differ by "
                    f"{apart:.2g}; write it as an nn.Sequential, or register_rule for its parts"
                )
