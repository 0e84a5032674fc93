"""What is measured on one head, and what do two of them say of each other? Numbers, no decisions.

Quantiles are those of :data:`QUANTILES`; nan where there is no row. arXiv:2606.01746 is "the
paper".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...numerics.rates.binomial import clopper_pearson

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 60
"""Bins of a histogram of angles on [0, pi]: three degrees each."""
Spread = tuple[float, ...]
Answer = Literal["for", "against", "open"]


@dataclass(frozen=True, kw_only=True)
class AngleLaw:
    """Angles of rows and classes of one head, with the Gaussian on [0, pi] that fits them best.

    Arguments:
        of (str): "features", or "step": the change of the features under attack.
        among (str): "own": the class of the label; "other": the others.
        n (int): angles.
        mean, deviation (float): of the Gaussian before it is cut, in radians.
        gap (float): largest difference of shares between angles and law (Kolmogorov).
        counts (tuple): angles in each of :data:`BINS` bins.
    """

    of: str
    among: str
    n: int
    mean: float
    deviation: float
    gap: float
    counts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class HeadNumbers:
    """What was measured on one head.

    Arguments:
        name (str): of the head.
        kind (str): "linear" or "distance".
        n_right, n_kept (int): rows that are right unchanged, and under attack as well.
        laws (tuple): :class:`AngleLaw` each.
        own, other (tuple): relative change of the score of the own class and of the others, the
            paper's S_c or S_d, in quantiles.
        highest_own, highest_other (tuple): sup S_d in quantiles; () for a linear head.
        raw (tuple): (i) length of the change of the logits over that of the image, in quantiles.
        normalised (tuple): (ii) loss of margin over the clean margin, of right rows: 1 breaks.
        distance (tuple): of right rows to the nearest boundary, in feature space.
        moved (tuple): length of the change of the features, of right rows.
        reach (tuple): (iii) distance over moved: below 1 the change was long enough to break.
    """

    name: str
    kind: str
    n_right: int
    n_kept: int
    laws: tuple[AngleLaw, ...]
    own: Spread
    other: Spread
    highest_own: Spread
    highest_other: Spread
    raw: Spread
    normalised: Spread
    distance: Spread
    moved: Spread
    reach: Spread

    def law(self, of: str, among: str) -> AngleLaw | None:
        """One of the laws, None where it was not fitted."""
        return next((x for x in self.laws if (x.of, x.among) == (of, among)), None)


@dataclass(frozen=True, kw_only=True)
class HeadPair:
    """A linear head and one by distance, side by side.

    Arguments:
        linear, distance (str): their names.
        isotropic (float): P(eq. 8) where all three angles are isotropic.
        isotropic_at (float): eq. 11 at the median |cos g| that was measured.
        own, other, mixed (float): P(eq. 8) by the fitted laws, angles taken as independent: of own
            classes, of others, and of mixtures with weights 1 / K and 1 - 1 / K (eq. 12-13).
        held_own, held_other (float): share of pairs (row, class) on which eq. 8 holds, measured.
        larger_own, larger_other (float): share of pairs with S_c >= sup S_d, measured.
        n (int): rows that both heads have right.
        steadier (int): of these, rows whose margin the linear head loses less of (ii).
        farther (int): of these, rows whose boundary is farther away for the linear head (iii).
        only_linear, only_distance (int): images, of all, that this head alone has right under
            attack, each head under its own.
    """

    linear: str
    distance: str
    isotropic: float
    isotropic_at: float
    own: float
    other: float
    mixed: float
    held_own: float
    held_other: float
    larger_own: float
    larger_other: float
    n: int
    steadier: int
    farther: int
    only_linear: int
    only_distance: int

    def answers(self, confidence: float = 0.95) -> dict[str, Answer]:
        """What each fair comparison says of "the distance head is the less sensitive one".

        "normalised" is (ii), "reach" (iii), "kept" the images that one head alone has right under
        attack. "for" or
        "against" where an exact interval of the share of rows excludes one half, else "open";
        each interval by itself.
        """
        both = self.only_linear + self.only_distance
        counts = {
            "normalised": (self.steadier, self.n),
            "reach": (self.farther, self.n),
            "kept": (self.only_linear, both),
        }
        return {k: _answer(part, n, confidence) for k, (part, n) in counts.items()}


def _answer(linear: int, n: int, confidence: float) -> Answer:
    if not n:
        return "open"
    low, high = (float(side) for side in clopper_pearson(linear, n, confidence))
    return "against" if low > 0.5 else "for" if high < 0.5 else "open"
