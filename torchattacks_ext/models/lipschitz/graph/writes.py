"""Is a value that was bounded overwritten before it is used again? Then its bound must still hold.

`relu(inplace=True)` and `x += y` write on a tensor that may be read again under its old name. The
bound under that name stays right as long as that of the new content is not larger.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx
from torch.utils._pytree import tree_leaves

from ....errors import ModelContractError
from .steps import Flow
from .tracing import Trace


def refuse_overwritten(seen: Trace, node: fx.Node, flows: dict[fx.Node, Flow]) -> None:
    """ModelContractError where `node` wrote on memory that is read later under a smaller bound."""
    mine = _places(seen.values[node])
    after = set()
    reading = False
    for one in seen.module.graph.nodes:
        if reading:
            after.update(one.all_input_nodes)
        reading = reading or one is node
    for old, flow in flows.items():
        shares = old is not node and mine & _places(seen.values[old])
        if shares and old in after and flow.bound < flows[node].bound:
            raise ModelContractError(
                f"{node.name} writes on, or shares memory with, {old.name}, which is used again "
                "later: compute out of place (inplace=False, x = x + y)"
            )


def _places(value: Any) -> set[int]:
    leaves = (
        one for one in tree_leaves(value) if isinstance(one, Tensor) and one.numel()
    )
    return {one.untyped_storage().data_ptr() for one in leaves}
