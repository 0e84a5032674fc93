"""How well does a score tell outside from inside? Numbers that depend on its order alone.

A score is higher for images from outside. Scores are never squashed: equal ones are ties, and a
tie is half a win in the AUROC, one step in the average precision, and accepted as a whole or not at
all at a threshold. Everything is counted in float64 and whole numbers.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import ConfigError, InputError
from ..resampling import column

Array = NDArray[np.float64]
Positive = Literal["inside", "outside"]
POSITIVES: tuple[Positive, ...] = get_args(Positive)
SHARE = 0.95


class Tally(NamedTuple):
    """Rows at each of U distinct scores, ascending: inside, outside (..., U) float64."""

    inside: Array
    outside: Array


def auroc(inside: ArrayLike, outside: ArrayLike) -> float:
    """The chance that an outside image scores higher than an inside one, ties as one half.

    inside (N,), outside (M,): finite or infinite scores, at least one each; the Mann-Whitney
    statistic U / (N M) (Mann & Whitney 1947; Hanley & McNeil 1982). 0.5 for a score that says
    nothing, below it for one that points the wrong way. Raises InputError for nan, no rows, or
    another shape.

    >>> auroc([0.0, 1.0, 2.0], [2.0, 3.0])
    0.9166666666666666
    >>> auroc([700.0, 701.0], [702.0, 703.0])  # a sigmoid in float32 is 1 at all four
    1.0
    """
    return float(aurocs(Rising.of(tally(inside, outside))))


def average_precision(inside: ArrayLike, outside: ArrayLike) -> float:
    """Mean precision at the steps of the recall; outside images are the positive class.

    sum_t (R_t - R_(t-1)) P_t over the distinct scores t, the highest first: no trapezoids, which
    claim a precision between two thresholds that no threshold has (Davis & Goadrich 2006). It
    depends on M / (N + M); a score that says nothing has about that much. Arguments and errors as
    :func:`auroc`.

    >>> average_precision([0.0, 1.0], [0.5, 2.0])
    0.8333333333333333
    """
    return float(average_precisions(Rising.of(tally(inside, outside))))


def false_positive_rate(
    inside: ArrayLike,
    outside: ArrayLike,
    share: float = SHARE,
    positive: Positive = "inside",
) -> float:
    """The share of the other class that is taken for the positive one, at `share` true positives.

    positive: "inside": the threshold that keeps at least `share` of the inside images, and the part
    of the outside ones that it lets through; "outside": the threshold that reports at least `share`
    of the outside images, and the part of the inside ones that it reports as well. Both are called
    FPR95, and they are other numbers: say which. share in (0, 1]: ConfigError otherwise.

    >>> inside, outside = [0.0, 1.0, 2.0, 3.0], [2.5, 4.0]
    >>> false_positive_rate(inside, outside, 1.0, "inside")
    0.5
    >>> false_positive_rate(inside, outside, 1.0, "outside")
    0.25
    """
    check_share(share, positive)
    counts = Rising.of(tally(inside, outside))
    return float(false_positive_rates(counts, share, positive))


def check_share(share: float, positive: str) -> None:
    """Raises ConfigError unless share is in (0, 1] and positive is a class.

    >>> check_share(0.95, "inside")
    """
    if not 0 < share <= 1:
        raise ConfigError(f"share={share!r} is not in (0, 1]; give 0.95")
    if positive not in POSITIVES:
        raise ConfigError(f"positive={positive!r} is not one of {POSITIVES}")


def tally(inside: ArrayLike, outside: ArrayLike) -> Tally:
    """Both sides by distinct score. Raises InputError as :func:`auroc`.

    >>> tally([0.0, 1.0, 1.0], [1.0]).inside
    array([1., 2.])
    """
    known, other, distinct = placed(inside, outside)
    both = (np.bincount(side, minlength=distinct) for side in (known, other))
    return Tally(*(side.astype(np.float64) for side in both))


def placed(inside: ArrayLike, outside: ArrayLike) -> tuple[Any, Any, int]:
    """The number of its distinct score for each row (N,), (M,) int64, and how many there are.

    Raises InputError as :func:`auroc`.
    """
    sides = {"inside": column("inside", inside), "outside": column("outside", outside)}
    for name, values in sides.items():
        if not len(values):
            raise InputError(
                f"there is no {name} score; a comparison needs images of both kinds"
            )
        if n := int(np.isnan(values).sum()):
            raise InputError(f"{n} {name} scores are nan; leave these rows out")
    scores, places = np.unique(
        np.concatenate(list(sides.values())), return_inverse=True
    )
    n, places = len(sides["inside"]), places.reshape(-1)
    return places[:n], places[n:], len(scores)


# ---------------------------------------------------------------- of many tallies at once
class Rising(NamedTuple):
    """Tallies (..., U) beside their running sums, from the lowest score up."""

    inside: Array
    outside: Array
    inside_below: Array
    outside_below: Array

    @classmethod
    def of(cls, counts: Tally) -> Rising:
        """Each sum holds the rows at its score as well."""
        return cls(*counts, *(np.cumsum(side, axis=-1) for side in counts))


def aurocs(counts: Rising) -> Array:
    """:func:`auroc` of tallies (..., U), each with rows on both sides."""
    below = 2 * counts.inside_below - counts.inside
    wins = np.einsum("...u,...u->...", below, counts.outside)
    pairs = 2.0 * counts.inside_below[..., -1] * counts.outside_below[..., -1]
    found: Array = wins / pairs
    return found


def average_precisions(counts: Rising) -> Array:
    """:func:`average_precision` of tallies (..., U), each with rows on both sides."""
    total = counts.outside_below[..., -1:]
    true = total - counts.outside_below + counts.outside
    false = counts.inside_below[..., -1:] - counts.inside_below + counts.inside
    precision = true / np.maximum(true + false, 1)
    found: Array = (
        np.einsum("...u,...u->...", precision, counts.outside) / total[..., 0]
    )
    return found


def false_positive_rates(counts: Rising, share: float, positive: Positive) -> Array:
    """:func:`false_positive_rate` of tallies (..., U), each with rows on both sides."""
    kept, other = counts.inside_below, counts.outside_below
    # .95 * 20 is 19.000000000000004 in float64: a whole number of rows is meant
    if positive == "inside":
        total = kept[..., -1:]
        enough = kept >= np.ceil(share * total - 1e-9 * total)
        at = enough.argmax(axis=-1)[..., None]
        passed = np.take_along_axis(other, at, -1)
        found: Array = (passed / other[..., -1:])[..., 0]
        return found
    # the threshold may lie above a score as long as enough of the outside rows are left
    total = other[..., -1:]
    missed = total - np.ceil(share * total - 1e-9 * total)
    at = (other > missed).argmax(axis=-1)[..., None]
    clear = np.take_along_axis(kept - counts.inside, at, -1)
    return 1 - (clear / kept[..., -1:])[..., 0]


def gaussian_auroc(distance: float) -> float:
    """The AUROC of N(distance, 1) against N(0, 1): Phi(distance / sqrt 2).

    >>> gaussian_auroc(0.0)
    0.5
    """
    return 0.5 * (1 + math.erf(distance / 2))
