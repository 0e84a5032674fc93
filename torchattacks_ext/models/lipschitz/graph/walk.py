"""What is the bound of every value of a graph? Its nodes one by one, with a line a layer."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from torch import Tensor, fx, nn

from ....errors import ModelContractError
from ....numerics.certificates.rounding import hypotenuse, product
from ..bound import Bound, LayerBound, Place
from ..rules import linear
from ..rules.table import rule_of
from .functions import CONSTANTS, LIKE, step_of
from .steps import Call, Flow
from .tracing import Trace, strip
from .writes import refuse_overwritten


class Walk:
    """The bounds along a graph.

    seen: the graph; at_point: whether rules may look at the values that were seen. `flows`: of
    every node that depends on the image; `layers`: lines of the modules, and of the functions that
    change a bound.
    """

    def __init__(self, seen: Trace, at_point: bool) -> None:
        self.seen, self.at_point = seen, at_point
        self.flows: dict[fx.Node, Flow] = {}
        self.layers: list[LayerBound] = []

    def run(self) -> Flow:
        """The flow of the output; ModelContractError, naming the step, where one has no bound."""
        for node in self.seen.module.graph.nodes:
            if node.op == "placeholder":
                self.flows[node] = Flow(1.0, self.seen.values[node])
            elif node.op == "output":
                return self._output(node)
            elif self._depends(node):
                self._step(node)
        raise ModelContractError("the graph of the model has no output")

    def _depends(self, node: fx.Node) -> bool:
        """Whether the value of a node changes with the image; sizes and types do not."""
        if not any(one in self.flows for one in node.all_input_nodes):
            return False
        if node.op == "call_method" and node.target in LIKE:
            return node.args[0] in self.flows
        name = node.args[1] if node.target is getattr else node.target
        return not (node.op != "call_module" and name in CONSTANTS)

    def _output(self, node: fx.Node) -> Flow:
        found = node.args[0]
        if isinstance(found, fx.Node) and isinstance(self.seen.values[found], Tensor):
            return self.flows.get(found, Flow(0.0, self.seen.values[found]))
        raise ModelContractError(
            "the model returns something else than one tensor: bounds are for a single output; "
            "wrap it so that it returns the one that counts"
        )

    def _step(self, node: fx.Node) -> None:
        if self._waits(node):
            self.flows[node] = Flow(math.inf, self.seen.values[node])
            return
        try:
            line = (
                self._module(node) if node.op == "call_module" else self._function(node)
            )
        except ModelContractError as error:
            raise ModelContractError(f"{self._name(node)}: {error}") from error
        self.flows[node] = Flow(line.total, self.seen.values[node])
        refuse_overwritten(self.seen, node, self.flows)
        if node.op == "call_module" or line.value != 1:
            self.layers.append(line)

    def _name(self, node: fx.Node) -> str:
        if node.op != "call_module":
            return node.name
        return strip(str(node.target)) or type(self._owner(node)).__name__

    def _owner(self, node: fx.Node) -> nn.Module:
        return self.seen.module.get_submodule(str(node.target))

    def _incoming(self, node: fx.Node) -> list[fx.Node]:
        """The different nodes that come in and depend on the image."""
        return [one for one in node.all_input_nodes if one in self.flows]

    def _module(self, node: fx.Node) -> LayerBound:
        module = self._owner(node)
        if rule_of(module) is linear.batch_norm:
            folded = self._folded(node, module)
            if folded is not None:
                return folded
        rule = rule_of(module)
        if rule is None:
            kind = type(module)
            raise ModelContractError(
                f"{kind.__module__}.{kind.__qualname__} has no Lipschitz rule: say "
                f"register_rule({kind.__name__}, rule) with a rule that you can prove, or write "
                "it by modules that have one"
            )
        bound = rule(module, self._place(node))
        before = hypotenuse([self.flows[one].bound for one in self._incoming(node)])
        return self._line(node, type(module).__name__, bound, before)

    def _line(
        self, node: fx.Node, kind: str, bound: Bound, before: float
    ) -> LayerBound:
        whole = product([before, bound.value])
        return LayerBound(
            self._name(node), kind, bound.value, bound.scope, bound.how, whole
        )

    def _place(self, node: fx.Node) -> Place:
        """What the rule of a module may look at."""
        args, kwargs = self.seen.inputs[node]
        flows = self._incoming(node)
        told = [
            *zip(node.args, args),
            *((node.kwargs[key], kwargs[key]) for key in kwargs),
        ]
        value = next((value for one, value in told if one in flows), None)
        if value is None:
            raise ModelContractError(
                "it takes its tensors in a list, which rules are not made for"
            )
        out = self.seen.values[node]
        tensor = (
            out
            if isinstance(out, Tensor)
            else next(x for x in out if isinstance(x, Tensor))
        )
        arguments: dict[int | str, Any] = dict(enumerate(node.args))
        arguments.update(node.kwargs.items())
        return Place(
            tuple(value.shape[1:]),
            tuple(tensor.shape[1:]),
            value.detach().to("cpu").double() if self.at_point else None,
            len(flows),
            {
                key: self._constant(arg)
                for key, arg in arguments.items()
                if arg not in flows
            },
        )

    def _constant(self, argument: Any) -> Any:
        return fx.map_arg(argument, self.seen.values.__getitem__)

    def _waits(self, node: fx.Node) -> bool:
        """Whether a linear layer is only bounded together with the normalisation after it."""
        users = list(node.users)
        if node.op != "call_module" or len(users) != 1 or users[0].op != "call_module":
            return False
        norm = self._owner(users[0])
        return (
            rule_of(norm) is linear.batch_norm and self._linear_before(users[0]) is node
        )

    def _linear_before(self, node: fx.Node) -> fx.Node | None:
        """The layer that a batch normalisation can be multiplied into, where there is one."""
        before = node.args[0] if node.args else None
        if not isinstance(before, fx.Node) or before.op != "call_module":
            return None
        known = rule_of(self._owner(before)) in (linear.linear, linear.convolution)
        channels_first = self.seen.values[before].dim() == 2 or not isinstance(
            self._owner(before), nn.Linear
        )
        return before if known and channels_first else None

    def _folded(self, node: fx.Node, norm: nn.Module) -> LayerBound | None:
        """A batch normalisation and the linear layer before it in one line, where that can be."""
        before = self._linear_before(node)
        if before is None or before not in self.flows:
            return None
        module = self._owner(before)
        bound = linear.folded(module, norm, self._place(before))
        start = hypotenuse([self.flows[one].bound for one in self._incoming(before)])
        kind = f"{type(module).__name__}+{type(norm).__name__}"
        line = self._line(node, kind, bound, start)
        return replace(line, name=f"{self._name(before)}+{self._name(node)}")

    def _function(self, node: fx.Node) -> LayerBound:
        step = step_of(node.target)
        if step is None:
            name = getattr(node.target, "__name__", node.target)
            raise ModelContractError(
                f"'{name}' has no Lipschitz rule: put it into a module of its own and "
                "register_rule for that, or write it by functions that have one"
            )
        put = self._flow_or_value
        args, kwargs = fx.map_arg((node.args, node.kwargs), put)
        bound, how = step(Call(args, kwargs, self.seen.values[node]))
        before = max(self.flows[one].bound for one in self._incoming(node))
        value = bound / before if before else 1.0
        name = str(getattr(node.target, "__name__", node.target))
        return LayerBound(self._name(node), name, value, "global", how, bound)

    def _flow_or_value(self, node: fx.Node) -> Any:
        return self.flows.get(node, self.seen.values[node])
