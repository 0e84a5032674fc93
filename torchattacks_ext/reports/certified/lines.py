"""How do certificates of different status compare? One picture, a line each by its status."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..drawing.axes import WIDTH, Axis, drawing, escape, figure, frame, text_at
from ..words import confidence_text, number, percent_of
from .curve import end_of, step_path
from .entries import Entry, short_time

_LEFT, _RIGHT, _TOP, _BASE, _HEIGHT = 46, WIDTH - 12, 26, 210, 256
_ROW, _FIRST = 26, 40
"""Height of a row of the picture of costs, and where the first one stands."""


def certified_lines(
    entries: Sequence[Entry],
    *,
    confidence: float = 0.95,
    title: str = "Certified accuracy by radius",
) -> str:
    """Share of images that are right and certified beyond a radius, a line a table.

    Colour and dashes go by the status alone, letters name the tables; one with a single radius
    (early stopping) is a mark. Whiskers: exact intervals where the letter stands. A ``<figure>``
    with a legend.
    """
    curves = [one for one in entries if one.table.fixed_radius is None]
    marks = [one.table.fixed_radius or 0.0 for one in entries if one not in curves]
    end = max([end_of(one.radii, ()) for one in curves] + [1.02 * m for m in marks])
    if end <= 0:
        return figure(title, "", [], "No image is certified: there is no curve.")
    x, y = Axis(0.0, end, _LEFT, _RIGHT), Axis(0.0, 1.0, _BASE, _TOP)
    parts = frame(x, y, axis_name(entries), "share of images")
    for i, one in enumerate(entries):
        only = one.table.fixed_radius
        at = only if only is not None else place_of(one, i, len(entries), end)
        if only is None:
            path = step_path(one.radii, x, y)
            parts.append(f'<path class="curve tier{one.rank}" d="{path}"/>')
        parts += _letter(one, at, x, y, confidence)
    said = "; ".join(
        f"{one.letter}, {one.name} ({one.tier}): {_first(one)}" for one in entries
    )
    legend = [(_key(one), f"{one.letter} {one.name}: {one.tier}") for one in entries]
    caption = (
        f"A line a table, drawn by its status. Whiskers: exact {confidence_text(confidence)} "
        "intervals at that radius. Lines of different status claim different things."
    )
    sizes = [len(one.table) for one in entries]
    keys = [(key, name, n) for (key, name), n in zip(legend, sizes)]
    return figure(
        title, drawing(title, f"{title}. {said}.", _HEIGHT, parts), keys, caption
    )


def certified_costs(
    entries: Sequence[Entry], *, title: str = "What a certificate costs"
) -> str:
    """Forward row-passes and seconds of one image, a row a table, on logarithmic axes.

    "" where no cost is known.
    """
    known = [one for one in entries if math.isfinite(one.forward)]
    if not known:
        return ""
    base = _FIRST + _ROW * len(known)
    parts, middle = [], WIDTH / 2
    panels = (
        ("forward row-passes an image", "forward", _LEFT, middle - 54, _count),
        ("seconds an image", "seconds", middle + 24, WIDTH - 66, short_time),
    )
    for name, kind, left, right, told in panels:
        values = [max(getattr(one, kind), 1e-6) for one in known]
        x = _decades(values, left, right)
        parts.append(text_at("axis-name", left, _FIRST - 24, name))
        parts += _ticks(x, base)
        for row, (one, value) in enumerate(zip(known, values)):
            at, height = x.place(math.log10(value)), _FIRST + _ROW * (row + 0.5)
            parts.append(f'<path class="grid" d="M{left} {height}H{at}"/>')
            parts.append(
                f'<circle class="dot tier{one.rank}" cx="{at}" cy="{height}" r="4"/>'
            )
            parts.append(text_at("tick", at + 8, height + 4, told(value)))
    for row, one in enumerate(known):
        parts.append(text_at("letter", 22, _FIRST + _ROW * (row + 0.5) + 4, one.letter))
    said = "; ".join(
        f"{one.letter}, {one.name}: {_count(one.forward)} row-passes, {short_time(one.seconds)}"
        for one in known
    )
    caption = "Letters as in the curves. Wall time on the machine of this run."
    return figure(
        title, drawing(title, f"{title}. {said}.", base + 30, parts), [], caption
    )


def axis_name(entries: Sequence[Entry]) -> str:
    """That of a converted table where there is one."""
    return max((one.axis for one in entries), key=len)


def _letter(one: Entry, eps: float, x: Axis, y: Axis, confidence: float) -> list[str]:
    """Interval, dot and letter of a table at one of its radii."""
    point = one.at(eps, confidence)
    assert point is not None
    at, middle = x.place(eps), y.place(point.value)
    name = f"{one.name}: {percent_of(point.value)} beyond {number(eps)}"
    return [
        f'<path class="curve tier{one.rank} whisker" d="M{at} {y.place(point.low)}V'
        f'{y.place(point.high)}"/>',
        f'<circle class="dot tier{one.rank}" cx="{at}" cy="{middle}" r="3.5"><title>'
        f"{escape(name)}</title></circle>",
        text_at("letter", at + 6, middle - 6, one.letter),
    ]


def place_of(one: Entry, i: int, n: int, end: float) -> float:
    """The radius at which the letter of table i of n stands: a quantile, equal curves apart."""
    own = one.radii[(one.radii > 0) & (one.radii <= end)]
    if not len(own):
        return end * (i + 0.5) / n
    return float(np.quantile(own, (i + 1) / (n + 1), method="lower"))


def _first(one: Entry) -> str:
    only = one.table.fixed_radius
    eps = 0.0 if only is None else only
    share = percent_of(one.table.certified_accuracy(eps).value)
    finite = one.radii[np.isfinite(one.radii) & (one.radii > 0)]
    more = f", largest radius {number(float(finite[-1]))}" if len(finite) else ""
    return f"{share} at radius {number(eps)}{more}"


def _key(one: Entry) -> str:
    return f'<path class="curve tier{one.rank}" d="M0 5H10"/>'


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else number(value)


def _decades(values: Sequence[float], left: float, right: float) -> Axis:
    """A log10 axis of whole powers around the values, at least one decade."""
    low = math.floor(math.log10(min(values)))
    return Axis(low, max(math.ceil(math.log10(max(values))), low + 1), left, right)


def _ticks(x: Axis, base: float) -> list[str]:
    parts = [f'<path class="axis" d="M{x.start} {base}H{x.end}"/>']
    step = max(1, round((x.high - x.low) / 3))
    for power in range(int(x.low), int(x.high) + 1, step):
        at = x.place(power)
        text = f"{10.0**power:,.0f}" if 0 <= power < 6 else f"1e{power}"
        parts.append(f'<path class="axis" d="M{at} {base}v4"/>')
        parts.append(text_at("tick", at, base + 17, text, "middle"))
    return parts
