"""What is a table with its words, before a renderer has it?"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...numerics.detection.intervals import Ends


@dataclass(frozen=True)
class Told:
    """title, caption: of the section and its table. rows: the head and the cells. align: "l" or "r"
    a column, the first one "l"; "" is all "l". notes: what to know.
    """

    title: str
    caption: str
    rows: tuple[tuple[str, ...], ...]
    align: str
    notes: tuple[str, ...] = ()


def fraction(value: float) -> str:
    """A number in [0, 1] with three digits; 1.000 and 0.000 for nothing but 1 and 0.

    >>> fraction(0.98765), fraction(0.99999), fraction(1.0)
    ('0.988', '> 0.999', '1.000')
    """
    if 0 < value < 0.0005:
        return "< 0.001"
    return "> 0.999" if 0.9995 <= value < 1 else f"{value:.3f}"


def with_ends(ends: Ends, shown: bool) -> str:
    """The number and its interval, rounded outwards.

    >>> with_ends(Ends(0.9, 0.85234, 0.94411), True)
    '0.900 [0.852, 0.945]'
    """
    if not shown:
        return fraction(ends.value)
    low = math.floor(1000 * ends.low + 1e-9) / 1000
    high = math.ceil(1000 * ends.high - 1e-9) / 1000
    return f"{fraction(ends.value)} [{low:.3f}, {high:.3f}]"
