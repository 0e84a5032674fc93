"""Is a value that was bounded overwritten before it is used again? Then its bound must still hold.

`relu(inplace=True)` and `x += y` write on a tensor that may be read again under its old name. The
bound under that name stays right as long as that of the new content is not larger. A constant that
was written on has the bound 0, and is refused.
"""

from __future__ import annotations

from torch import fx

from ....errors import ModelContractError
from .concrete import memory_of
from .steps import Flow
from .tracing import Trace


def refuse_overwritten(seen: Trace, node: fx.Node, flows: dict[fx.Node, Flow]) -> None:
    """ModelContractError where `node` wrote on memory that is read later under a smaller bound."""
    written = seen.written.get(node)
    if not written:
        return
    order = {one: i for i, one in enumerate(seen.module.graph.nodes)}
    for other, at in order.items():
        # what was made later knows of the new content, but for attributes of the model
        before = at < order[node] or other.op == "get_attr"
        read_again = any(order[user] > order[node] for user in other.users)
        if other is node or not (before and read_again):
            continue
        bound = flows[other].bound if other in flows else 0.0
        if bound < flows[node].bound and written & memory_of(seen.values[other]):
            raise ModelContractError(
                f"{node.name} writes on {other.name}, which is used again later: compute out of "
                "place (inplace=False, x = x + y)"
            )
