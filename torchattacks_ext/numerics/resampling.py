"""How far would a statistic move on another sample of the same kind? Bootstrap intervals.

A resample takes n of the n rows with replacement. The percentile interval (Efron 1979; Efron &
Tibshirani 1993, ch. 13) lies between order statistics of the values of all resamples; that of
bootstrap-t (ibid., ch. 12) between those of the studentised mean. Both are approximate: how often
they cover depends on the law of the rows as much as on n. Below some 20 rows they cover less, and
where few rows carry the mean far less, whatever n: of a lognormal with sigma 3 and n = 200 the
percentile interval at .95 covers the mean in about .50 of the cases and bootstrap-t in .78, with
sigma 1.5 in .88 and .92 (benchmarks/results/bootstrap_coverage.json). :func:`carriers` tells; the
median has no such trouble. Rows must be independent draws of one population.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfigError, InputError
from .arguments import check_confidence, parse_seed
from .incbeta import FloatArray
from .streams import uniform

IntArray = NDArray[np.int64]
Statistic = Literal["mean", "median", "log_mean"]
STATISTICS: tuple[Statistic, ...] = get_args(Statistic)

N_MAX = 2**22
"""Most rows: random numbers have 24 bits, so a row's chance is 1/n up to a factor 1 +- n / 2^24."""
_CHUNK = 2**21
"""Numbers held at a time for one array of resamples: 16 MiB in float64."""


