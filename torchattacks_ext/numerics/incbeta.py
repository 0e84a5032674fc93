"""How large is an incomplete beta integral, in logarithms, where the integral itself underflows?

The integrals ``int t^(p-1) (1-t)^(q-1) dt`` over ``t < x`` or ``t > x`` are taken in units of
``x^p (1-x)^q``. In a likelihood ratio against ``x`` that unit cancels, and the derivative of the
logarithm with respect to ``logit x`` costs nothing (see :func:`log_partial_beta`).

In the bulk the integral is scipy's ``betainc`` times the complete beta function. Where ``betainc``
would underflow, or come too near to 1, it is the continued fraction of Didonato and Morris (ACM
TOMS 18(3), 1992, BFRAC), which is of moderate size in these units and needs no floor.
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
_MAX_TERMS = 5_000
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)


def log_partial_beta(
    p: ArrayLike, q: ArrayLike, x: ArrayLike, tail: Tail
) -> FloatArray:
    """Return ``ln int t^(p-1) (1-t)^(q-1) dt - p ln x - q ln(1-x)`` over one side of ``x``.

    However small the integral is, no floor is put under it. The error is near 1e-14 of
    ``max(1, |value|)``, and stays below 1e-11 of it for ``p + q`` up to 1e9. With ``G`` the value,
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
        series[small] = (
            special.gammaln(w) - (w - 0.5) * np.log(w) + w - 0.5 * np.log(2 * np.pi)
        )
    remainder: FloatArray = series
    return remainder


def _continued_fraction(
    p: FloatArray, q: FloatArray, x: FloatArray, tail: Tail
) -> FloatArray:
    """ln of the scaled integral by modified Lentz steps; ``x`` lies on the ``tail`` side.

    That is below p / (p + q) for "below": there the fraction converges in a few terms.
    """
    shift = p - (p + q) * x
    y = 1 - x
    if tail == "above":  # t -> 1 - t; `shift` is kept, as 1 - (1 - x) is not x
        p, q, x, y, shift = q, p, y, x, -shift
    value = p * (shift + 1) / (p + 1)
    c, d = value.copy(), np.zeros_like(value)
    for m in range(1, _MAX_TERMS):
        width = p + 2 * m - 1
        numerator = (p + m - 1) * (p + q + m - 1) * m * (q - m) * (x / width) ** 2
        partial = (
            m
            + m * (q - m) * x / width
            + (p + m) * (shift + 1 + m * (1 + y)) / (width + 2)
        )
        d = 1 / (partial + numerator * d)
        c = partial + numerator / c
        step = c * d
        value = value * step
        if (np.abs(step - 1) < 1e-15).all():
            return -np.log(value)
    raise BackendError(
        f"the continued fraction of the incomplete beta function did not converge in "
        f"{_MAX_TERMS} terms; p and q must be finite and positive, and 0 < x < 1"
    )
