"""Did a rate fall between two runs on the same images? Exact paired tests, and what they could see.

Only images whose answer changed say anything: `lost` were right and are wrong, `gained` the
reverse. Under "nothing fell" a changed image is as likely one as the other at most, so that lost ~
B(lost + gained, 1/2) at the edge (McNemar 1947, exact).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special

from ...errors import ConfigError
from ..arguments import check_probabilities, is_whole
from ..rates.binomial import binomial_p_value, clopper_pearson, least_s_to_refute


class Detectable(NamedTuple):
    """The smallest drop that a test would have found: as a share of the images, and in images.

    share is nan where no drop among so few changed images could have been found.
    """

    share: float
    changed: int


def drop_p_value(lost: int, gained: int) -> float:
    """One-sided exact p-value of "the rate did not fall": P(B(lost + gained, 1/2) >= lost).

    1 where no image changed. Raises ConfigError for counts that are none.

    >>> drop_p_value(0, 0), drop_p_value(5, 0), round(drop_p_value(45, 15), 6)
    (1.0, 0.03125, 6.7e-05)
    """
    _check(lost, gained)
    n = lost + gained
    return 1.0 if not n else float(binomial_p_value(lost, n, 0.5, "above"))


def drop_interval(
    lost: int, gained: int, n: int, confidence: float = 0.95
) -> tuple[float, float]:
    """An interval of (lost - gained) / n for new images of the same source, valid at any n.

    Exact limits (Clopper & Pearson 1934) of both shares, a quarter of the error each: what their
    difference can be at most and at least. Wider than approximate ones, never too narrow.

    >>> [round(end, 4) for end in drop_interval(45, 15, 1000)]
    [0.0054, 0.0543]
    """
    _check(lost, gained)
    if not is_whole(n, lost + gained) or n < 1:
        raise ConfigError(f"n={n!r} must be a whole number >= lost + gained and >= 1")
    check_probabilities(confidence=confidence)
    each = 1 - (1 - confidence) / 2
    low, high = (float(end) for end in clopper_pearson(lost, n, each))
    least, most = (float(end) for end in clopper_pearson(gained, n, each))
    return low - most, high - least


def smallest_drop(
    changed: int, n: int, significance: float = 0.05, power: float = 0.95
) -> Detectable:
    """The smallest drop of the rate that :func:`drop_p_value` finds with probability `power`.

    Of n images `changed` changed their answer; a drop makes more of them losses. The test refutes
    "no drop" from c losses on, P(B(changed, 1/2) >= c) <= significance; the share q of losses at
    which P(B(changed, q) >= c) = power gives the drop (2q - 1) changed / n.

    >>> round(smallest_drop(60, 1000).share, 4), smallest_drop(3, 1000).share
    (0.0248, nan)
    """
    _check(changed, 0)
    check_probabilities(significance=significance, power=power)
    if not is_whole(n, max(1, changed)):
        raise ConfigError(f"n={n!r} must be a whole number >= changed={changed}")
    c = least_s_to_refute(changed, 0.5, significance) if changed else 1
    if c > changed:
        return Detectable(float("nan"), changed)
    q = float(special.betaincinv(c, changed - c + 1, power))
    return Detectable(max(0.0, 2 * q - 1) * changed / n, changed)


def paired_counts(
    old: np.ndarray[tuple[int], np.dtype[np.bool_]],
    new: np.ndarray[tuple[int], np.dtype[np.bool_]],
) -> tuple[int, int]:
    """(lost, gained) of two (n,) bool columns of the same images.

    >>> paired_counts(np.array([True, True, False]), np.array([True, False, True]))
    (1, 1)
    """
    return int((old & ~new).sum()), int((~old & new).sum())


def _check(lost: int, gained: int) -> None:
    for name, value in (("lost", lost), ("gained", gained)):
        if not is_whole(value, 0):
            raise ConfigError(f"{name}={value!r} must be a whole number >= 0")
