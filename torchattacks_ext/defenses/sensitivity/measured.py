"""What is measured on one head, alone and beside the linear one? Quantiles, laws and counts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ...results.heads import (
    BINS,
    QUANTILES,
    AngleLaw,
    HeadNumbers,
    HeadPair,
    Spread,
)
from . import paper
from .angles import isotropic_law, isotropic_probability
from .fair import Fair, fair_numbers
from .heads import FlatHead
from .laws import Component, empirical_probability, fit_truncated, largest_gap


class Measured:
    """One head of a trunk, with the features before and after its attack.

    Arguments:
        head (FlatHead): the head.
        z, after (Tensor): (N, d), float64 on the CPU, as all that follows.
        labels (Tensor): (N,).
        far (Tensor): (N,) L2 lengths of the changes of the images.
    """

    def __init__(
        self, head: FlatHead, z: Tensor, after: Tensor, labels: Tensor, far: Tensor
    ) -> None:
        self.head, self.z, self.step, self.labels = head, z, after - z, labels
        self.fair: Fair = fair_numbers(head, z, after, labels, far)
        self.rows = head.rows.cpu().double()
        own = torch.zeros(len(z), len(self.rows), dtype=torch.bool, device=z.device)
        self.own = own.scatter(1, labels[:, None], True)
        self.feature_angles = paper.angles(z, self.rows)
        self.step_angles = paper.angles(self.step, self.rows)
        self.laws = tuple(self._laws())

    def numbers(self) -> HeadNumbers:
        """All that concerns this head alone."""
        fair, right = self.fair, self.fair.right
        if self.head.kind == "linear":
            change, highest = paper.linear_change(self.z, self.step, self.rows), None
        else:
            change, highest = paper.distance_change(self.z, self.step, self.rows)
        own, other = self._parted(change)
        tops = ((), ()) if highest is None else self._parted(highest)
        return HeadNumbers(
            name=self.head.name,
            kind=self.head.kind,
            n_right=int(right.sum()),
            n_kept=int(fair.kept.sum()),
            laws=self.laws,
            own=own,
            other=other,
            highest_own=tops[0],
            highest_other=tops[1],
            raw=_spread(fair.raw[right]),
            normalised=_spread(fair.normalised[right]),
            distance=_spread(fair.distance[right]),
            moved=_spread(fair.moved[right]),
            reach=_spread(fair.reach[right]),
        )

    def _parted(self, values: Tensor) -> tuple[Spread, Spread]:
        """Quantiles over pairs (right row, class), own and other classes."""
        right = self.fair.right[:, None]
        return _spread(values[self.own & right]), _spread(values[~self.own & right])

    def _laws(self) -> Iterator[AngleLaw]:
        right = self.fair.right[:, None]
        for of, values, rows in (
            ("features", self.feature_angles, torch.ones_like(right)),
            ("step", self.step_angles, right),
        ):
            for among, chosen in (("own", self.own), ("other", ~self.own)):
                law = _law(of, among, values[chosen & rows & values.isfinite()])
                if law is not None:
                    yield law

    def components(self, of: str, among: str) -> list[Component]:
        """The law as a mixture; "mixed": weights 1 / K and 1 - 1 / K. [] without one."""
        share = 1 / len(self.rows)
        weights = {"own": {"own": 1.0}, "other": {"other": 1.0}}
        wanted = weights.get(among, {"own": share, "other": 1 - share})
        laws = {law.among: law for law in self.laws if law.of == of}
        if not wanted.keys() <= laws.keys():
            return []
        return [(w, laws[k].mean, laws[k].deviation) for k, w in wanted.items()]

    def beside(self, linear: Measured) -> HeadPair:
        """This head by distance and the linear one; eq. 8 under the attack on the linear one."""
        d, right = self.z.shape[1], linear.fair.right
        angles = (linear.feature_angles, self.feature_angles, linear.step_angles)
        known = torch.stack(angles).isfinite().all(0) & right[:, None]
        held = paper.condition(*angles)
        change = paper.linear_change(linear.z, linear.step, linear.rows)
        _, highest = paper.distance_change(linear.z, linear.step, self.rows)
        larger, cosine = change >= highest, linear.step_angles.cos().abs()

        def share(where: Tensor, chosen: Tensor) -> float:
            picked = where[chosen & known]
            return float(picked.double().mean()) if len(picked) else float("nan")

        def by_laws(among: str) -> float:
            parts = (
                linear.components("features", among),
                self.components("features", among),
                linear.components("step", among),
            )
            return empirical_probability(*parts) if all(parts) else float("nan")

        both = right & self.fair.right
        kept = linear.fair.kept, self.fair.kept
        return HeadPair(
            linear=linear.head.name,
            distance=self.head.name,
            isotropic=_isotropic(d) if d > 1 else float("nan"),
            isotropic_at=_at(cosine[known], d),
            own=by_laws("own"),
            other=by_laws("other"),
            mixed=by_laws("mixed"),
            held_own=share(held, self.own),
            held_other=share(held, ~self.own),
            larger_own=share(larger, self.own),
            larger_other=share(larger, ~self.own),
            n=int(both.sum()),
            steadier=int((linear.fair.normalised < self.fair.normalised)[both].sum()),
            farther=int((linear.fair.reach > self.fair.reach)[both].sum()),
            only_linear=int((kept[0] & ~kept[1]).sum()),
            only_distance=int((kept[1] & ~kept[0]).sum()),
        )


@lru_cache(maxsize=64)
def _isotropic(d: int) -> float:
    return isotropic_probability(d)


def _at(cosines: Tensor, d: int) -> float:
    if not len(cosines) or d < 2:
        return float("nan")
    return isotropic_law(float(cosines.median()), d)


def _spread(values: Tensor) -> Spread:
    """Quantiles of what is no nan; each is one of the values."""
    found = values[~values.isnan()].cpu().numpy()
    if not len(found):
        return (float("nan"),) * len(QUANTILES)
    cut = np.quantile(found, QUANTILES, method="inverted_cdf")
    return tuple(float(value) for value in cut)


def _law(of: str, among: str, angles: Tensor) -> AngleLaw | None:
    found = angles.cpu().numpy()
    if len(found) < 2:
        return None
    mean, deviation = fit_truncated(found)
    counts, _ = np.histogram(found, bins=BINS, range=(0.0, np.pi))
    return AngleLaw(
        of=of,
        among=among,
        n=len(found),
        mean=mean,
        deviation=deviation,
        gap=largest_gap(found, mean, deviation),
        counts=tuple(int(n) for n in counts),
    )
