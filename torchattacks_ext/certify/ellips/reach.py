"""How far does a latent radius reach in pixels? Divided by the Lipschitz bound, within its ball."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ...errors import ConfigError, StatusError
from ...models.lipschitz.ball import BallBounds
from ..bounds import Estimate, LipschitzBound, only_bounds

REPRODUCTION = "reproduction, not a certificate"
OUTWARD = 1 + 1e-9
"""Factor of every bound: its own rounding, and that of the division."""
ROUNDING_FACTOR = 10.0

Known = LipschitzBound | Estimate


def admitted(found: object, paper_mode: bool) -> Known:
    """`found`, if it may scale radii of that kind.

    Raises StatusError for an estimate without `paper_mode`, a bound at one point or around one
    image, or a bare number.

    >>> admitted(Estimate(2.0), paper_mode=True).value
    2.0
    """
    if paper_mode and isinstance(found, Estimate):
        if not 0 <= found.value < math.inf:
            raise ConfigError(f"an estimate of {found.value!r} must be finite and >= 0")
        return found
    bound = only_bounds(found)
    if bound.scope == "ball":
        raise StatusError(
            f"a bound that holds within {bound.radius:g} of one image says nothing about others; "
            "say lipschitz='ball' for a bound around each, or give a global one"
        )
    return bound


def tier_of(known: Known, paper_mode: bool) -> str:
    """How radii that rest on it may be called.

    >>> tier_of(LipschitzBound.assume(1.0), False), tier_of(LipschitzBound(1.0), True)
    ('conditional: L assumed', 'reproduction, not a certificate')
    """
    return REPRODUCTION if paper_mode else known.status


@dataclass(frozen=True)
class Reach:
    """What takes latent radii to pixel radii: one bound for all, or one a ball and image.

    Arguments:
        known (LipschitzBound or Estimate): of the whole map; where there are balls, the global one.
        balls (BallBounds): bounds within balls around each image, or None.
        encoder_slack (float): how far the encoder's arithmetic may be from the function that the
            bound is of, in latent L2, at the image and at its neighbour.

    >>> reach = Reach(LipschitzBound(2.0))
    >>> reach.pixels(torch.zeros(1, 2), torch.ones(1, dtype=torch.float64))
    (tensor([0.5000], dtype=torch.float64), tensor([2.], dtype=torch.float64))
    """

    known: Known
    balls: BallBounds | None = None
    encoder_slack: float = 0.0

    def pixels(self, images: Tensor, rho: Tensor) -> tuple[Tensor, Tensor]:
        """Pixel radii (N,) of images (N, ...) with latent radii rho (N,), and the L that was used.

        min(ball, (rho - 2 slack) / L), at its best over balls where there are any; 0 where nothing
        is left; inf where no input is answered otherwise. Raises StatusError where a bound of one
        image's ball meets several.
        """
        left = (rho - 2 * self.encoder_slack).cpu()
        value = torch.full_like(left, self.known.value)
        if self.balls is not None:
            found = self.balls.radius(images, left.clamp(min=0))
            used = torch.where((found > 0) & found.isfinite(), left / found, value)
            return torch.where(left > 0, found, 0.0), used
        found = left / (value * OUTWARD)
        found = torch.where(value > 0, found, math.inf)
        if self.scope == "ball":
            if len(images) > 1:
                raise StatusError(
                    f"a bound that holds around one image says nothing about {len(images)}"
                )
            found = found.clamp(max=getattr(self.known, "radius", 0.0))
        return torch.where(left > 0, found, 0.0), value

    @property
    def scope(self) -> str:
        """Where the bound holds: "global", "ball" or, for an estimate, "estimate"."""
        found: str = getattr(self.known, "scope", "estimate")
        return "ball" if self.balls is not None else found

    def facts(self) -> dict[str, Any]:
        """What the radii rest on, in JSON types; L to six digits."""
        kind = "ball" if self.balls is not None else "estimate"
        return {
            "L": float(f"{self.known.value:.6g}"),
            "L_kind": kind if self.balls else getattr(self.known, "kind", kind),
            "L_source": self.known.source,
            "scope": self.scope,
            "encoder_slack": self.encoder_slack,
        }


def reach_of(
    encoder: nn.Module,
    input_shape: tuple[int, ...],
    given: Known | Literal["ball"] | None,
    encoder_slack: float = 0.0,
) -> Reach:
    """The reach of an encoder in eval mode; None and "ball" are found by the rules for its layers.

    Raises ModelContractError, naming the layer, where there is no bound.

    >>> reach_of(nn.Flatten().eval(), (1, 2, 2), None).known.value < 1 + 1e-6
    True
    """
    if given == "ball":
        balls = BallBounds.of(encoder, input_shape)
        source = (
            "layers around each image, at their best over balls; L is the global one"
        )
        known = LipschitzBound(balls.everywhere, source=source)
        return Reach(known, balls, encoder_slack)
    if given is None:
        given = LipschitzBound.of(encoder, input_shape)
    return Reach(given, None, encoder_slack)


def rounding_estimate(encoder: nn.Module, images: Tensor) -> Estimate:
    """Ten times the largest L2 difference of the encoder's latents in its own and in double.

    images: (N, ...) checked pixels. What may go into `encoder_slack`: an estimate, since other
    images may differ more. Two forward row-passes an image, one of a deep copy.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> 0 < rounding_estimate(net, torch.rand(3, 1, 2, 2)).value < 1e-4
    True
    """
    double = copy.deepcopy(encoder).double()
    with torch.no_grad():
        change = encoder(images).double() - double(images.double())
    worst = float(change.flatten(1).norm(dim=1).max()) if len(images) else 0.0
    source = f"{ROUNDING_FACTOR:g} times the largest of {len(images)} images"
    return Estimate(ROUNDING_FACTOR * worst, source)
