"""How is the table of a bound written as text? One line a layer; logarithms of what is huge."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...models.lipschitz.bound import LayerBound

HEAD = ("layer", "kind", "factor", "so far", "scope", "how")


def text(layers: Sequence[LayerBound]) -> str:
    """Columns of equal width: name, kind, factor, the bound so far, scope, how it was found.

    >>> print(text([LayerBound("0", "Linear", 2.0, "global", "SVD", 2.0)]))
    layer  kind    factor  so far  scope   how
    0      Linear  2       2       global  SVD
    """
    rows = [HEAD] + [
        (
            one.name,
            one.kind,
            number(one.value),
            number(one.total),
            one.scope,
            one.how,
        )
        for one in layers
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
        for row in rows
    )


def number(value: float) -> str:
    """Four digits, or a power of ten beyond a million.

    >>> number(2.5), number(3e12), number(0.0)
    ('2.5', '10^12.48', '0')
    """
    return f"10^{math.log10(value):.2f}" if 1e6 < value < math.inf else f"{value:.4g}"
