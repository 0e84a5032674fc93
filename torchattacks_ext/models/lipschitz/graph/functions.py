"""Which functions and methods of torch have a bound, and which? The table by what is called."""

from __future__ import annotations

import math
import operator
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ....errors import ModelContractError
from ....numerics.certificates.matrices import spectral_norm
from ....numerics.certificates.rounding import product, up
from ..rules import activations, linear, pools, resizing
from . import steps
from .concrete import normalise
from .steps import Call, Found, Step

_SIZES = "size dim numel nelement ndimension shape dtype device ndim is_cuda new_zeros new_ones"
CONSTANTS: tuple[Any, ...] = (
    *_SIZES.split(),
    torch.zeros_like,
    torch.ones_like,
    torch.full_like,
)
"""What has the same value for every image of one shape."""
LIKE = ("to", "type_as", "expand_as", "view_as", "reshape_as")
"""Methods that look at the shape or the type of their other arguments only."""


def step_of(target: Any) -> Step | None:
    """The step for the target of a node: a function, or the name of a method.

    >>> step_of("relu") is not None, step_of(torch.relu) is not None, step_of(print) is None
    (True, True, True)
    """
    try:
        return _TABLE.get(target)
    except TypeError:  # what cannot be hashed is none of ours
        return None


def _attribute(call: Call) -> Found:
    if call.args[1] in ("T", "mT", "H", "mH", "data", "values"):
        return call.only().bound, "moves entries"
    raise ModelContractError(f"the attribute {call.args[1]!r} has no rule")


def _cast(call: Call) -> Found:
    if not call.out.is_floating_point():
        raise ModelContractError("a cast to whole numbers jumps and has no bound")
    return call.args[0].bound, "cast"


def _like(step: Step) -> Step:
    """A step whose second argument says a shape only."""
    return lambda call: step(Call(call.args[:1], {}, call.out))


def _norm(call: Call) -> Found:
    p = call.kwargs["ord"] if "ord" in call.kwargs else call.get(1, "p", 2)
    if p not in (2, "fro", None):
        raise ModelContractError(f"a norm with p={p!r} has no rule; use p=2")
    return steps.same(call)


def _extreme(call: Call) -> Found:
    return steps.either(call) if len(call.flows()) == 2 else steps.slope(1.0)(call)


def _dropout(call: Call) -> Found:
    if call.get(2, "training", True):
        raise ModelContractError(
            "dropout with training=True draws at random: pass self.training"
        )
    return steps.same(call)


def _softplus(call: Call) -> Found:
    beta, threshold = call.get(1, "beta", 1.0), call.get(2, "threshold", 20.0)
    return steps.times(call, activations.softplus_slope(float(beta), float(threshold)))


def _negative(name: str, default: float) -> Step:
    """max(1, |the slope below zero|)."""

    def step(call: Call) -> Found:
        value = max(1.0, abs(float(call.get(1, name, default))))
        return steps.slope(value)(call)

    return step


def _prelu(call: Call) -> Found:
    call.only()
    largest = float(call.get(1, "weight").detach().double().abs().max())
    return steps.slope(max(1.0, largest))(call)


def _gelu(call: Call) -> Found:
    return steps.slope(activations.GELU[call.get(1, "approximate", "none")])(call)


def _log_softmax(call: Call) -> Found:
    classes = call.only().shape[call.get(1, "dim", -1)]
    return steps.slope(up(math.sqrt(classes)))(call)


def _linear(call: Call) -> Found:
    weight = call.get(1, "weight")
    return product([call.only().bound, spectral_norm(weight)]), "SVD"


def _matmul(call: Call) -> Found:
    flows, sides = call.flows(), (call.get(0, "input"), call.get(1, "other"))
    matrices = [side for side in sides if isinstance(side, Tensor) and side.dim() == 2]
    if len(flows) != 1 or len(matrices) != 1 or len(flows[0].shape) < 2:
        raise ModelContractError(
            "a matrix product has a bound where one side is a constant matrix and the other "
            "depends on the image; attention has no global one"
        )
    return product([flows[0].bound, spectral_norm(matrices[0])]), "SVD"


def _convolution(n: int) -> Step:
    def step(call: Call) -> Found:
        weight, padding = call.get(1, "weight"), call.get(4, "padding", 0)
        module = SimpleNamespace(
            kernel_size=tuple(weight.shape[2:]),
            stride=_tuple(call.get(3, "stride", 1), n),
            padding=padding if isinstance(padding, str) else _tuple(padding, n),
            dilation=_tuple(call.get(5, "dilation", 1), n),
            groups=call.get(6, "groups", 1),
            padding_mode="zeros",
            weight=weight,
        )
        return steps.times(call, linear.convolution(module, call.place()))

    return step


