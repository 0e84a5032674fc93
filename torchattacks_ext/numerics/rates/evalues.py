"""How strong is the evidence about a failure rate, and which rates does it leave?

Two e-processes compare each null hypothesis about ``p_fail`` with a mixture over the other side
(Ville 1939; beta mixtures: Robbins 1970). With the prior Beta(a, b), a = 1/4, b = 1/(4 tolerance),
restricted to q < threshold (:func:`log_e_low`) or q > threshold (:func:`log_e_high`), after s
failures in n draws

    E(n, s) = E_prior[ q^s (1-q)^(n-s) ] / ( threshold^s (1-threshold)^(n-s) ).

For each p_fail in its null E is a nonnegative supermartingale that starts at 1, so it *ever*
reaches ``1 / significance`` with probability at most ``significance``: at any stopping time, after
any peek, and after any extension of the budget. The bounds (:func:`failure_bounds`) invert the same
tests over the threshold, with the prior kept.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ...errors import ConfigError, InputError
from ..incbeta import FloatArray, Tail, log_partial_beta

IntArray = NDArray[np.int64]

PRIOR = 0.25
"""First shape of the prior, and its second one times the tolerance."""
GUARD = 1e-6
"""How far log E must exceed log(1 / significance); far above its rounding error."""
_CLOSE = 1e-9
"""A bound is final when log E is this near to its target."""


def log_e_low(
    n: ArrayLike, s: ArrayLike, tolerance: float, *, threshold: ArrayLike | None = None
) -> FloatArray:
    """Return ln E against "p_fail >= threshold" after ``s`` failures in ``n`` draws.

    At ``log E >= log(1 / significance)`` the failure rate is shown to be below the threshold, at
    any stopping time. Never positive where ``s >= n * threshold``; falls with ``s``, rises with
    ``n``. It is the true value however small, but for a rounding near 1e-16 (n + 1 / tolerance).

    Args:
        n: Draws, integers, broadcast with ``s`` and ``threshold``.
        s: Failures, ``0 <= s <= n``.
        tolerance: Fixes the prior, Beta(1/4, 1/(4 tolerance)).
        threshold: Edge of the null, inside (0, 1); None means ``tolerance``.

    Returns:
        float64 array of the broadcast shape. Cost: two incomplete betas, about 1 us an entry.

    Raises:
        InputError: Counts that are no integers or not ``0 <= s <= n``.
        ConfigError: Tolerance or threshold outside (0, 1).

    Example:
        >>> log_e_low([504, 505], 0, 0.01).round(6)
        array([4.596605, 4.606187])
    """
    return _checked_log_e(n, s, tolerance, threshold, "below")


def log_e_high(
    n: ArrayLike, s: ArrayLike, tolerance: float, *, threshold: ArrayLike | None = None
) -> FloatArray:
    """Return ln E against "p_fail <= threshold"; arguments and errors as in :func:`log_e_low`.

    At ``log E >= log(1 / significance)`` the failure rate is shown to be above the threshold.
    Never positive where ``s <= n * threshold``.

    Example:
        >>> log_e_high([6, 7], 3, 0.01).round(6)
        array([4.691857, 4.5919  ])
    """
    return _checked_log_e(n, s, tolerance, threshold, "above")


def failure_bounds(
    n: ArrayLike, s: ArrayLike, tolerance: float, significance: float
) -> tuple[FloatArray, FloatArray]:
    """Return anytime-valid bounds (lower, upper) of p_fail, each at level ``significance``.

    ``upper`` is the least p at which :func:`log_e_low` with threshold p still reaches its bar,
    ``lower`` the greatest p at which :func:`log_e_high` does, so that the line
    ``NOT_ROBUST if lower > tolerance else ROBUST if upper <= tolerance else UNDECIDED`` says what
    the integer table of :mod:`.sequential` says at each (n, s). A bound is a p whose log E was seen
    to reach the bar, and exceeds it by 1e-9 at most (or by what one float of p makes); or it is
    0 or 1. Both hold together with probability at least ``1 - 2 * significance``, at any stop.

    Args:
        n: Draws, integers (broadcast with ``s``); 0 gives (0, 1).
        s: Failures, ``0 <= s <= n``.
        tolerance: Fixes the prior and is the first p that is tried.
        significance: Level of each side, in (0, 0.5).

    Returns:
        Two float64 arrays of the broadcast shape, in [0, 1]; ``lower`` is 0 where ``s = 0``,
        ``upper`` is 1 where ``s = n``. Cost: about 7 evaluations of log E for each distinct (n, s),
        3 ms for 256 of them.

    Raises:
        InputError: Counts that are no integers or not ``0 <= s <= n``.
        ConfigError: Settings outside their domain.

    Example:
        >>> lower, upper = failure_bounds([505, 5000], [0, 20], 0.01, 0.01)
        >>> lower.round(5), upper.round(5)
        (array([0.     , 0.00158]), array([0.01   , 0.00825]))
    """
    check_levels(tolerance, significance)
    n, s = as_counts(n, s)
    pairs, where = np.unique(
        np.stack([n.ravel(), s.ravel()]), axis=1, return_inverse=True
    )
    bar = bar_of(significance)
    lower = _invert(pairs[0], pairs[1], tolerance, bar, "above")
    upper = _invert(pairs[0], pairs[1], tolerance, bar, "below")
    # The guard covers one ulp: a refuted tolerance is still refuted at the next float.
    lower[lower == tolerance] = np.nextafter(tolerance, 1.0)
    return lower[where.ravel()].reshape(n.shape), upper[where.ravel()].reshape(n.shape)


def check_levels(tolerance: float, significance: float) -> None:
    """Raise ConfigError unless 0 < tolerance < 1 and 0 < significance < 0.5."""
    if not 0 < tolerance < 1:
        raise ConfigError(
            f"tolerance={tolerance!r} is not in (0, 1); give the tolerated failure rate as a "
            "fraction, for example 0.01"
        )
    if not 0 < significance < 0.5:
        raise ConfigError(
            f"significance={significance!r} is not in (0, 0.5); give the error "
            "probability of each claim, for example 0.001"
        )


def as_counts(n: ArrayLike, s: ArrayLike) -> tuple[IntArray, IntArray]:
    """Return n and s as int64 of one shape; InputError unless integers with 0 <= s <= n."""
    n, s = np.asarray(n), np.asarray(s)
    for name, counts in (("n", n), ("s", s)):
        if counts.dtype.kind not in "iu" and counts.size:
            raise InputError(
                f"{name} has dtype {counts.dtype}; counts are integers: cast to int64"
            )
    if (wrong := (s < 0) | (s > n)).any():
        raise InputError(
            f"{int(wrong.sum())} counts have failures s outside 0 <= s <= n; were the two "
            "arguments swapped?"
        )
    n, s = np.broadcast_arrays(n.astype(np.int64), s.astype(np.int64))
    return n, s


def bar_of(significance: float) -> float:
    """What log E must reach, in the table and in the bounds alike."""
    return float(-np.log(significance) + GUARD)


def _checked_log_e(
    n: ArrayLike,
    s: ArrayLike,
    tolerance: float,
    threshold: ArrayLike | None,
    tail: Tail,
) -> FloatArray:
    check_levels(tolerance, 0.25)
    edge = np.asarray(tolerance if threshold is None else threshold, dtype=np.float64)
    wrong = edge[~((edge > 0) & (edge < 1))]
    if wrong.size:
        raise ConfigError(
            f"threshold={wrong[0]} is not inside (0, 1); give a failure rate"
        )
    n, s = as_counts(n, s)
    return log_e(n, s, tolerance, edge, tail)


def log_e(
    n: IntArray, s: IntArray, tolerance: float, edge: ArrayLike, tail: Tail
) -> FloatArray:
    """Return ln E of unchecked arguments, where ``edge`` is the threshold.

    ``tail="below"`` is :func:`log_e_low`, ``"above"`` :func:`log_e_high`. The likelihood at the
    edge cancels against the unit of the two integrals.
    """
    b = PRIOR / tolerance
    posterior = log_partial_beta(PRIOR + s, b + (n - s), edge, tail)
    return posterior - log_partial_beta(PRIOR, b, edge, tail)


def _invert(
    n: IntArray, s: IntArray, tolerance: float, target: float, tail: Tail
) -> FloatArray:
    """Least ("below") or greatest ("above") threshold whose log E reaches ``target``, (D,).

    The bracket (reached, missed) shrinks by Halley steps in ``logit x``, whose two derivatives cost
    nothing (:func:`log_partial_beta`), or by halves where a step leaves it. ``tolerance`` goes
    first, so that it ends on the side where the table has it.
    """
    below = tail == "below"
    rate = s / np.maximum(n, 1)  # E <= 1 there, and at a tolerance beyond it
    across = rate < tolerance if below else rate > tolerance
    decided = np.zeros(n.shape, dtype=bool)
    decided[across] = log_e(n[across], s[across], tolerance, tolerance, tail) >= target
    beyond = np.maximum(rate, tolerance) if below else np.minimum(rate, tolerance)
    missed = np.where(decided, rate, beyond)
    reached = np.where(decided, tolerance, float(below))
    todo = np.flatnonzero(s < n if below else s > 0)
    x = _first_guess(n[todo], s[todo], tolerance, target, tail)
    step, turn = np.zeros_like(x), 0
    while todo.size:
        x = _keep_inside(
            _expit_add(x, step), reached[todo], missed[todo], halve=turn % 8 == 7
        )
        log_ratio, slope, curve = _log_e_logit(n[todo], s[todo], tolerance, x, tail)
        good = log_ratio >= target
        reached[todo[good]], missed[todo[~good]] = x[good], x[~good]
        # Near 0 or 1 one float may move log E by more than _CLOSE.
        close = np.maximum(_CLOSE, 4 * np.abs(slope) * np.spacing(x) / (x * (1 - x)))
        gap = log_ratio - target - 0.5 * close
        step = (
            -2 * gap * slope / np.maximum(2 * slope**2 - gap * curve, slope**2 + 1e-300)
        )
        open_ = ~(good & (gap <= 0.5 * close)) & ~_adjacent(reached[todo], missed[todo])
        todo, x, step, turn = todo[open_], x[open_], step[open_], turn + 1
    return reached


def _log_e_logit(
    n: IntArray, s: IntArray, tolerance: float, x: FloatArray, tail: Tail
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """ln E at threshold ``x`` and its first two derivatives with respect to ``logit x``."""
    sign = 1.0 if tail == "below" else -1.0
    b = PRIOR / tolerance
    prior = log_partial_beta(PRIOR, b, x, tail)
    posterior = log_partial_beta(PRIOR + s, b + (n - s), x, tail)
    decay, decay_prior = sign * np.exp(-posterior), sign * np.exp(-prior)
    slope_prior = decay_prior - (PRIOR - (PRIOR + b) * x)
    slope = decay - (PRIOR + s - (PRIOR + b + n) * x)
    curve = decay_prior * slope_prior - decay * slope + n * x * (1 - x)
    return posterior - prior, slope - slope_prior, curve


def _first_guess(
    n: IntArray, s: IntArray, tolerance: float, target: float, tail: Tail
) -> FloatArray:
    """Approximate root: n KL(s/n || x) = target plus what mixing over all q costs.

    The excess over s is that of a Poisson count, ``2 L / 3 + sqrt(2 L s + (L / 3)^2)``.
    """
    rate, b = s / n, PRIOR / tolerance
    evidence = special.betaln(PRIOR + s, b + (n - s)) - special.betaln(PRIOR, b)
    cost = special.xlogy(s, rate) + special.xlog1py(n - s, -rate) - evidence
    depth = np.maximum(target + cost, 1.0) / n  # the cut of the prior may outweigh both
    if tail == "above":
        rate = 1 - rate
    guess = rate + depth * (1 - 2 * rate) * 2 / 3
    guess += np.sqrt(2 * depth * rate * (1 - rate) + (depth * (1 + rate) / 3) ** 2)
    away: FloatArray
    away = np.maximum(1 - guess, (1 - rate) * np.exp(-1 - depth / (1 - rate)))
    return away if tail == "above" else 1 - away


def _expit_add(x: FloatArray, step: FloatArray) -> FloatArray:
    """``expit(logit(x) + step)``, exact for a small x."""
    odds = x * np.exp(np.clip(step, -9, 9))
    moved: FloatArray = odds / (1 - x + odds)
    return moved


def _keep_inside(
    x: FloatArray, end: FloatArray, other: FloatArray, *, halve: bool
) -> FloatArray:
    """``x`` where it lies strictly between the two ends, elsewhere (or to ``halve``) their mean."""
    inside = (x > np.minimum(end, other)) & (x < np.maximum(end, other))
    return np.where(inside & (not halve), x, 0.5 * (end + other))


def _adjacent(end: FloatArray, other: FloatArray) -> NDArray[np.bool_]:
    """Whether at most three floats lie between the ends."""
    close: NDArray[np.bool_] = np.abs(end - other) <= 4 * np.spacing(
        np.minimum(end, other)
    )
    return close
