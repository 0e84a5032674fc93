"""How large is an incomplete beta integral, in logarithms, where the integral itself underflows?

The integrals ``int t^(p-1) (1-t)^(q-1) dt`` over ``t < x`` or ``t > x`` are returned divided by
``x^p (1-x)^q``. In that scale they neither underflow nor overflow, ``p - 1`` more successes cancel
without rounding, and the derivative in ``logit x`` is free (see :func:`log_partial_beta`).

In the bulk the integral is ``log betainc`` of scipy times the complete beta function; in the tails it
is the continued fraction of Didonato and Morris (ACM TOMS 18(3), 1992, eq. 9), which needs no
logarithm of a small number and so no floor.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ..errors import BackendError

FloatArray = NDArray[np.float64]
Tail = Literal["below", "above"]

_UNDERFLOW = 1e-280
"""Below this, ``betainc`` may be subnormal or zero."""
_NEARLY_ONE = 0.999
"""Above this, ``1 - betainc`` has lost more than three digits."""
_MAX_TERMS = 100_000
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)


def log_partial_beta(p: ArrayLike, q: ArrayLike, x: ArrayLike, tail: Tail) -> FloatArray:
    """Return ``ln int t^(p-1) (1-t)^(q-1) dt - p ln x - q ln(1-x)`` over one side of ``x``.

    However small the integral is, no floor is put under it. The error is near 1e-14 of
    ``max(1, |value|)``, growing to 1e-9 where ``p + q`` is 1e9. With ``G`` the value,
    ``dG / d logit(x) = +-exp(-G) - (p - (p + q) x)``, plus for ``tail="below"``.

    Args:
        p: First shape, positive (broadcast with ``q`` and ``x``).
        q: Second shape, positive.
        x: Where the interval ends, strictly between 0 and 1.
        tail: ``"below"`` integrates over (0, x), ``"above"`` over (x, 1).

    Returns:
        float64 array of the broadcast shape. Cost: one ``betainc`` an entry, in the tails 5 to 200
        terms of a continued fraction.

    Raises:
        BackendError: The continued fraction did not converge, or an argument was not finite.

    Example:
        >>> log_partial_beta(1, [1, 1_000_000], 0.5, "above").round(6)  # ln(2 / q)
        array([  0.693147, -13.122363])
    """
    shape = np.broadcast_shapes(np.shape(p), np.shape(q), np.shape(x))
    p, q, x = (np.atleast_1d(np.asarray(v, dtype=np.float64)) for v in (p, q, x))
    mass = special.betainc(p, q, x)
    if tail == "below":
        bulk = mass > _UNDERFLOW
        value = np.log(mass, out=np.zeros_like(mass), where=bulk)
    else:
        bulk = mass < _NEARLY_ONE
        value = np.log1p(-mass, out=np.zeros_like(mass), where=bulk)
    value += _log_scaled_beta(p, q, x)
    if not bulk.all():
        deep = ~bulk
        p, q, x = (np.broadcast_to(v, deep.shape)[deep] for v in (p, q, x))
        value[deep] = _continued_fraction(p, q, x, tail)
    return value.reshape(shape)


def _log_scaled_beta(p: FloatArray, q: FloatArray, x: FloatArray) -> FloatArray:
    """``ln B(p, q) - p ln x - q ln(1-x)`` by Stirling's formula with its exact remainder.

    Differences of ``gammaln`` lose 1e-7 at n = 1e7. Here the large terms meet as
    ``(p + q) KL(p / (p + q) || x)``, whose rounding error is that of ``p - (p + q) x``.
    """
    n = p + q
    shift = p - n * x
    divergence = p * np.log1p(shift / (n * x)) + q * np.log1p(-shift / (n * (1 - x)))
    of_p, of_q, of_n = _stirling_remainder(np.stack(np.broadcast_arrays(p, q, n)))
    constant = of_p + of_q - of_n + 0.5 * np.log(2 * np.pi * n / (p * q))
    scaled: FloatArray = divergence + constant
    return scaled


def _stirling_remainder(z: FloatArray) -> FloatArray:
    """``ln Gamma(z) - (z - 1/2) ln z + z - ln(2 pi) / 2``, to about 1e-15."""
    small = z < 10
    inverse = 1 / np.maximum(z, 10.0)
    square = inverse * inverse
    series = np.full_like(z, _STIRLING[-1])
    for coefficient in _STIRLING[-2::-1]:
        series = series * square + coefficient
    series *= inverse
    if small.any():
        w = z[small]
        series[small] = special.gammaln(w) - (w - 0.5) * np.log(w) + w - 0.5 * np.log(2 * np.pi)
    remainder: FloatArray = series
    return remainder


def _continued_fraction(p: FloatArray, q: FloatArray, x: FloatArray, tail: Tail) -> FloatArray:
    """The scaled integral by modified Lentz steps; for an ``x`` on the ``tail`` side of p / (p+q)."""
    shift = p - (p + q) * x
    y = 1 - x
    if tail == "above":  # the mirror image t -> 1 - t; `shift` is kept, as 1 - (1 - x) is not x
        p, q, x, y, shift = q, p, y, x, -shift
    value = p * (shift + 1) / (p + 1)
    c, d = value.copy(), np.zeros_like(value)
    for m in range(1, _MAX_TERMS):
        width = p + 2 * m - 1
        numerator = (p + m - 1) * (p + q + m - 1) * m * (q - m) * (x / width) ** 2
        partial = m + m * (q - m) * x / width + (p + m) * (shift + 1 + m * (1 + y)) / (width + 2)
        d = 1 / (partial + numerator * d)
        c = partial + numerator / c
        step = c * d
        value = value * step
        if (np.abs(step - 1) < 1e-15).all():
            return -np.log(value)
    raise BackendError(
        f"the incomplete beta continued fraction did not converge in {_MAX_TERMS} terms; its "
        "arguments must be finite, positive and on the right side of the mean"
    )
