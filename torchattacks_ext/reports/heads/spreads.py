"""How do the fair numbers of several heads lie beside each other? Quantiles on one axis."""

from __future__ import annotations

import math

from ...errors import InputError
from ...results.heads import QUANTILES, HeadNumbers, HeadSensitivity, Spread
from ..drawing.axes import WIDTH, Axis, drawing, escape, figure, frame, limit, text_at
from ..words import number

_LEFT, _RIGHT, _TOP, _ROW = 60, WIDTH - 12, 26, 30
_REACH = 4.0
"""The axis ends at so many times the largest median: far tails must not press the rest."""
FAIR = {
    "normalised": (
        "(ii) loss of margin under attack, in clean margins",
        "Loss of margin under attack",
        "an error",
        "At 1 the margin is gone.",
    ),
    "reach": (
        "(iii) distance to the boundary over length of the change",
        "Distance to the boundary against the change of features",
        "as long",
        "Both in feature space: right of 1 no change of that length reaches another class.",
    ),
}


def fair_figure(result: HeadSensitivity, of: str = "reach") -> str:
    """Quantiles (5, 25, 50, 75, 95 %) of a fair number, a line a head; an HTML figure.

    of: "normalised" (ii) or "reach" (iii). Raises InputError for another.
    """
    if of not in FAIR:
        raise InputError(f"of={of!r} is not one of {tuple(FAIR)}")
    axis, title, mark, hint = FAIR[of]
    rows: list[tuple[HeadNumbers, Spread]] = []
    for head in result.heads:
        spread: Spread = getattr(head, of)
        if not math.isnan(spread[2]):
            rows.append((head, spread))
    if not rows:
        return figure(title, "", [], "No head has an image right: there is no figure.")
    most = max((s[2] for _, s in rows if math.isfinite(s[2])), default=1.0)
    ends = [v for _, s in rows for v in s if math.isfinite(v)] or [0.0]
    high = max(min(max(ends), _REACH * most), 1.1)
    low = min(0.0, max(min(ends), -high))
    base = _TOP + _ROW * len(rows) + 4
    x, y = Axis(low, 1.04 * high, _LEFT, _RIGHT), Axis(0.0, 1.0, base, _TOP)
    parts = [
        part
        for part in frame(x, Axis(0.2, 0.3, base, _TOP), axis, "")
        if "grid" not in part
    ]
    parts = [part for part in parts if f'x="{x.start - 6:g}"' not in part]
    parts += limit(x, 1.0, y.end, base, mark)
    for i, (head, spread) in enumerate(rows):
        parts += _line(head.name, spread, x, _TOP + _ROW * (i + 0.6))
    said = "; ".join(
        f"{head.name}: median {number(spread[2])}, {number(spread[0])} to {number(spread[-1])}"
        for head, spread in rows
    )
    cut = " Tails end at the axis." if max(ends) > x.high else ""
    caption = (
        "Thin: 5 to 95 %, thick: 25 to 75 %, dot: median, of images that are right."
        f"{cut} {hint}"
    )
    return figure(
        title, drawing(title, f"{title}: {said}.", base + 46, parts), [], caption
    )


def _line(name: str, spread: Spread, x: Axis, at: float) -> list[str]:
    def place(value: float) -> float:
        return x.place(min(max(value, x.low), x.high))

    thin, thick, middle = (spread[0], spread[-1]), (spread[1], spread[3]), spread[2]
    words = ", ".join(
        f"{100 * q:g} %: {number(value)}" for q, value in zip(QUANTILES, spread)
    )
    return [
        text_at("limit-name", x.start - 8, at + 4, name, "end"),
        f'<path class="axis" d="M{place(thin[0])} {at}H{place(thin[1])}"/>',
        f'<path class="span" d="M{place(thick[0])} {at}H{place(thick[1])}"/>',
        f'<circle class="dot" cx="{place(middle)}" cy="{at}" r="4">'
        f"<title>{escape(name)}: {words}</title></circle>",
    ]
