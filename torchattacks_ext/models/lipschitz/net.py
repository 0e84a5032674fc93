"""How much can a whole model stretch? The bounds of its layers, put together along its graph."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, fx, nn

from ...errors import ConfigError, ModelContractError
from ...numerics.arguments import is_whole
from ...numerics.certificates.rounding import product
from .bound import NetBound, weakest
from .graph.last import find_last, measure_last
from .graph.tracing import strip, trace
from .graph.walk import Walk


def bound_net(
    model: nn.Module,
    input_shape: Sequence[int],
    *,
    point: Tensor | None = None,
    centre_last: bool | None = False,
) -> NetBound:
    """At least the L2 norm of the Jacobian of a model, from the bounds of its layers.

    model: nn.Module in eval mode, float32 or float64; it may hold whatever torch.fx traces, with
    modules that have a rule (see register_rule). input_shape: of one image, (C, H, W) or (D,).
    point: one image; layers that have no global bound (LayerNorm, attention) are then bounded at
    it, and the scope is "point" where one of them was. centre_last: the net ends in a linear layer,
    whose mean row is subtracted first: softmax does not see it; None does so where the net ends so.

    Returns the bound with a line a layer. It holds for the stored weights in exact arithmetic (the
    model's own rounding is not in it) and for all inputs of that shape, not only those in [0, 1].
    Raises ModelContractError, naming the layer, where there is no bound: unknown modules, training
    mode, half precision, steps that torch.fx cannot follow; ConfigError for a shape that is none;
    InputError for a point of another shape. The model is given back as it was. Cost: two
    row-passes, and the norms of all weights.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    >>> found = bound_net(net, (1, 2, 2))
    >>> [layer.kind for layer in found.layers], found.scope
    (['Flatten', 'Linear', 'ReLU', 'Linear'], 'global')
    >>> product = found.layers[1].value * found.layers[3].value
    >>> abs(found.value / product - 1) < 1e-12
    True
    """
    shape = tuple(input_shape)
    if not shape or not all(is_whole(n, 1) for n in shape):
        raise ConfigError(
            f"input_shape={input_shape!r} must be the shape of one image, say (3, 32, 32)"
        )
    seen = trace(model, shape, point)
    walk = Walk(seen, point is not None)
    flow = walk.run()
    layers = tuple(walk.layers)
    scope = weakest(*(layer.scope for layer in layers))
    node = None if centre_last is False else find_last(seen, bool(centre_last))
    if node is None:
        return NetBound(_finite(flow.bound), scope, layers)
    before = node.args[0]
    body = walk.flows[before].bound if isinstance(before, fx.Node) else 1.0
    module = seen.module.get_submodule(str(node.target))
    last = measure_last(module, strip(str(node.target)), body)
    return NetBound(_finite(product([body, last.centred])), scope, layers, last)


def _finite(value: float) -> float:
    if math.isfinite(value):
        return value
    raise ModelContractError(
        "the bound is infinite: the output holds indices, or the layers are too large together"
    )
