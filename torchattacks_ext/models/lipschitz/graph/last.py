"""Which linear layer does a net end in, and what is its norm without its mean row?"""

from __future__ import annotations

from torch import fx, nn

from ....errors import ModelContractError
from ....numerics.certificates.matrices import spectral_norm
from ....numerics.certificates.rounding import gamma, total, up
from ....numerics.certificates.softmax import largest_distance
from ..bound import Last
from ..rules import activations, linear
from ..rules.table import rule_of
from ..rules.weights import weight_of
from .tracing import Trace


def find_last(seen: Trace, required: bool = True) -> fx.Node | None:
    """The node of the last linear layer, with at most layers after it that only move entries.

    It works on rows (N, D): one on many tokens has more scores than rows of weights. Where the net
    ends otherwise: ModelContractError if one is `required`, else None.
    """
    graph = seen.module.graph
    node = next(one for one in graph.nodes if one.op == "output").args[0]
    while isinstance(node, fx.Node) and node.op == "call_module":
        rule = rule_of(seen.module.get_submodule(str(node.target)))
        if rule is linear.linear and seen.values[node].dim() == 2:
            return node
        if rule is not activations.same:
            break
        node = node.args[0]
    if not required:
        return None
    raise ModelContractError(
        "the net does not end in an nn.Linear whose rows could be centred; leave centre_last=False"
    )


def measure_last(module: nn.Module, name: str, body: float) -> Last:
    """The norms of the last layer; body: the bound before it.

    >>> import torch
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
        largest_distance(weight),
    )
