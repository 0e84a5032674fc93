"""How many images are certified beyond each radius? A falling step curve with its interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ...numerics.rates.binomial import clopper_pearson
from ..drawing.axes import (
    WIDTH,
    Axis,
    FloatArray,
    drawing,
    escape,
    figure,
    frame,
    limit,
    numbers,
)
from ..words import confidence_text, count, number, percent, things

_LEFT, _RIGHT, _TOP, _BASE, _HEIGHT = 46, WIDTH - 12, 26, 210, 256
_POINTS, _BAND = 400, 60
"""Most steps of the curve, and corners of each side of the band."""
_SHARE = 0.995
"""The axis ends beyond this share of the radii: a few far ones must not press the rest together."""


def certified_curve(
    radii: ArrayLike,
    *,
    tier: str = "certified",
    marks: Sequence[float] = (),
    confidence: float = 0.95,
    title: str = "Certified accuracy",
) -> str:
    """Share of images that are right and certified beyond a radius, against that radius.

    Args:
        radii: (N,) L2 radii in pixel units; < 0 for images that are not right, inf allowed.
        tier: what the radii may be called; it stands in the picture.
        marks: radii at which a point is drawn.
        confidence: of the intervals, in (0, 1).
        title: plain text.

    Returns:
        ``<figure>`` for a page with the style sheet of the reports. The band joins exact intervals
        (Clopper & Pearson 1934), each of one radius.

    Raises:
        InputError: ``radii`` is no (N,) array. ConfigError: another confidence.

    Example:
        >>> page = certified_curve([0.2, 0.5, -1.0], title="net <a>", marks=[0.25])
        >>> "net &lt;a&gt;" in page, page.count("<circle")
        (True, 1)
    """
    found = np.sort(numbers("radii", radii))
    end = end_of(found, marks)
    if not len(found) or end <= 0:
        return figure(title, "", [], "No image is certified: there is no curve.")
    x, y = Axis(0.0, end, _LEFT, _RIGHT), Axis(0.0, 1.0, _BASE, _TOP)
    parts = frame(x, y, "L2 radius in pixel units", "share of images")
    parts += _band(found, x, y, confidence)
    parts.append(f'<path class="curve" d="{step_path(found, x, y)}"/>')
    for eps in marks:
        if 0 <= eps <= end:
            parts += _mark(found, eps, x, y)
    beyond = int((found > end).sum())
    said = (
        f"{title}, {tier}: falls from {percent(int((found > 0).sum()), len(found))} at radius 0 to "
        f"{percent(beyond, len(found))} at {number(end)}."
    )
    more = f" {things(beyond, 'image')} beyond the right end." if beyond else ""
    caption = (
        f"Status: {tier}. Band: exact {confidence_text(confidence)} intervals, each for one "
        f"radius; {count(len(found))} images.{more}"
    )
    return figure(title, drawing(title, said, _HEIGHT, parts), [], caption)


def end_of(found: FloatArray, marks: Sequence[float]) -> float:
    """The radius at which the axis of sorted radii ends; 0 where none is above 0.

    >>> end_of(np.array([-1.0, 0.5, 1.0]), [])
    1.02
    """
    finite = found[np.isfinite(found) & (found > 0)]
    most = float(np.quantile(finite, _SHARE)) if len(finite) else 0.0
    if not len(finite) and bool((found > 0).any()):
        most = 1.0  # all are infinite: any axis shows them
    if len(finite) and finite[-1] <= 1.25 * most:
        most = float(finite[-1])
    return max(most * 1.02, *(1.02 * m for m in marks), 0.0)


def _shares(found: FloatArray, at: FloatArray) -> FloatArray:
    """Part of the sorted radii above each value."""
    above: FloatArray = 1.0 - np.searchsorted(found, at, side="right") / len(found)
    return above


def step_path(found: FloatArray, x: Axis, y: Axis) -> str:
    """The path of the share of sorted radii above each value of the axis."""
    inside = found[(found > 0) & (found <= x.high)]
    if len(inside) > _POINTS:
        inside = inside[np.linspace(0, len(inside) - 1, _POINTS).round().astype(int)]
    start = float(_shares(found, np.zeros(1))[0])
    path = f"M{x.place(0)} {y.place(start)}"
    for value in np.unique(inside):
        share = float(_shares(found, np.array([value]))[0])
        path += f"H{x.place(float(value))}V{y.place(share)}"
    return f"{path}H{x.place(x.high)}"


def _band(found: FloatArray, x: Axis, y: Axis, confidence: float) -> list[str]:
    at = np.linspace(0.0, x.high, _BAND)
    low, high = _interval(_shares(found, at), len(found), confidence)
    there = [f"{x.place(float(a))} {y.place(float(h))}" for a, h in zip(at, high)]
    back = [f"{x.place(float(a))} {y.place(float(h))}" for a, h in zip(at, low)]
    return [f'<path class="area" d="M{"L".join(there + back[::-1])}Z"/>']


def _mark(found: FloatArray, eps: float, x: Axis, y: Axis) -> list[str]:
    share = float(_shares(found, np.array([eps]))[0])
    at, middle = x.place(eps), y.place(share)
    name = f"{percent(round(share * len(found)), len(found))} beyond {number(eps)}"
    return [
        *limit(x, eps, middle + 8, y.start, ""),
        f'<circle class="dot" cx="{at}" cy="{middle}" r="3.5"><title>{escape(name)}</title>'
        "</circle>",
    ]


def _interval(
    share: FloatArray, n: int, confidence: float
) -> tuple[FloatArray, FloatArray]:
    low, high = clopper_pearson(np.rint(share * n).astype(np.int64), n, confidence)
    return np.asarray(low), np.asarray(high)
