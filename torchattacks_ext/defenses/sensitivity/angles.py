"""How likely is the linear head the more sensitive one, if angles are isotropic? The paper's law.

arXiv:2606.01746, eq. 8 and 11: |cos t_c| / |sin t_d| <= |cos g| suffices for the relative
sensitivity of the linear head to be at least the supremum of the distance's. t_c is the angle of a
feature and a row of the linear head, t_d of a feature and a centroid, g of the perturbation and the
row; isotropic: independent directions, uniform on the sphere of R^d.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy import integrate, special

from ...errors import ConfigError


def isotropic_law(v: float, d: int) -> float:
    """P(|cos t_c| / |sin t_d| <= v) for isotropic angles in R^d (eq. 11, normalised to 1).

    v = |cos g| held fixed, v >= 0; d >= 2. The inner integral of eq. 11 is an incomplete beta
    function, the outer one is done by quadrature, to about 1e-10. Raises ConfigError outside.

    >>> round(isotropic_law(0.5, 10), 8)
    0.8557312
    """
    if not v >= 0 or d < 2:
        raise ConfigError(f"v={v!r} must be >= 0 and d={d!r} a whole number >= 2")
    corners = [math.asin(1 / v)] if v > 1 else []
    return _mean(lambda a: _within(v * math.sin(a), d), d, corners)


def isotropic_probability(d: int) -> float:
    """P(eq. 8) where the perturbation is isotropic too, in R^d, d >= 2, to about 1e-8.

    The mean of :func:`isotropic_law` over |cos g|: two nested quadratures, some 20 ms.

    >>> round(isotropic_probability(10), 4)
    0.4803
    """
    return _mean(lambda g: isotropic_law(math.cos(g), d), d, [], 1e-9)


def _within(reach: float, d: int) -> float:
    """P(|cos t| <= reach) of the angle t between two isotropic directions of R^d."""
    return float(special.betainc(0.5, (d - 1) / 2, min(1.0, reach) ** 2))


def _mean(
    value: Callable[[float], float], d: int, corners: list[float], error: float = 1e-12
) -> float:
    """The mean of a function of such an angle in [0, pi/2], of density ~ sin^(d - 2)."""
    log_scale = math.log(2) + special.gammaln(d / 2) - special.gammaln((d - 1) / 2)
    log_scale -= 0.5 * math.log(math.pi)

    def inside(a: float) -> float:
        return math.exp(log_scale + (d - 2) * math.log(math.sin(a))) * value(a)

    # the density is a peak of width 1 / sqrt(d) at the right angle
    peak = [math.pi / 2 - c / math.sqrt(d) for c in (1, 3, 8)]
    points = sorted({c for c in (*peak, *corners) if 0 < c < math.pi / 2})
    ends = 1e-12, math.pi / 2
    found = integrate.quad(inside, *ends, points=points, limit=200, epsabs=error)
    return float(found[0])
