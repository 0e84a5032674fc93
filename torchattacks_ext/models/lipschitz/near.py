r"""What is known of the layers of a ReLU net on a ball around one image? Boxes and slopes.

With L_0 = 1 and h_l = relu(W_l h_{l-1} + b_l), for x' in the L2 ball B(x, r)

    |pre_l(x') - pre_l(x)|_j <= || row j of W_l M_{l-1} ||_2 L_{l-1} r,

intersected with interval propagation. Units whose upper end is <= 0 are zero on all of the ball, so
that their rows (mask D_l) and the columns that read them (M_{l-1}) may be left out:

    L_l <= L_{l-1} || D_l W_l M_{l-1} ||_2 .

Where the layers are small as matrices, a second bound keeps the Jacobian of the units that are on
for sure. The slopes of the others lie in [0, 1], so in 1/2 +- 1/2: if the Jacobian of h_{l-1} is
C + E with ||E|| <= e, that of h_l is K W_l C with K = diag(1, 1/2 or 0), up to

    e' = 1/2 || rows of W_l C that may switch || + || D_l W_l M_{l-1} || e,
    L_l <= || K W_l C || + e'.

As r falls to 0, e does so too, and L to the norm of the Jacobian at x. The smaller bound is taken;
every end is rounded outwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...numerics.certificates.matrices import spectral_norms
from ...numerics.certificates.rounding import gamma
from .chain import DENSE, Affine

OUTWARD = 1 + 1e-9
"""Bounds are multiplied by this where products of a few of them are taken."""


@dataclass(frozen=True, eq=False)
class State:
    """What is known behind a layer, for N balls.

    radius (N,): of the balls. value: h(x), up to `error`; low, high: box of h(x'); live: 0 where h
    is zero on all of the ball; all of them (N, ...) float64. bound (N,): L. centre (N, units,
    pixels), rest (N,): the Jacobian is the centre plus something of norm at most rest; None where
    that would be large, and at the start, where it is the identity.
    """

    radius: Tensor
    value: Tensor
    error: Tensor
    low: Tensor
    high: Tensor
    live: Tensor
    bound: Tensor
    centre: Tensor | None
    rest: Tensor
    at_start: bool = False

    @classmethod
    def start(cls, images: Tensor, radius: Tensor) -> State:
        """The images themselves, (N, ...) float64."""
        ball = _column(radius, images) * OUTWARD
        return cls(
            radius=radius,
            value=images,
            error=torch.zeros_like(images),
            low=images - ball,
            high=images + ball,
            live=torch.ones_like(images),
            bound=torch.ones_like(radius),
            centre=None,
            rest=torch.zeros_like(radius),
            at_start=True,
        )

    def after(self, layer: Affine) -> State:
        """Behind an affine layer and its ReLU, where one follows."""
        value, error, slack = self._moved_value(layer)
        turned = self._moved_centre(layer)
        spread = (
            self._slopes(layer, turned) * _column(self.radius, value) * OUTWARD + error
        )
        middle = layer.apply((self.low + self.high) / 2, layer.weight) + layer.shift()
        box = (
            layer.apply((self.high - self.low) / 2, layer.weight.abs()) * OUTWARD
            + 2 * slack
        )
        low = torch.maximum(value - spread, middle - box)
        high = torch.minimum(value + spread, middle + box)
        # a NaN says nothing, so that its unit may be on and off
        live = (~(high <= 0)).double() if layer.relu else torch.ones_like(high)
        may_switch = live * ~(low >= 0) if layer.relu else torch.zeros_like(high)
        bound, centre, rest = self._stretched(layer, turned, live, may_switch)
        if layer.relu:
            value, low, high = value.relu(), low.relu(), high.relu()
        return State(self.radius, value, error, low, high, live, bound, centre, rest)

    def anywhere(self, layer: Affine) -> State:
        """Behind a layer for any input at all: every unit may be on or off. Boxes mean nothing."""
        live = torch.ones(len(self.radius), *layer.out, dtype=torch.float64)
        may_switch = live * layer.relu
        bound, centre, rest = self._stretched(
            layer, self._moved_centre(layer), live, may_switch
        )
        return replace(
            self,
            value=live,
            error=live,
            low=live,
            high=live,
            live=live,
            bound=bound,
            centre=centre,
            rest=rest,
            at_start=False,
        )

    def _moved_value(self, layer: Affine) -> tuple[Tensor, Tensor, Tensor]:
        """W h(x) + b, its error, and what one rounding of this size may do."""
        size = layer.weight.abs()
        reach = torch.stack([self.low.abs(), self.high.abs(), self.value.abs()]).amax(0)
        lost = 4 * gamma(layer.weight[0].numel() + 8)
        slack = lost * (layer.apply(reach, size) + layer.shift().abs())
        value = layer.apply(self.value, layer.weight) + layer.shift()
        return value, layer.apply(self.error, size) * OUTWARD + slack, slack

    def _moved_centre(self, layer: Affine) -> tuple[Tensor, Tensor] | None:
        """W C (N, outputs, pixels), and the norm of its rounding (N,)."""
        n_out, n_in = math.prod(layer.out), math.prod(layer.shape)
        if self.at_start and n_out * n_in <= DENSE:
            return layer.matrix.expand(len(self.value), n_out, n_in), torch.zeros_like(
                self.rest
            )
        if self.centre is None or n_out * max(n_in, self.centre.shape[2]) > DENSE:
            return None
        matrix = layer.matrix
        lost = matrix.norm() * self.centre.flatten(1).norm(dim=1) * 4 * gamma(n_in + 8)
        return matrix @ self.centre, lost

    def _slopes(self, layer: Affine, turned: tuple[Tensor, Tensor] | None) -> Tensor:
        """At least the norm of every row of the Jacobian before the ReLU, (N, *out)."""
        live = self.live.reshape(-1, *layer.shape)
        rows = layer.apply(live, layer.weight**2).clamp(min=0).sqrt()
        plain = rows * _column(self.bound, rows)
        if turned is None:
            return plain
        moved, lost = turned
        near = moved.norm(dim=2).reshape(rows.shape)
        return torch.minimum(
            plain, near + rows * _column(self.rest, rows) + _column(lost, rows)
        )

    def _stretched(
        self,
        layer: Affine,
        turned: tuple[Tensor, Tensor] | None,
        live: Tensor,
        may_switch: Tensor,
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Bound, centre and rest behind the layer."""
        norms = layer.masked_norms(live, self.live.reshape(-1, *layer.shape)) * OUTWARD
        bound = self.bound * norms
        if turned is None:
            return bound, None, self.rest
        moved, lost = turned
        switching = spectral_norms(moved * may_switch.flatten(1)[:, :, None]) / 2
        rest = (switching + norms * self.rest + lost) * OUTWARD
        centre = moved * (live - may_switch / 2).flatten(1)[:, :, None]
        second = (spectral_norms(centre) + rest) * OUTWARD
        return torch.minimum(bound, second), centre, rest


def _column(values: Tensor, like: Tensor) -> Tensor:
    """(N,) as a factor of (N, ...)."""
    return values.reshape(-1, *(1,) * (like.dim() - 1))
