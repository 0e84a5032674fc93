"""How far would AUROC, average precision and FPR move on other images? Bootstrap intervals.

Inside and outside images are drawn anew, each side from its own rows, so that their numbers stay
(Efron & Tibshirani 1993, ch. 8 and 13). Where a score is nearly perfect no resample knows a pair in
the wrong order, and the plain percentile interval is [1, 1] whatever N is. So each end is that of
the rows and one more image on either side that speaks for this end: an inside image above and an
outside image below all others for the end of the weaker score, and the other way round. One row in
N, drawn Poisson(1) times, is up to 3 of N at 95 %: the rule of three.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ...errors import InputError
from ..resampling import N_MAX, check_settings, column, percentiles
from ..streams import uniform
from .ranking import (
    SHARE,
    Array,
    Rising,
    Tally,
    aurocs,
    average_precisions,
    false_positive_rates,
    placed,
    tally,
)

RESAMPLES = 1000
_CHUNK = 2**19
"""Numbers held at a time for one array of tallies."""


class Ends(NamedTuple):
    """A number with the ends of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Separation:
    """What a score says of outside against inside images; FPR95 by its positive class."""

    auroc: Ends
    average_precision: Ends
    fpr95_inside: Ends
    fpr95_outside: Ends


_NAMES = ("auroc", "average_precision", "fpr95_inside", "fpr95_outside")
_RISING = np.array([True, True, False, False])
"""Whether the number grows with a better score."""


def separation(
    inside: ArrayLike,
    outside: ArrayLike,
    confidence: float = 0.95,
    *,
    n_resamples: int | None = None,
    seed: int = 0,
) -> Separation:
    """AUROC, average precision and both FPR95 of a score, with bootstrap intervals.

    Args:
        inside, outside: (N,), (M,) scores, higher for outside; one at least, no nan.
        confidence: of each interval, in (0, 1).
        n_resamples: default 1,000, or as many as the confidence needs.
        seed: any integer.

    Returns:
        A :class:`Separation`; ``low <= value <= high``. The intervals are approximate: how often
        they cover is in benchmarks/results/ood_coverage.json.

    Raises:
        ConfigError: a confidence outside its domain or too few resamples for it.
        InputError: scores that are no column of numbers.

    Example:
        >>> found = separation([0.0, 1.0, 2.0], [3.0, 4.0])
        >>> found.auroc.value, found.auroc.low < 1, found.auroc.high
        (1.0, True, 1.0)
    """
    if n_resamples is None and 0 < confidence < 1:
        n_resamples = max(RESAMPLES, int(4 / (1 - confidence)))
    check_settings(confidence, n_resamples or RESAMPLES)
    sides = (column("inside", inside), column("outside", outside))
    if (most := max(map(len, sides))) > N_MAX:
        raise InputError(
            f"{most} rows are more than {N_MAX}; take a random part of them for the interval"
        )
    keys = tuple(side.tobytes() for side in sides)
    return _separation(*keys, confidence, n_resamples or RESAMPLES, seed)


def numbers(inside: ArrayLike, outside: ArrayLike) -> dict[str, float]:
    """The four values of :func:`separation` by name, without resampling. InputError likewise.

    >>> numbers([0.0, 1.0], [2.0])["auroc"]
    1.0
    """
    found = _numbers(tally(inside, outside))
    return {name: float(value) for name, value in zip(_NAMES, found)}


@lru_cache(maxsize=128)
def _separation(
    inside: bytes, outside: bytes, confidence: float, n: int, seed: int
) -> Separation:
    """Each renderer asks again."""
    rows = np.frombuffer(inside), np.frombuffer(outside)
    value = _numbers(tally(*rows))
    worse, better = _resampled(*rows, n, seed)
    ends = {}
    for i, name in enumerate(_NAMES):
        under, over = (worse, better) if _RISING[i] else (better, worse)
        low, _ = percentiles(under[i], confidence)
        _, high = percentiles(over[i], confidence)
        at = float(value[i])
        ends[name] = Ends(at, min(low, at), max(high, at))
    return Separation(**ends)


def _numbers(counts: Tally) -> Array:
    """(4, ...) in the order of `_NAMES`."""
    rising = Rising.of(counts)
    return np.stack(
        [
            aurocs(rising),
            average_precisions(rising),
            false_positive_rates(rising, SHARE, "inside"),
            false_positive_rates(rising, SHARE, "outside"),
        ]
    )


def _resampled(inside: Array, outside: Array, n: int, seed: int) -> tuple[Array, Array]:
    """(4, n) numbers of resamples with a pair in the wrong order, and with one in the right one."""
    known, other, distinct = placed(inside, outside)
    found: tuple[list[Array], list[Array]] = ([], [])
    step = max(1, _CHUNK // (distinct + 2))
    for start in range(0, n, step):
        draws = torch.arange(start, min(start + step, n))
        inner, inner_more = _drawn(known, distinct, draws, seed, "inside")
        outer, outer_more = _drawn(other, distinct, draws, seed, "outside")
        for parts, (first, last) in zip(found, ((1, 0), (0, 1))):
            inner[:, 0], inner[:, -1] = last * inner_more, first * inner_more
            outer[:, 0], outer[:, -1] = first * outer_more, last * outer_more
            parts.append(_numbers(Tally(inner, outer)))
    worse, better = (np.concatenate(parts, axis=1) for parts in found)
    return worse, better


def _drawn(
    places: Any, distinct: int, draws: Tensor, seed: int, side: str
) -> tuple[Array, Array]:
    """Tallies (R, U + 2) of resamples, the ends empty, and how often the added row came (R,)."""
    at, wide = np.append(places + 1, 0), distinct + 2
    unit = uniform(seed, draws, f"bootstrap/{side}", 0, len(at)).numpy()
    # in float64: in float32 the product may round up to the number of rows
    rows = (unit.astype(np.float64) * len(at)).astype(np.int64)
    numbers = np.arange(len(draws))[:, None] * wide + at[rows]
    flat = np.bincount(numbers.ravel(), minlength=len(draws) * wide)
    counts: Array = flat.reshape(-1, wide).astype(np.float64)
    added: Array = counts[:, 0].copy()
    counts[:, 0] = 0
    return counts, added
