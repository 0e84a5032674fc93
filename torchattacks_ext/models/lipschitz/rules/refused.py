"""Which layers have no bound that holds everywhere, and what can be done instead?"""

from __future__ import annotations

from typing import Any

from torch import nn

from ....errors import ModelContractError
from ..bound import Bound, Place, Rule


def statistics(module: Any, place: Place) -> Bound:
    """Normalisation by the statistics of the input itself: unbounded where these vanish."""
    raise ModelContractError(
        f"{type(module).__name__} divides by the spread of its own input: its only global bound is "
        "of the size 1 / sqrt(eps), which is no use; use BatchNorm in eval mode or none"
    )


def gated(module: Any, place: Place) -> Bound:
    """A product of two parts of the input."""
    raise ModelContractError(
        f"{type(module).__name__} multiplies parts of its input: its slope grows with the input "
        "and has no global bound"
    )


RULES: dict[type | str, Rule] = {
    nn.GroupNorm: statistics,
    nn.LocalResponseNorm: statistics,
    nn.GLU: gated,
    nn.Bilinear: gated,
}
