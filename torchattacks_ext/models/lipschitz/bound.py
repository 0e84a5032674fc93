"""What does a rule get, and what does it give? A place in a net, and a bound with its scope."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from ...errors import ConfigError

Scope = Literal["global", "ball", "point"]
SCOPES: tuple[Scope, ...] = "global", "ball", "point"
"""Where a bound holds, from the strongest to the weakest."""


@dataclass(frozen=True)
class Bound:
    """An upper bound of the L2 operator norm of a Jacobian.

    value (float): >= 0, rounded upwards. scope (str): "global" holds everywhere, "ball" within some
    distance of a point, "point" at that point alone: such a bound never enters a certificate.
    how (str): how it was found. Raises ConfigError for values outside these domains.

    >>> Bound(2.0, how="by hand")
    Bound(value=2.0, scope='global', how='by hand')
    """

    value: float
    scope: Scope = "global"
    how: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.value or math.isnan(self.value):
            raise ConfigError(f"a bound of {self.value!r} must be a number >= 0")
        if self.scope not in SCOPES:
            raise ConfigError(f"scope={self.scope!r} is not one of {SCOPES}")


def weakest(*scopes: Scope) -> Scope:
    """The scope of what rests on several bounds.

    >>> weakest("global", "point"), weakest()
    ('point', 'global')
    """
    return max(scopes, key=SCOPES.index, default="global")


@dataclass(frozen=True, eq=False)
class Place:
    """Where a layer stands in a net: what its rule may look at.

    shape (tuple): of its input without the batch, as it is for one image of the net; of the first
    input where there are several. out (tuple): of its (first) output, likewise. point (Tensor or
    None): its first input (1, *shape) in float64 at the point that was asked for, None where no
    point was. n_inputs (int): how many different tensors come in that depend on the image; the
    bound of a rule is one of the Jacobian with respect to all of them side by side. constants
    (dict): the other arguments of the call, by their position or name.
    """

    shape: tuple[int, ...]
    out: tuple[int, ...] = ()
    point: Tensor | None = None
    n_inputs: int = 1
    constants: Mapping[int | str, Any] = field(default_factory=dict)


Rule = Callable[[Any, Place], Bound]
"""From a module in eval mode and its place to a bound; raises ModelContractError to refuse."""


@dataclass(frozen=True)
class LayerBound:
    """One line of the table of a net.

    name (str): path of the module, or of the node of the graph for functions. kind (str): its
    class. value (float): what it multiplies the bound of its (largest) input by. scope, how: as
    Bound. total (float): the bound from the image to its output.
    """

    name: str
    kind: str
    value: float
    scope: Scope
    how: str
    total: float


@dataclass(frozen=True)
class Last:
    """The linear layer that a net ends in, apart from what comes before.

    name (str): its path. body (float): bound from the image to its input. norm (float): of its
    weight W (K, D). centred (float): norm of W without the mean of its rows, which softmax does not
    see. spread (float): max_ij |w_i - w_j|_2 over its rows. All rounded upwards.
    """

    name: str
    body: float
    norm: float
    centred: float
    spread: float


@dataclass(frozen=True)
class NetBound:
    """The bound of a whole net, with a line a layer.

    value (float): upper bound of the L2 norm of the Jacobian from the input (images as the model
    takes them) to the output, for one image; with `centre_last` the output is without the mean of
    the scores. scope (str): the weakest of the layers'. layers (tuple): in the order of the
    forward. last (Last or None): with `centre_last`, the last layer apart. "certified up to
    rounding" of the model's own arithmetic: bounds speak of the function in exact arithmetic.
    """

    value: float
    scope: Scope
    layers: tuple[LayerBound, ...]
    last: Last | None = None
