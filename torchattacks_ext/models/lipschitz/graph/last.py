"""Which linear layer does a net end in, and what is its norm without its mean row?"""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from ....errors import ModelContractError
from ....numerics.certificates.matrices import spectral_norm
from ....numerics.certificates.rounding import gamma, total, up
from ..bound import Last
from ..rules import activations, linear
from ..rules.table import rule_of
from ..rules.weights import weight_of

ROWS = 64
"""Rows that are compared with all others at a time."""


def find_last(module: fx.GraphModule) -> fx.Node:
    """The node of the last linear layer, with at most layers after it that only move entries.

    Raises ModelContractError where the net ends otherwise.
    """
    node = next(one for one in module.graph.nodes if one.op == "output").args[0]
    while isinstance(node, fx.Node) and node.op == "call_module":
        rule = rule_of(module.get_submodule(str(node.target)))
        if rule is linear.linear:
            return node
        if rule is not activations.same:
            break
        node = node.args[0]
    raise ModelContractError(
        "the net does not end in an nn.Linear whose rows could be centred; leave centre_last=False"
    )


def measure_last(module: nn.Module, name: str, body: float) -> Last:
    """The norms of the last layer; body: the bound before it.

    >>> layer = nn.Linear(2, 2, bias=False)
    >>> _ = layer.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    >>> last = measure_last(layer, "head", 2.0)
    >>> round(last.norm, 6), round(last.centred, 6), round(last.spread, 6)
    (1.0, 1.0, 1.414214)
    """
    weight = weight_of(module)
    centred = weight - weight.mean(0)
    lost = up(float(weight.norm()) * 2 * gamma(len(weight) + 4), 8)
    return Last(
        name,
        body,
        spectral_norm(weight),
        min(spectral_norm(weight), total([spectral_norm(centred), lost])),
        _spread(weight),
    )


def _spread(weight: Tensor) -> float:
    """max_ij |w_i - w_j|, from the differences themselves."""
    largest = 0.0
    for start in range(0, len(weight), ROWS):
        part = weight[start : start + ROWS]
        apart = torch.cdist(part, weight, compute_mode="donot_use_mm_for_euclid_dist")
        largest = max(largest, float(apart.max()))
    return up(largest, weight.shape[1] + 4)
