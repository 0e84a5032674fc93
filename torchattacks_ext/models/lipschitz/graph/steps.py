"""How do bounds go through what stands between layers? Sums, joins, reshapes.

Every step gets the bounds (from the image) of the tensors that come in, and gives that of what goes
out. With J_i the Jacobians of the inputs: a sum has norm <= sum |J_i|, a join (concatenation,
maximum of two) <= sqrt(sum |J_i|^2). A tensor that is broadcast counts as often as it is repeated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from ....errors import ModelContractError
from ....numerics.certificates.rounding import hypotenuse, product, total, up
from ..bound import Bound, Place

Found = tuple[float, str]
"""The bound from the image to an output, and how it was found."""


@dataclass(frozen=True, eq=False)
class Flow:
    """A tensor that depends on the image: its bound from there, and its value for one image."""

    bound: float
    value: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """With the batch of one."""
        return tuple(self.value.shape)


@dataclass(frozen=True, eq=False)
class Call:
    """One step: its arguments, with a Flow for each tensor that depends on the image.

    out: what the step gave for one image.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: Any

    def flows(self) -> list[Flow]:
        """The different tensors that depend on the image, in order."""
        leaves = tree_leaves((self.args, self.kwargs))
        return [one for one in leaves if isinstance(one, Flow)]

    def get(self, position: int, name: str, default: Any = None) -> Any:
        """An argument by position or name."""
        if position < len(self.args):
            return self.args[position]
        return self.kwargs.get(name, default)

    def only(self) -> Flow:
        """The single tensor that depends on the image; it must be the first argument."""
        flows = self.flows()
        if len(flows) != 1 or flows[0] is not self.get(0, "input"):
            raise ModelContractError(
                "more than its first argument depends on the image"
            )
        first: Flow = flows[0]
        return first

    def place(self) -> Place:
        """The place of a layer with this input and output."""
        return Place(self.only().shape[1:], tuple(self.out.shape[1:]))


Step = Callable[[Call], Found]


def times(call: Call, bound: Bound) -> Found:
    """A layer with that bound."""
    return product([call.only().bound, bound.value]), bound.how


def broadcast(flow: Flow, out: Any) -> float:
    """The bound of a tensor whose entries are repeated to the shape of `out`."""
    count = math.prod(out.shape) / max(1, math.prod(flow.shape))
    return flow.bound if count <= 1 else product([flow.bound, up(math.sqrt(count), 2)])


def slope(value: float) -> Step:
    """An elementwise function."""

    def step(call: Call) -> Found:
        flow = call.only()
        spread = (
            broadcast(flow, call.out) if isinstance(call.out, Tensor) else flow.bound
        )
        return product([spread, value]), "largest slope"

    return step


def same(call: Call) -> Found:
    """Entries are moved or left out."""
    flow, out = call.only(), call.out
    if isinstance(out, Tensor) and out.dtype != flow.value.dtype:
        raise ModelContractError(
            f"a change from {flow.value.dtype} to {out.dtype} has no rule"
        )
    return flow.bound, "moves entries"


def repeated(call: Call) -> Found:
    """Entries are repeated, all equally often."""
    return broadcast(call.only(), call.out), "repeats entries"


def added(call: Call) -> Found:
    """a + alpha b, a - alpha b."""
    alpha = abs(float(call.kwargs.get("alpha", 1)))
    sides = [call.get(0, "input"), call.get(1, "other")]
    terms = [
        product([broadcast(side, call.out), alpha if i else 1.0])
        for i, side in enumerate(sides)
        if isinstance(side, Flow)
    ]
    return total(terms), "sum of the branches"


def joined(call: Call) -> Found:
    """cat, stack."""
    return (
        hypotenuse([flow.bound for flow in call.flows()]),
        "root of the sum of squares",
    )


def either(call: Call) -> Found:
    """maximum(a, b): each entry is one of the two."""
    return (
        hypotenuse([broadcast(flow, call.out) for flow in call.flows()]),
        "one of two",
    )


def multiplied(call: Call) -> Found:
    """A product with a constant."""
    flows = call.flows()
    sides = [call.get(0, "input"), call.get(1, "other")]
    if len(flows) != 1:
        raise ModelContractError(
            "a product of two tensors that both depend on the image has no global bound"
        )
    constant = next(side for side in sides if side is not flows[0])
    largest = float(torch.as_tensor(constant).detach().abs().double().max())
    return product([broadcast(flows[0], call.out), largest]), "largest factor"


def divided(call: Call) -> Found:
    """A quotient by a constant."""
    other = call.get(1, "other")
    if isinstance(other, Flow) or call.kwargs.get("rounding_mode") is not None:
        raise ModelContractError(
            "a division by what depends on the image, or one that rounds, has no global bound "
            "(for x / max(|x|, c) there is the layer ClippedNorm)"
        )
    least = float(torch.as_tensor(other).detach().abs().double().min())
    if least == 0:
        raise ModelContractError("a division by zero has no bound")
    return (
        product([broadcast(call.only(), call.out), up(1 / least)]),
        "smallest divisor",
    )


def averaged(call: Call) -> Found:
    """The mean over some dimensions: 1 / sqrt(number of entries)."""
    return product([call.only().bound, up(1 / math.sqrt(_entries(call)), 4)]), "mean"


def summed(call: Call) -> Found:
    """The sum over some dimensions: sqrt(number of entries)."""
    return product([call.only().bound, up(math.sqrt(_entries(call)), 2)]), "sum"


def _entries(call: Call) -> float:
    """How many entries go into one of the output."""
    return float(math.prod(call.only().shape) / max(1, math.prod(call.out.shape)))


def item(call: Call) -> Found:
    """x[index]: a part of a tensor, or one of several outputs."""
    flow, index = call.only(), call.args[1]
    if isinstance(flow.value, Tensor):
        parts = index if isinstance(index, tuple) else (index,)
        if not all(
            one is None or isinstance(one, (int, slice, type(...))) for one in parts
        ):
            raise ModelContractError(
                "an index that is a tensor or a list has no rule; use slices"
            )
    elif isinstance(call.out, Tensor) and not call.out.is_floating_point():
        return math.inf, "indices"
    return flow.bound, "part"


def refuse(why: str) -> Step:
    """A step that has no bound."""

    def step(call: Call) -> Found:
        raise ModelContractError(why)

    return step
