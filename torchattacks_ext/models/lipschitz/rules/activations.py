"""How steep are activations? Suprema of their slopes, rounded up at 1e-5.

The numbers of GELU, SiLU and Mish are the maxima of their derivatives (at 1.4142, 1.4185, 2.3994
and 1.4906). Softmax has the Jacobian diag p - p p^T, of norm at most 1/2; log-softmax I - 1 p^T, of
norm sqrt(K) |p| <= sqrt(K). Sorting permutes. What jumps has no bound and is refused.
"""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from ....errors import ModelContractError
from ....numerics.certificates.rounding import up
from ..bound import Bound, Place, Rule
from ..layers import ClippedNorm, GroupSort
from .weights import weight_of

GELU = {"none": 1.12891, "tanh": 1.129}
SILU, MISH, HARDSWISH, HARDSIGMOID = 1.09984, 1.0885, 1.5, 0.16667
SELU = 1.75810
"""scale alpha = 1.7580993..., just below zero."""
JUMP = 1e-8
"""Size of a jump of softplus at its threshold that counts as rounding."""


def slope(value: float, what: str = "largest slope") -> Bound:
    """A bound of elementwise functions."""
    return Bound(value, how=what)


def constant(value: float) -> Rule:
    """The rule of an activation without parameters."""
    return lambda module, place: slope(value)


def leaky(module: Any, place: Place) -> Bound:
    """max(1, |negative slope|)."""
    return slope(max(1.0, abs(float(module.negative_slope))))


def prelu(module: Any, place: Place) -> Bound:
    """max(1, |a|) over the channels."""
    return slope(max(1.0, float(weight_of(module).abs().max())))


def rrelu(module: Any, place: Place) -> Bound:
    """In eval mode the mean of both slopes."""
    return slope(max(1.0, up(abs(module.lower + module.upper) / 2, 2)))


def elu(module: Any, place: Place) -> Bound:
    """max(1, alpha): the slope just below zero."""
    return slope(max(1.0, abs(float(module.alpha))))


def gelu(module: Any, place: Place) -> Bound:
    """Exact or by tanh."""
    return slope(GELU[module.approximate])


def softplus(module: Any, place: Place) -> Bound:
    """1, where the step to the identity at the threshold is none."""
    return softplus_slope(float(module.beta), float(module.threshold))


def softplus_slope(beta: float, threshold: float) -> Bound:
    """Bound of log(1 + exp(beta x)) / beta, which torch replaces by x above the threshold."""
    if math.log1p(math.exp(-abs(threshold))) / abs(beta) > JUMP or threshold < 0:
        raise ModelContractError(
            f"Softplus(beta={beta:g}, threshold={threshold:g}) jumps where it becomes the "
            "identity, and what jumps has no bound; use threshold=20"
        )
    return slope(1.0)


def log_softmax(module: Any, place: Place) -> Bound:
    """sqrt(K), K: size of the dimension."""
    dim = module.dim if module.dim is not None else 1
    full = (1, *place.shape)
    return slope(up(math.sqrt(full[dim])), "sqrt of the number of classes")


def group_sort(module: Any, place: Place) -> Bound:
    """1: at every input it permutes."""
    return Bound(1.0, how="permutes")


def clipped_norm(module: Any, place: Place) -> Bound:
    """1 / c: the projection onto the ball of radius c, divided by c."""
    return Bound(
        1.0 if module.c == 1 else up(1 / module.c), how="projection onto a ball"
    )


def same(module: Any, place: Place) -> Bound:
    """1: entries are moved, kept or left out, none comes twice."""
    return Bound(1.0, how="moves entries")


def jumps(module: Any, place: Place) -> Bound:
    """Refused."""
    raise ModelContractError(
        f"{type(module).__name__} jumps: it has no Lipschitz constant; use a continuous activation"
    )


def celu(module: Any, place: Place) -> Bound:
    """1, for alpha > 0."""
    if not module.alpha > 0:
        raise ModelContractError(f"CELU with alpha={module.alpha} <= 0 has no bound")
    return slope(1.0)


_ONE = "ReLU ReLU6 Hardtanh Tanh Softsign LogSigmoid Softshrink Tanhshrink"
_MOVES = "Identity Flatten Unflatten PixelShuffle PixelUnshuffle ChannelShuffle Dropout Dropout1d"
_MOVES += " Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout"

RULES: dict[type | str, Rule] = {
    **{kind: constant(1.0) for kind in (getattr(nn, name) for name in _ONE.split())},
    **{kind: same for kind in (getattr(nn, name) for name in _MOVES.split())},
    **{kind: jumps for kind in (nn.Hardshrink, nn.Threshold)},
    "torchvision.ops.stochastic_depth.StochasticDepth": same,
    nn.LeakyReLU: leaky,
    nn.PReLU: prelu,
    nn.RReLU: rrelu,
    nn.ELU: elu,
    nn.CELU: celu,
    nn.SELU: constant(SELU),
    nn.GELU: gelu,
    nn.SiLU: constant(SILU),
    nn.Mish: constant(MISH),
    nn.Hardswish: constant(HARDSWISH),
    nn.Hardsigmoid: constant(HARDSIGMOID),
    nn.Sigmoid: constant(0.25),
    nn.Softplus: softplus,
    nn.Softmax: constant(0.5),
    nn.Softmin: constant(0.5),
    nn.Softmax2d: constant(0.5),
    nn.LogSoftmax: log_softmax,
    GroupSort: group_sort,
    ClippedNorm: clipped_norm,
}
