"""At which angles do features, or their changes, stand to the rows of a head? With fitted laws."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...errors import InputError
from ...results.heads import AngleLaw, HeadNumbers
from ..drawing.axes import WIDTH, Axis, drawing, figure, frame, limit
from ..words import number, things

_LEFT, _RIGHT, _TOP, _BASE, _HEIGHT = 46, WIDTH - 12, 26, 190, 236
_STYLE = {
    "own": ("robust", "own class"),
    "other": ("undecided", "other classes"),
}
_OF = {
    "features": "angle of features and rows of the head, degrees",
    "step": "angle of the change of features and rows of the head, degrees",
}
_CORNERS = 180
"""Of the curve of a law."""


def angle_histogram(
    head: HeadNumbers, of: str = "features", *, title: str | None = None
) -> str:
    """Histogram of the angles of one head, own class and others, with the law fitted to each.

    Args:
        head: of a :class:`~torchattacks_ext.results.heads.HeadSensitivity`.
        of: "features", or "step": the change of the features under attack.
        title: plain text.

    Returns:
        ``<figure>`` for a page with the style sheet of the reports. Each group has the area 1 (in
        shares a degree), however many classes there are.

    Raises:
        InputError: another `of`.
    """
    if of not in _OF:
        raise InputError(f"of={of!r} is not one of {tuple(_OF)}")
    what = {"features": "features", "step": "the change under attack"}[of]
    name = title or f"Angles of {what} and head {head.name!r}"
    laws = [law for law in head.laws if law.of == of and law.n]
    if not laws:
        return figure(name, "", [], "No angle was measured: there is no histogram.")
    low, high = _range(laws)
    step = 180 / len(laws[0].counts)
    heights = {law.among: np.array(law.counts) / law.n / step for law in laws}
    curves = {law.among: _curve(law, low, high) for law in laws}
    tall = max(float(one.max()) for one in heights.values())
    tall = max(tall, min(2 * tall, *(max(y for _, y in c) for c in curves.values())))
    x, y = Axis(low, high, _LEFT, _RIGHT), Axis(0.0, 1.08 * tall, _BASE, _TOP)
    parts = frame(x, y, _OF[of], "share a degree")
    for law in laws:
        parts += _bars(law, heights[law.among], step, x, y)
    for among in curves:
        parts += _line(curves[among], x, y, 1.08 * tall)
    parts += limit(x, 90.0, _TOP, _BASE, "90°")
    said = "; ".join(_words(law) for law in laws)
    legend = [
        (f'<rect class="bar {kind}" width="10" height="10"/>', words, law.n)
        for law in laws
        for kind, words in [_STYLE[law.among]]
    ]
    caption = (
        "Dashed: the Gaussian cut to [0, 180°] that fits best (gap: largest difference of shares)."
        f" By law: {said}."
    )
    return figure(
        name, drawing(name, f"{name}: {said}.", _HEIGHT, parts), legend, caption
    )


def _words(law: AngleLaw) -> str:
    centre, width = (number(math.degrees(x)) for x in (law.mean, law.deviation))
    return (
        f"{_STYLE[law.among][1]}: {centre} ± {width}°, gap {number(law.gap, 2)}, "
        f"{things(law.n, 'angle')}"
    )


def _range(laws: Sequence[AngleLaw]) -> tuple[float, float]:
    """The bins that hold anything, one more at each side, and the right angle."""
    step = 180 / len(laws[0].counts)
    filled = [np.flatnonzero(law.counts) for law in laws]
    low = min(int(one[0]) for one in filled) * step - step
    high = (max(int(one[-1]) for one in filled) + 1) * step + step
    return max(min(low, 87.0), 0.0), min(max(high, 93.0), 180.0)


def _curve(law: AngleLaw, low: float, high: float) -> list[tuple[float, float]]:
    """Corners (degrees, density a degree) of the fitted law, in its range."""
    mean, width = law.mean, law.deviation
    at = np.radians(np.linspace(low, high, _CORNERS))
    ends = [(side - mean) / (width * math.sqrt(2)) for side in (0.0, math.pi)]
    mass = (math.erf(ends[1]) - math.erf(ends[0])) / 2
    if not mass > 0:
        return [(low, 0.0)]
    scale = math.pi / 180 / (mass * width * math.sqrt(2 * math.pi))
    heights = scale * np.exp(-(((at - mean) / width) ** 2) / 2)
    return [(float(a), float(h)) for a, h in zip(np.degrees(at), heights)]


def _bars(
    law: AngleLaw,
    heights: np.ndarray[tuple[int], np.dtype[np.float64]],
    step: float,
    x: Axis,
    y: Axis,
) -> list[str]:
    kind, words = _STYLE[law.among]
    parts = []
    for i in np.flatnonzero(law.counts):
        left, right = x.place(i * step), x.place((i + 1) * step)
        top = min(y.place(float(heights[i])), y.start - 1.0)
        said = f"{i * step:g} to {(i + 1) * step:g}°: {things(law.counts[i], 'angle')}, {words}"
        parts.append(
            f'<rect x="{left + 0.4:.1f}" y="{top:g}" width="{right - left - 0.8:.1f}" '
            f'height="{y.start - top:.1f}"><title>{said}</title></rect>'
        )
    return [f'<g class="bar {kind}" fill-opacity="0.65">{"".join(parts)}</g>']


def _line(
    corners: list[tuple[float, float]], x: Axis, y: Axis, top: float
) -> list[str]:
    at = [f"{x.place(a)} {y.place(min(h, top))}" for a, h in corners]
    return [f'<path class="limit" fill="none" d="M{"L".join(at)}"/>']
