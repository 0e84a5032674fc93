"""How strongly do two columns go together, and which predictor is nearer? With bootstrap intervals.

Of n rows (x_i, y_i), with midranks R (tied values share the mean of their places),

    pearson:   r = cov(x, y) / (sd(x) sd(y)),
    spearman:  the r of R(x) and R(y),
    kendall:   tau-b = (C - D) / sqrt((P - T_x)(P - T_y)),

C, D concordant and discordant pairs, P all pairs, T pairs that are tied (Kendall 1945). Intervals
are percentile ones of :mod:`~torchattacks_ext.numerics.resampling`; resamples are ranked anew, by
the sums of :mod:`.weighted`. Where the outcome is rare (fewer than 20 rows apart from the rest)
they cover far less than they say: Spearman with an outcome of 1 %, n = 200: about half of the cases
at .95. There they are widened to the permutation interval, value - (quantiles of the permuted
coefficient), and `doubt` says so (benchmarks/results/bootstrap_coverage.json).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from ...errors import ConfigError, InputError
from ..incbeta import FloatArray
from ..resampling import check_settings, column, percentiles
from .permuted import by_chance, is_rare, rows_apart, widened
from .weighted import resampled, scaled

Coefficient = Literal["spearman", "kendall", "pearson"]
COEFFICIENTS: tuple[Coefficient, ...] = get_args(Coefficient)

_FLAT = 1e-13
"""A spread below this share of the mean is rounding, as scipy says."""


@dataclass(frozen=True)
class Association:
    """One coefficient with its interval.

    Arguments:
        coefficient (str): "spearman", "kendall" or "pearson".
        value (float): in [-1, 1]; nan where there is none, see `reason`.
        low, high (float): percentile interval; nan without a value.
        confidence (float): of the interval, in (0, 1).
        n (int): rows that count.
        n_dropped (int): rows left out because a number is nan.
        n_resamples (int): resamples drawn.
        n_constant (int): resamples without a value (a column constant in them), left out.
        reason (str): why there is no value, else "".
        doubt (str): why the interval is not to be trusted as it stands, else "".

    >>> round(correlate([1, 2, 3, 4], [1, 3, 2, 4]).value, 4)
    0.8
    """

    coefficient: str
    value: float
    low: float
    high: float
    confidence: float
    n: int
    n_dropped: int
    n_resamples: int
    n_constant: int = 0
    reason: str = ""
    doubt: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The fields by name; floats may be nan."""
        return asdict(self)


@dataclass(frozen=True)
class Comparison:
    """Two predictors of one outcome on the same rows: the difference of their coefficients.

    Arguments:
        coefficient (str): "spearman", "kendall" or "pearson".
        first, second (float): coefficient of each predictor with the outcome.
        difference (float): first - second; nan where one is missing, see `reason`.
        low, high (float): percentile interval of the difference over paired resamples.
        confidence (float): of the interval, in (0, 1).
        n (int): rows that count.
        n_dropped (int): rows left out because one of the three numbers is nan.
        n_resamples (int): resamples drawn.
        n_constant (int): resamples without a value, left out.
        reason (str): why there is no difference, else "".
        doubt (str): why the interval is not to be trusted as it stands, else "".

    >>> round(compare([1, 2, 3, 4], [2, 1, 3, 4], [1, 2, 3, 4]).difference, 4)
    0.2
    """

    coefficient: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    confidence: float
    n: int
    n_dropped: int
    n_resamples: int
    n_constant: int = 0
    reason: str = ""
    doubt: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The fields by name; floats may be nan."""
        return asdict(self)


def correlate(
    x: ArrayLike,
    y: ArrayLike,
    coefficient: Coefficient = "spearman",
    *,
    confidence: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Association:
    """Return the coefficient of two columns with its bootstrap percentile interval.

    Rows with a nan are dropped and counted. A column that is constant, fewer than three rows, or
    an infinite number under ``"pearson"`` give nan and a reason; ranks take infinite numbers.

    Args:
        x, y: (N,) real numbers or truth values.
        coefficient: ``"spearman"``, ``"kendall"`` (tau-b) or ``"pearson"``.
        confidence: Of the interval, in (0, 1).
        n_resamples: At least ``2 / (1 - confidence)``.
        seed: Any integer; the same seed draws the same rows for every pair of columns.

    Returns:
        An :class:`Association`. Cost: N operations a resample, N^2 for ``"kendall"`` (2000
        resamples of 1000 rows: .1 s; of 10,000: 8 s).

    Raises:
        ConfigError: A setting outside its domain.
        InputError: Columns of another shape or of different lengths.

    Example:
        >>> found = correlate([1, 2, 3, 4, 5, 6], [1, 3, 2, 4, 6, 5], "kendall")
        >>> round(found.value, 4), found.n, found.low <= found.value <= found.high
        (0.7333, 6, True)
        >>> correlate([1, 1, 1], [1, 2, 3]).reason
        'x is constant'
    """
    facts, (value,) = _estimate(
        {"x": x, "y": y}, coefficient, confidence, n_resamples, seed
    )
    return Association(value=value, **facts)


def compare(
    first: ArrayLike,
    second: ArrayLike,
    outcome: ArrayLike,
    coefficient: Coefficient = "spearman",
    *,
    confidence: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Return the difference of two predictors' coefficients with the same outcome, paired.

    The same resamples serve both, so what they share cancels. Signs count: turn the predictors so
    that both are expected to rise with the outcome.

    Args:
        first, second: (N,) the predictors.
        outcome: (N,) what they predict.
        coefficient, confidence, n_resamples, seed: As in :func:`correlate`.

    Returns:
        A :class:`Comparison` over the rows where none of the three is nan.

    Raises:
        ConfigError: A setting outside its domain.
        InputError: Columns of another shape or of different lengths.

    Example:
        >>> found = compare([1, 2, 3, 4, 5], [1, 2, 3, 4, 5], [2, 1, 3, 5, 4])
        >>> found.difference, found.low, found.high
        (0.0, 0.0, 0.0)
    """
    named = {"first": first, "second": second, "outcome": outcome}
    facts, (one, two) = _estimate(named, coefficient, confidence, n_resamples, seed)
    return Comparison(first=one, second=two, difference=one - two, **facts)