def bootstrap(
    values: ArrayLike,
    statistic: Statistic = "mean",
    confidence: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile interval (low, high) of a statistic of independent values.

    ``"log_mean"`` is the mean of ln(values), -inf with a zero among them; of values that are
    logarithms already take ``"mean"``. nan values are left out. Fewer than two others tell nothing
    about the spread: (nan, nan); so do resamples that hold both infinities.

    Args:
        values: (N,) numbers, for ``"log_mean"`` at least 0; infinite ones are allowed.
        statistic: ``"mean"``, ``"median"`` or ``"log_mean"``.
        confidence: Of the interval, in (0, 1).
        n_resamples: At least ``2 / (1 - confidence)``.
        seed: In [0, 2**63). The same seed and N draw the same rows.

    Returns:
        ``low <= high`` in the unit of the statistic; equal where all values are.

    Raises:
        ConfigError: A setting outside its domain.
        InputError: Values of another shape, negative ones under ``"log_mean"``.

    Example:
        >>> bootstrap([1.0, 2.0, 3.0, float("nan")], "median")
        (1.0, 3.0)
        >>> bootstrap([5.0, 5.0, 5.0])
        (5.0, 5.0)
    """
    check_settings(confidence, n_resamples)
    if statistic not in STATISTICS:
        raise ConfigError(f"statistic={statistic!r} is not one of {STATISTICS}")
    kept = column("values", values)
    kept = kept[~np.isnan(kept)]
    if statistic == "log_mean":
        kept = _logarithms(kept)
    if len(kept) < 2:
        return math.nan, math.nan
    of_rows = np.median if statistic == "median" else np.mean
    # inf - inf is nan and is left out below; a sum beyond the largest float is inf
    with np.errstate(invalid="ignore", over="ignore"):
        found = [
            of_rows(kept[d], axis=1) for d in resamples(len(kept), n_resamples, seed)
        ]
    return percentiles(np.concatenate(found), confidence)


def bootstrap_t(
    values: ArrayLike, confidence: float = 0.95, n_resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the bootstrap-t interval (low, high) of the mean of independent values.

    With t* = (mean* - mean) / s* over the resamples it is mean - s t*: longer on the side of a
    heavy tail, where the percentile interval is too short. nan values are left out; an end is
    infinite where too many resamples are constant; (nan, nan) below two values, or for infinite
    ones.

    Args:
        values: (N,) numbers.
        confidence: Of the interval, in (0, 1).
        n_resamples: At least ``2 / (1 - confidence)``.
        seed: In [0, 2**63); draws the same rows as :func:`bootstrap`.

    Raises:
        ConfigError: A setting outside its domain.
        InputError: Values of another shape.

    Example:
        >>> low, high = bootstrap_t([1.0, 2.0, 3.0, 4.0, 50.0])
        >>> low < 12 < 50 < high
        True
    """
    check_settings(confidence, n_resamples)
    kept = column("values", values)
    kept = kept[~np.isnan(kept)]
    if len(kept) < 2 or np.isinf(kept).any():
        return math.nan, math.nan
    scale = float(np.abs(kept).max()) or 1.0  # squares of large numbers would overflow
    kept = kept / scale
    mean, spread = float(kept.mean()), float(kept.std())
    if spread == 0:
        return mean * scale, mean * scale
    found = []
    for drawn in resamples(len(kept), n_resamples, seed):
        part = kept[drawn]
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append((part.mean(axis=1) - mean) / part.std(axis=1))
    # a constant resample is as far from the mean as can be, on its side
    low, high = percentiles(np.concatenate(found), confidence)
    return (mean - high * spread) * scale, (mean - low * spread) * scale


def carriers(values: ArrayLike) -> float:
    """Return how many equal rows would carry the mean as these do: (sum |x|)^2 / sum x^2 (Kish).

    Of N equal values N, of one that outweighs all others 1; 0 for none but zeros, and nan with an
    infinite value. nan values are left out.

    >>> carriers([1.0, 1.0, 1.0]), round(carriers([1.0, 1.0, 1000.0]), 3)
    (3.0, 1.004)
    """
    kept = np.abs(column("values", values))
    kept = kept[~np.isnan(kept)]
    largest = float(kept.max(initial=0.0))
    if not 0 < largest < math.inf:
        return 0.0 if largest == 0 else math.nan
    parts = kept / largest
    return float(parts.sum() ** 2 / (parts**2).sum())


FEW_CARRIERS = 50, 0.25
"""The mean is carried by few rows below so many :func:`carriers`, if they are below this share."""


def carried_by_few(values: ArrayLike) -> bool:
    """Whether an interval of the mean is not to be trusted: few rows carry it.

    >>> carried_by_few([1.0] * 20), carried_by_few([1.0] * 99 + [1e6])
    (False, True)
    """
    found, (most, share) = column("values", values), FEW_CARRIERS
    rows = int((~np.isnan(found)).sum())
    effective = carriers(found)
    return 0 < effective < min(most, share * rows)


def resamples(n: int, n_resamples: int, seed: int) -> Iterator[IntArray]:
    """Yield (R, n) row numbers in [0, n), R resamples at a time, n_resamples in all.

    Resample i is a function of seed, i and n alone: two statistics over the same rows are paired.

    Raises:
        InputError: More than 2^22 rows.
        ConfigError: A seed outside [0, 2**63).

    Example:
        >>> [part.shape for part in resamples(3, 5, seed=0)]
        [(5, 3)]
    """
    if n > N_MAX:
        raise InputError(
            f"{n} rows are more than {N_MAX}; take a random part of them for the interval"
        )
    seed, step = parse_seed(seed), max(1, _CHUNK // max(n, 1))
    for start in range(0, n_resamples, step):
        ids = torch.arange(start, min(start + step, n_resamples))
        drawn = uniform(seed, ids, "bootstrap", 0, n).numpy()
        # in float64: in float32 the product may round up to n
        yield (drawn.astype(np.float64) * n).astype(np.int64)


def percentiles(found: ArrayLike, confidence: float) -> tuple[float, float]:
    """Return the two order statistics with ``(1 - confidence) / 2`` of the values outside each.

    Values that are nan are left out; (nan, nan) without any other. No value is interpolated, so
    that infinite ones stay what they are, and the interval of -x is the mirrored one.

    Example:
        >>> percentiles(range(101), 0.9)
        (5.0, 95.0)
    """
    values = np.asarray(found, dtype=np.float64)
    values = np.sort(values[~np.isnan(values)])
    if not values.size:
        return math.nan, math.nan
    last = values.size - 1
    outside = int((1 - confidence) / 2 * last + 1e-9)
    return float(values[outside]), float(values[last - outside])


def column(name: str, values: ArrayLike) -> FloatArray:
    """Return ``values`` as a float64 column (N,). Raises InputError for another shape or kind.

    >>> column("x", [True, False])
    array([1., 0.])
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        # numpy has no bfloat16
        values = (values.double() if values.is_floating_point() else values).numpy()
    found = np.asarray(values)
    if found.ndim != 1 or found.dtype.kind not in "biuf" and found.size:
        raise InputError(
            f"{name} is {found.shape} {found.dtype}, expected (N,) real numbers: one a row"
        )
    return found.astype(np.float64)


def check_settings(confidence: float, n_resamples: int) -> None:
    """Raises ConfigError unless the resamples can hold the tails of the interval.

    >>> check_settings(0.95, 2000)
    """
    check_confidence(confidence)
    if not n_resamples >= 2 / (1 - confidence) - 1e-6:
        raise ConfigError(
            f"n_resamples={n_resamples!r} is too small for confidence={confidence!r}: it takes at "
            "least 2 / (1 - confidence), better 2000"
        )


def _logarithms(values: FloatArray) -> FloatArray:
    if negative := int((values < 0).sum()):
        raise InputError(
            f"{negative} values are negative and have no logarithm; are they logarithms already? "
            "then ask for 'mean'"
        )
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(values))
