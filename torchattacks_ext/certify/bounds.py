"""What is known of an encoder's Lipschitz constant, and may it enter a certificate?

Two kinds that never mix: :class:`LipschitzBound`, which holds (or is assumed, and says so), and
:class:`Estimate`, which does not. "An estimate of a bound is not a bound" (Goodfellow 2018,
arXiv:1804.07870, on CLEVER).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from ..errors import ConfigError, ModelContractError, StatusError
from ..models.lipschitz.ball import BallBounds
from ..models.lipschitz.net import bound_net
from ..models.normalised import check_moments
from ..numerics.arguments import as_number
from ..numerics.certificates.rounding import product, up

Scope = Literal["global", "ball", "point"]
SCOPES: tuple[Scope, ...] = "global", "ball", "point"
CERTIFIED = "certified"
ASSUMED = "conditional: L assumed"
NO_CERTIFICATE = "not a certificate"


@dataclass(frozen=True)
class LipschitzBound:
    """An upper bound of the L2 operator norm of a Jacobian, from pixels in [0, 1] to latents.

    Arguments:
        value (float): the bound L, >= 0 and finite; rounded upwards by who made it.
        scope (str): "global", or "ball" (holds within `radius` of one image), or "point".
        radius (float): L2 radius of the ball in pixel units; inf for "global", 0 for "point".
        kind (str): "constructed" | "product" | "ball" | "assumed".
        source (str): how it was found, in words.

    Raises ConfigError for values outside these domains.

    >>> LipschitzBound(2.0, source="by hand").status
    'certified'
    >>> LipschitzBound.assume(2.0).status
    'conditional: L assumed'
    """

    value: float
    scope: Scope = "global"
    radius: float = math.inf
    kind: str = "product"
    source: str = ""

    def __post_init__(self) -> None:
        if not 0 <= as_number(self.value) < math.inf:
            raise ConfigError(
                f"a Lipschitz bound of {self.value!r} must be a finite number >= 0"
            )
        if self.scope not in SCOPES:
            raise ConfigError(f"scope={self.scope!r} is not one of {SCOPES}")
        right = {
            "global": self.radius == math.inf,
            "ball": 0 < self.radius < math.inf,
            "point": self.radius == 0,
        }[self.scope]
        if not right:
            raise ConfigError(
                f"radius={self.radius!r} does not go with scope={self.scope!r}: inf for 'global', "
                "a finite number > 0 for 'ball', 0 for 'point'"
            )

    @classmethod
    def assume(cls, value: Any, source: str = "given by the caller") -> LipschitzBound:
        """A number that somebody vouches for; every certificate that uses it says so."""
        return cls(as_number(value), kind="assumed", source=source)

    @classmethod
    def of(
        cls, encoder: nn.Module, input_shape: Sequence[int], normalization: Any = None
    ) -> LipschitzBound:
        """The global bound of an encoder by the rules for its layers, preprocessing included.

        encoder: nn.Module in eval mode, float32 or float64, whose modules have rules (see
        :func:`~torchattacks_ext.models.lipschitz.net.bound_net`). input_shape: of one image,
        without the batch. normalization: (mean, std) a channel where the encoder wants normalised
        input and does not do that itself: a factor 1 / min std.

        The product of the norms of the layers; for chains of small affine layers and ReLUs the
        smaller :attr:`~torchattacks_ext.models.lipschitz.ball.BallBounds.everywhere`.

        Raises ModelContractError, naming the layer, where there is no bound (unknown modules,
        attention, training mode, half precision), ConfigError for moments that are none. Cost: four
        row-passes and the norms of all weights.

        >>> bound = LipschitzBound.of(nn.Flatten().eval(), (1, 2, 2), normalization=(0.5, 0.25))
        >>> round(bound.value, 9), bound.kind
        (4.0, 'product')
        """
        value, source = (
            bound_net(encoder, input_shape).value,
            "product of the norms of the layers",
        )
        chain = _of_chain(encoder, input_shape)
        if chain < value:
            value, source = chain, "norms of the products of neighbouring layers"
        if normalization is not None:
            mean, std = normalization
            _, std = check_moments(mean, std, (0.0, 1.0))
            least = min(std)
            value = product([value, up(1 / least)])
            source += ", and 1 / min std"
        return cls(value, kind="product", source=source)

    @property
    def status(self) -> str:
        """How a certificate that rests on it may be called."""
        return ASSUMED if self.kind == "assumed" else CERTIFIED


def _of_chain(encoder: nn.Module, input_shape: Sequence[int]) -> float:
    """The bound of a chain of affine layers and ReLUs; inf for other encoders."""
    try:
        return BallBounds.of(encoder, input_shape).everywhere
    except ModelContractError:
        return math.inf


@dataclass(frozen=True)
class Estimate:
    """A number that may lie below the truth: CLEVER, sampled gradients, a power iteration.

    Arguments:
        value (float): the estimate, >= 0.
        source (str): how it was found.

    >>> Estimate(1.0, source="sampled gradients").status
    'not a certificate'
    """

    value: float
    source: str = ""

    @property
    def status(self) -> str:
        """Always "not a certificate"."""
        return NO_CERTIFICATE


def only_bounds(found: object) -> LipschitzBound:
    """`found`, if it may enter a certificate; StatusError otherwise, with the remedy.

    Refused: an :class:`Estimate` (it may be too small), a bound of scope "point" (it says nothing
    about neighbours), a bare number (say `LipschitzBound.assume(value)`).

    >>> only_bounds(LipschitzBound(1.0)).value
    1.0
    """
    if isinstance(found, Estimate):
        raise StatusError(
            f"an estimate ({found.source or 'no source given'}: {found.value:g}) is not an upper "
            "bound and cannot enter a certificate; use a LipschitzBound, or paper_mode, whose "
            "output is labelled a reproduction"
        )
    if not isinstance(found, LipschitzBound):
        raise StatusError(
            f"{found!r} is no LipschitzBound; a number that you vouch for is "
            "LipschitzBound.assume(value)"
        )
    if found.scope == "point":
        raise StatusError(
            "a bound at one point says nothing about its neighbours and cannot enter a "
            "certificate; use layers with a global or a ball rule"
        )
    return found
