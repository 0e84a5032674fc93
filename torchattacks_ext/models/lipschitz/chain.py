"""Is a net a chain of affine layers and ReLUs, and what does an affine layer do to boxes and balls?

Layers are copied in float64: linear ones, convolutions with zero padding, and factors a channel
(batch normalisation, normalised views), which go into the layer before where there is one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ...errors import ModelContractError
from ...numerics.certificates.matrices import spectral_norms
from ...numerics.certificates.operators import dense
from .bound import Place
from .graph.concrete import normalise
from .graph.tracing import Trace, trace
from .rules import activations, linear
from .rules.table import rule_of
from .rules.weights import weight_of

DENSE = 1 << 18
"""Up to so many entries a layer is written out as a matrix, whose rows and columns can be left out.
"""

RELUS, RESHAPES = ("relu", torch.relu, F.relu), (
    "flatten",
    "view",
    "reshape",
    torch.flatten,
)
"""Functions and methods that may stand between layers."""
KEEP_ORDER: list[Any] = [
    kind.forward for kind in (nn.Flatten, nn.Unflatten, nn.Identity, nn.Dropout)
]
KEEP_ORDER += [kind.forward for kind in (nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout)]
"""Of layers after which the entries stand in the same order."""


@dataclass(frozen=True, eq=False)
class Affine:
    """x -> W x + b on images (N, *shape).

    weight, bias: float64; options: of a convolution, None for a matrix; shape, out: without the
    batch; norm: at least ||W||_2; relu: whether a ReLU follows.
    """

    weight: Tensor
    bias: Tensor
    options: tuple[Any, ...] | None
    shape: tuple[int, ...]
    out: tuple[int, ...]
    norm: float
    relu: bool

    def apply(self, x: Tensor, weight: Tensor) -> Tensor:
        """Another weight of the same form on x (N, *shape), without the bias."""
        x = x.reshape(-1, *self.shape)
        if self.options is None:
            return F.linear(x, weight)
        if self.options == ("diagonal",):
            return x * weight.reshape(-1, *(1,) * (x.dim() - 2))
        slide: Any = (F.conv1d, F.conv2d, F.conv3d)[weight.dim() - 3]
        return torch.as_tensor(slide(x, weight, None, *self.options))

    def shift(self) -> Tensor:
        """The bias as a tensor that goes with outputs (N, *out)."""
        if self.options is None:
            return self.bias
        return self.bias.reshape(-1, *(1,) * (len(self.out) - 1))

    @cached_property
    def matrix(self) -> Tensor:
        """W as a matrix (outputs, inputs), of at most DENSE entries."""
        return dense(lambda x: self.apply(x, self.weight).flatten(1), self.shape)

    def masked_norms(self, rows: Tensor, columns: Tensor) -> Tensor:
        """At least ||D W M||_2 for masks D (N, *out) and M (N, *shape) of zeros and ones, (N,)."""
        n = len(rows)
        if self.options == ("diagonal",):
            kept = self.apply(columns, self.weight.abs()) * rows
            return kept.flatten(1).max(1).values.clamp(max=self.norm)
        found = torch.full((n,), self.norm, dtype=torch.float64)
        size = math.prod(self.shape) * math.prod(self.out)
        some = (
            (rows == 0).flatten(1).any(1) | (columns == 0).flatten(1).any(1)
        ).nonzero()[:, 0]
        if size > DENSE or not len(some):
            return found
        matrix = self.matrix
        step = max(1, (1 << 22) // size)
        for start in range(0, len(some), step):
            at = some[start : start + step]
            stack = (
                matrix
                * rows[at].flatten(1)[:, :, None]
                * columns[at].flatten(1)[:, None]
            )
            found[at] = torch.minimum(found[at], spectral_norms(stack))
        return found


def chain_of(model: nn.Module, input_shape: Sequence[int]) -> list[Affine]:
    """The affine layers of a chain, in order; at least one.

    Raises ModelContractError, naming the step, for other nets, and as bound_net does.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    >>> [(layer.out, layer.relu) for layer in chain_of(net, (1, 2, 2))]
    [((3,), True), ((2,), False)]
    """
    seen = trace(model, tuple(input_shape))
    steps: list[_Step] = []
    last: fx.Node | None = None
    for node in seen.module.graph.nodes:
        if node.op in ("get_attr", "placeholder"):
            last = node if node.op == "placeholder" else last
            continue
        if node.op == "output":
            if node.args[0] is not last:  # what comes last is not what is returned
                raise _no_chain(node)
            break
        if last not in node.all_input_nodes:
            raise _no_chain(node)
        _add(steps, seen, node)
        last = node
    return [step.finished() for step in steps] or _empty()


Kind = Literal["matrix", "convolution", "diagonal"]


@dataclass
class _Step:
    """An affine layer that may still grow: by a factor a channel, by a ReLU."""

    kind: Kind
    weight: Tensor
    bias: Tensor
    module: Any
    place: Place
    relu: bool = False

    def times(self, factor: Tensor, shift: Tensor) -> None:
        """What a factor and a constant a channel afterwards make of it."""
        column = factor.reshape(-1, *(1,) * (self.weight.dim() - 1))
        self.weight, self.bias = self.weight * column, self.bias * factor + shift

    def finished(self) -> Affine:
        """The layer with its norm."""
        options: tuple[Any, ...] | None = None
        if self.kind == "diagonal":
            options, norm = ("diagonal",), float(self.weight.abs().max())
        elif self.kind == "convolution":
            one = self.module
            options = one.stride, one.padding, one.dilation, one.groups
            norm = linear.convolution_bound(one, self.weight, self.place).value
        else:
            norm = float(spectral_norms(self.weight[None])[0])
        return Affine(
            self.weight,
            self.bias,
            options,
            self.place.shape,
            self.place.out,
            norm,
            self.relu,
        )


def _add(steps: list[_Step], seen: Trace, node: fx.Node) -> None:
    """What a node adds to the chain."""
    before, after = seen.values[node.all_input_nodes[0]], seen.values[node]
    if len(before) != 1 or len(after) != 1:  # rows of the batch are mixed or split
        raise _no_chain(node)
    place = Place(tuple(before.shape[1:]), tuple(after.shape[1:]))
    if node.target is normalise:
        sides = (seen.values[one] for one in node.args[1:] if isinstance(one, fx.Node))
        mean, std = (side.detach().cpu().double() for side in sides)
        _scale(steps, 1 / std, -mean / std, place)
        return
    if node.op != "call_module":
        if node.target in RELUS:
            _relu(steps, node)
        elif node.target not in RESHAPES:
            raise _no_chain(node)
        return
    module = seen.module.get_submodule(str(node.target))
    rule = rule_of(module)
    if rule is not None and type(module).forward is nn.ReLU.forward:
        _relu(steps, node)
    elif rule is linear.linear and len(place.shape) == 1:
        steps.append(
            _Step("matrix", weight_of(module), _bias(module, place), module, place)
        )
    elif rule is linear.convolution and _plain(module):
        steps.append(
            _Step("convolution", weight_of(module), _bias(module, place), module, place)
        )
    elif rule is linear.batch_norm:
        _scale(steps, *linear.affine_of(module), place)
    elif rule is not activations.same or type(module).forward not in KEEP_ORDER:
        raise _no_chain(node)


def _plain(module: Any) -> bool:
    """A convolution with zero padding, the same on both sides."""
    zeros = module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return zeros and not isinstance(module, linear.TRANSPOSED)


def _bias(module: Any, place: Place) -> Tensor:
    if module.bias is None:
        return torch.zeros(place.out[0], dtype=torch.float64)
    return weight_of(module, "bias")


def _scale(steps: list[_Step], factor: Tensor, shift: Tensor, place: Place) -> None:
    n = place.shape[0]
    factor, shift = factor.expand(n), shift.expand(n)
    if steps and not steps[-1].relu and steps[-1].place.out == place.shape:
        steps[-1].times(factor, shift)
    else:
        steps.append(_Step("diagonal", factor, shift, None, place))


def _relu(steps: list[_Step], node: fx.Node) -> None:
    if not steps:
        raise _no_chain(node)
    steps[-1].relu = True


def _no_chain(node: fx.Node) -> ModelContractError:
    return ModelContractError(
        f"{node.name} ({node.target}) does not belong to a chain of Linear, Conv and ReLU layers, "
        "which bounds near an image are for; use the global bound (bound_net)"
    )


def _empty() -> list[Affine]:
    raise ModelContractError(
        "the net has no affine layer: its bound is that of bound_net"
    )