def _tuple(value: Any, n: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * n


def _as_module(rule: Any, **names: Any) -> Step:
    """The step of a function that a module wraps; names: its arguments after the first."""

    def step(call: Call) -> Found:
        given = enumerate(names.items(), start=1)
        found = {name: call.get(i, name, default) for i, (name, default) in given}
        return steps.times(call, rule(SimpleNamespace(**found), call.place()))

    return step


def _interpolate(call: Call) -> Found:
    names = ("size", "scale_factor", "mode", "align_corners", "recompute_scale_factor")
    options = {name: call.get(i, name) for i, name in enumerate(names, start=1)}
    options |= {
        "mode": options["mode"] or "nearest",
        "antialias": call.get(6, "antialias", False),
    }
    place = call.place()
    return steps.times(
        call, resizing.interpolated(place.shape[1:], place.out[1:], options)
    )


def _pad(call: Call) -> Found:
    pad, mode = call.get(1, "pad"), call.get(2, "mode", "constant")
    return steps.times(call, pools.padded(call.only().shape, pad, mode))


def _normalise(call: Call) -> Found:
    least = float(call.args[2].detach().double().abs().min())
    return product([call.only().bound, up(1 / least)]), "smallest std"


_MOVES = "flatten view reshape permute transpose contiguous clone squeeze unsqueeze chunk split"
_MOVES += (
    " unbind detach flip roll swapaxes swapdims movedim unflatten narrow sort t select"
)
_MOVES += " tensor_split ravel pixel_shuffle pixel_unshuffle channel_shuffle"
_ONE = "relu relu_ abs abs_ absolute neg neg_ negative tanh tanh_ clamp clamp_ clip clip_ clamp_min"
_ONE += " clamp_max sin cos relu6 hardtanh logsigmoid softsign tanhshrink logsumexp amax amin"
_SUM = "add sub add_ sub_ iadd isub subtract"
_SLOPES = {
    **{name: 1.0 for name in _ONE.split()},
    "sigmoid": 0.25,
    "sigmoid_": 0.25,
    "silu": activations.SILU,
    "mish": activations.MISH,
    "hardswish": activations.HARDSWISH,
    "hardsigmoid": activations.HARDSIGMOID,
    "selu": activations.SELU,
    "erf": up(2 / math.sqrt(math.pi), 4),
    "softmax": 0.5,
    "softmin": 0.5,
}
_WINDOW: dict[str, Any] = {"kernel_size": None, "stride": None, "padding": 0}
_MAXIMA = _WINDOW | {"dilation": 1, "ceil_mode": False}
_MEANS = _WINDOW | {"ceil_mode": False, "count_include_pad": True}
_NO_GLOBAL = (
    "layer_norm group_norm instance_norm normalize scaled_dot_product_attention"
)
_NAMED: dict[str, Step] = {
    **{name: steps.same for name in _MOVES.split()},
    **{name: steps.slope(value) for name, value in _SLOPES.items()},
    **{name: steps.added for name in _SUM.split()},
    **{
        name: steps.joined
        for name in ("cat", "concat", "concatenate", "stack", "hstack")
    },
    **{name: steps.repeated for name in ("expand", "repeat", "tile", "broadcast_to")},
    **{name: steps.multiplied for name in ("mul", "mul_", "imul", "multiply")},
    **{
        name: steps.divided
        for name in ("div", "div_", "truediv", "itruediv", "true_divide")
    },
    **{name: steps.either for name in ("maximum", "minimum")},
    **{name: _extreme for name in ("max", "min")},
    **{name: _norm for name in ("norm", "vector_norm")},
    **{name: _cast for name in ("to", "float", "double", "type_as")},
    **{name: _matmul for name in ("matmul", "mm")},
    **{name: _dropout for name in ("dropout", "dropout1d", "dropout2d", "dropout3d")},
    **{
        name: steps.refuse(
            f"{name} has no global bound: it divides by what depends on the image"
        )
        for name in _NO_GLOBAL.split()
    },
    **{name: _like(steps.same) for name in ("view_as", "reshape_as")},
    "expand_as": _like(steps.repeated),
    "mean": steps.averaged,
    "sum": steps.summed,
    "softplus": _softplus,
    "leaky_relu": _negative("negative_slope", 0.01),
    "elu": _negative("alpha", 1.0),
    "prelu": _prelu,
    "gelu": _gelu,
    "log_softmax": _log_softmax,
    "linear": _linear,
    "interpolate": _interpolate,
    "pad": _pad,
    **{f"conv{n}d": _convolution(n) for n in (1, 2, 3)},
    **{f"max_pool{n}d": _as_module(pools.maximum, **_MAXIMA) for n in (1, 2, 3)},
    **{
        f"avg_pool{n}d": _as_module(pools.average, **_MEANS, divisor_override=None)
        for n in (1, 2, 3)
    },
    **{
        f"adaptive_avg_pool{n}d": _as_module(pools.adaptive_average, output_size=None)
        for n in (1, 2, 3)
    },
    **{
        f"adaptive_max_pool{n}d": _as_module(pools.adaptive_maximum, output_size=None)
        for n in (1, 2, 3)
    },
}


def _table() -> dict[Any, Step]:
    """By method name, and by function wherever torch has one of that name."""
    found: dict[Any, Step] = {}
    for name, step in _NAMED.items():
        if hasattr(Tensor, name):
            found[name] = step
        for home in (torch, F, operator, torch.special, torch.linalg):
            if hasattr(home, name):
                found[getattr(home, name)] = step
    return found | {
        operator.getitem: steps.item,
        operator.matmul: _matmul,
        operator.neg: steps.slope(1.0),
        getattr: _attribute,
        normalise: _normalise,
    }


_TABLE = _table()