def _estimate(
    named: dict[str, ArrayLike],
    coefficient: Coefficient,
    confidence: float,
    n_resamples: int,
    seed: int,
) -> tuple[dict[str, Any], list[float]]:
    """What both kinds of results say beside their values, and each predictor's coefficient.

    named: the predictors, one or two, and the outcome last. The interval is that of the one
    coefficient, or of the difference of the two.
    """
    _check(coefficient, confidence, n_resamples)
    (*predictors, outcome), dropped = _rows(named)
    facts: dict[str, Any] = {
        "coefficient": coefficient,
        "confidence": confidence,
        "n": len(outcome),
        "n_dropped": dropped,
        "n_resamples": n_resamples,
    }
    columns = dict(zip(named, (*predictors, outcome)))
    if reason := _obstacle(columns, coefficient):
        nothing = {"low": math.nan, "high": math.nan, "reason": reason}
        return facts | nothing, [math.nan] * len(predictors)
    drawn = resampled(predictors, outcome, coefficient, n_resamples, seed)
    found = reduce(np.subtract, drawn)
    low, high = percentiles(found, confidence)
    facts |= {"low": low, "high": high, "n_constant": int(np.isnan(found).sum())}
    each = [_value(values, outcome, coefficient) for values in predictors]
    if rare := {name: v for name, v in columns.items() if is_rare(v)}:
        name, thin = next(reversed(rare.items()))  # the outcome, where it is one
        thins = list(rare.values())
        found = by_chance(predictors, outcome, thins, coefficient, n_resamples, seed)
        facts |= widened((low, high), reduce(np.subtract, each), found, confidence)
        facts["doubt"] = (
            f"only {rows_apart(thin)} of {len(thin)} rows of {name} have another value than the "
            "rest: the interval is widened to that of a permutation test, and still approximate"
        )
    return facts, each


def _check(coefficient: str, confidence: float, n_resamples: int) -> None:
    if coefficient not in COEFFICIENTS:
        raise ConfigError(f"coefficient={coefficient!r} is not one of {COEFFICIENTS}")
    check_settings(confidence, n_resamples)


def _rows(named: dict[str, ArrayLike]) -> tuple[list[FloatArray], int]:
    """The columns where none is nan, and how many rows that leaves out."""
    columns = [column(name, values) for name, values in named.items()]
    if len({len(values) for values in columns}) > 1:
        sizes = dict(zip(named, map(len, columns)))
        raise InputError(
            f"columns have different lengths {sizes}; give one entry a row in each"
        )
    kept = ~np.isnan(columns).any(axis=0)
    return [values[kept] for values in columns], int((~kept).sum())


def _obstacle(columns: dict[str, FloatArray], coefficient: str) -> str:
    """Why there is no coefficient, "" where there is one."""
    n = len(next(iter(columns.values())))
    if n < 3:
        return f"{n} rows without nan; a correlation takes at least 3"
    for name, values in columns.items():
        if coefficient == "pearson" and np.isinf(values).any():
            return f"{name} holds infinite numbers, which only ranks can place"
        if (values == values[0]).all():
            return f"{name} is constant"
        if coefficient == "pearson" and _flat(scaled(values)):
            return f"{name} is constant up to rounding"
    return ""


def _flat(values: FloatArray) -> bool:
    mean = values.mean()
    return bool(np.linalg.norm(values - mean) <= _FLAT * abs(mean))


def _value(x: FloatArray, y: FloatArray, coefficient: str) -> float:
    found: Any
    if coefficient != "pearson":
        # old versions of scipy give nan for ranks where a value is infinite
        both = (np.unique(side, return_inverse=True)[1] for side in (x, y))
        x, y = (codes.astype(np.float64) for codes in both)
    if coefficient == "spearman":
        found = stats.spearmanr(x, y)
    elif coefficient == "kendall":
        found = stats.kendalltau(x, y, variant="b")
    else:
        found = stats.pearsonr(scaled(x), scaled(y))
    # scipy may answer 1 + 2e-16
    return min(max(float(found.statistic), -1.0), 1.0)
