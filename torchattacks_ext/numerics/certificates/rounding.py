"""How is a float64 number moved to the safe side of the exact one?

Every operation of float64 is exact up to a factor 1 + d, |d| <= u = 2^-53, and a sum of n products
up to gamma_n = n u / (1 - n u) of the sum of their absolute values, in any order (Higham, "Accuracy
and stability of numerical algorithms", 2nd ed., Lemma 3.1 and Sec. 3.1). Bounds are made larger by
what that can be, so that they hold for the stored weights in exact arithmetic.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable

UNIT = 2.0**-53
"""The unit roundoff u of float64."""


def gamma(n: float) -> float:
    """n u / (1 - n u), the relative error of n operations of float64.

    >>> gamma(1) == UNIT / (1 - UNIT)
    True
    """
    return n * UNIT / (1 - n * UNIT)


def up(value: float, operations: int = 1) -> float:
    """A float64 that is at least the exact value of what was computed in so many operations.

    value: >= 0, computed from exact numbers by `operations` roundings that are each relative (no
    subtraction, no underflow). Zero stays zero.

    >>> up(0.1) > 0.1, up(0.0), up(1.0) - 1.0 < 1e-15
    (True, 0.0, True)
    """
    if value == 0:
        return 0.0
    return math.nextafter(value * (1 + 2 * operations * UNIT), math.inf)


def product(factors: Iterable[float]) -> float:
    """At least the product of numbers >= 0; 0 where one is 0, whatever the others.

    >>> product([2.0, 3.0]) >= 6, product([]), product([0.0, math.inf])
    (True, 1.0, 0.0)
    """
    found = 1.0
    factors = list(factors)
    if 0.0 in factors:
        return 0.0
    for factor in factors:
        if found == 1.0 or factor == 1.0:
            found = found * factor
        else:  # below the normal numbers roundings are not relative
            found = up(max(found * factor, sys.float_info.min))
    return found


def total(terms: Iterable[float]) -> float:
    """At least the sum of numbers >= 0.

    >>> total([0.1, 0.2]) >= 0.1 + 0.2, total([])
    (True, 0.0)
    """
    terms = [term for term in terms if term != 0]
    found = math.fsum(terms)
    return found if len(terms) < 2 else up(found)


def hypotenuse(terms: Iterable[float]) -> float:
    """At least the root of the sum of squares.

    >>> hypotenuse([3.0, 4.0]) - 5 < 1e-14, hypotenuse([2.0])
    (True, 2.0)
    """
    terms = [abs(term) for term in terms if term != 0]
    return terms[0] if len(terms) == 1 else up(math.hypot(*terms), 4 + len(terms))
