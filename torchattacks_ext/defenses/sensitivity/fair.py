"""How far is a head from another answer, and how far does an attack move it? Three fair numbers.

A nearest prototype by squared distance is a linear head, -||z - p||^2 = 2 p.z - ||p||^2 up to what
all classes share; so what compares heads should not ask how their scores are written.
(i) ||L(x + delta) - L(x)|| / ||delta||: in the head's own unit, not to be compared between kinds;
(ii) (M - M') / M, M the margin of the label before and M' after: no unit, and 1 is an error; but
-||z - p|| and its square, which decide alike, may differ in it;
(iii) the distance to the nearest boundary over ||dz||: a matter of decisions alone, in the features
that all heads share. It leaves out in which direction dz goes.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ...numerics.losses import margins
from .heads import FlatHead


@dataclass(frozen=True, eq=False)
class Fair:
    """(N,) each: right and kept (bool), raw, normalised, distance, moved, as in HeadNumbers."""

    right: Tensor
    kept: Tensor
    raw: Tensor
    normalised: Tensor
    distance: Tensor
    moved: Tensor

    @property
    def reach(self) -> Tensor:
        """(N,) distance over moved; inf where the features did not move."""
        return self.distance / self.moved


def fair_numbers(
    head: FlatHead, z: Tensor, after: Tensor, labels: Tensor, delta: Tensor
) -> Fair:
    """The numbers of each row: features (N, d) before and after, lengths of delta (N,) in L2."""
    clean, attacked = head.logits(z), head.logits(after)
    before, now = margins(clean, labels), margins(attacked, labels)
    right = before > 0
    return Fair(
        right=right,
        kept=right & (now > 0),
        raw=(attacked - clean).norm(dim=1) / delta,
        normalised=(before - now) / before,
        distance=head.boundaries(z, labels).amin(1),
        moved=(after - z).norm(dim=1),
    )
