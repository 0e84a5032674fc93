"""Where does a number lie on a linear axis, and how is a figure around it written as SVG?

Colours come from the classes of ``templates/report.css`` (light, dark, print), never from a style
attribute: a page with a strict content policy shows the figures as they are.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import InputError
from ..words import count, number, one_line

FloatArray = NDArray[np.float64]

WIDTH = 480
"""Width of every drawing, in its own units; the page scales it."""
_REACH = 5.0
"""An axis reaches at most so many interquartile ranges beyond the quartiles."""


@dataclass(frozen=True)
class Axis:
    """A linear axis: the value ``low`` lies at pixel ``start``, ``high`` at ``end``.

    >>> Axis(-2.0, 2.0, 0.0, 100.0).place(1.0)
    75.0
    """

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """The pixel of a value, to a tenth."""
        part = (value - self.low) / (self.high - self.low)
        return round(self.start + part * (self.end - self.start), 1)

    def ticks(self, most: int = 8) -> list[tuple[float, str]]:
        """At most so many round values inside, as (pixel, text).

        >>> Axis(-0.1, 0.42, 0.0, 52.0).ticks(4)
        [(10.0, '0'), (30.0, '0.2'), (50.0, '0.4')]
        """
        step = round_step((self.high - self.low) / most)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        steps = range(first, min(last, first + most) + 1)
        # k * step has float noise; a tenth of a thousandth of the step is none of its digits
        return [(self.place(k * step), signed(round_to(k * step, step))) for k in steps]


def round_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below ``least`` > 0.

    >>> round_step(0.03), round_step(1.0), round_step(11)
    (0.05, 1.0, 20.0)
    """
    power = 10.0 ** math.floor(math.log10(least))
    lead = next(lead for lead in (1, 2, 5, 10) if lead * power >= least * (1 - 1e-9))
    return lead * power


def round_to(value: float, step: float) -> float:
    """The value without digits far below the step.

    >>> round_to(0.1 * 3, 0.1)
    0.3
    """
    return round(value, max(0, 2 - math.floor(math.log10(step))))


def signed(value: float) -> str:
    """A number with a true minus sign.

    >>> signed(-2.0), signed(0.25)
    ('−2', '0.25')
    """
    text = number(value)
    return f"−{text[1:]}" if text.startswith("-") else text


def fences(values: FloatArray) -> tuple[float, float]:
    """The range worth drawing of finite values (N >= 1,): no outlier may press the rest together.

    All of them where they reach at most five interquartile ranges (or five units) beyond the
    quartiles; what lies outside is counted in words.

    >>> fences(np.array([-600.0, -3, -2, -1, 0]))
    (-13.0, 0.0)
    """
    quarter, three = np.quantile(values, [0.25, 0.75])
    reach = _REACH * max(float(three - quarter), 1.0)
    low, high = float(values.min()), float(values.max())
    return max(low, float(quarter) - reach), min(high, float(three) + reach)


def numbers(name: str, values: ArrayLike, n: int | None = None) -> FloatArray:
    """``values`` as float64 (N,). Raises InputError for another shape, or N other than ``n``.

    >>> numbers("x", [1, 2])
    array([1., 2.])
    """
    found = np.asarray(values)
    if found.ndim != 1 or n is not None and len(found) != n:
        wanted = "(N,)" if n is None else f"({n},)"
        raise InputError(
            f"{name} is {found.shape}, expected {wanted}: one entry a row, all arrays alike"
        )
    return found.astype(np.float64)


def frame(x: Axis, y: Axis, x_name: str, y_name: str) -> list[str]:
    """Grid lines, ticks and names of two axes; y.start is the base line."""
    parts = []
    for at, text in y.ticks(5):
        parts.append(f'<path class="grid" d="M{x.start} {at}H{x.end}"/>')
        parts.append(text_at("tick", x.start - 6, at + 4, text, "end"))
    parts.append(f'<path class="axis" d="M{x.start} {y.start}H{x.end}"/>')
    for at, text in x.ticks():
        parts.append(f'<path class="axis" d="M{at} {y.start}v4"/>')
        # half of a text stands right of its tick, some 6.5 units a letter
        inside = at + 3.3 * len(text) <= WIDTH
        ends = (at, "middle") if inside else (float(WIDTH), "end")
        parts.append(text_at("tick", ends[0], y.start + 17, text, ends[1]))
    middle = (x.start + x.end) / 2
    parts.append(text_at("axis-name", middle, y.start + 40, x_name, "middle"))
    parts.append(text_at("axis-name", x.start - 40, y.end - 13, y_name))
    return parts


def limit(axis: Axis, value: float, top: float, base: float, name: str) -> list[str]:
    """A dashed vertical line at a value, and its name ("" for none) above; [] outside the axis."""
    if not axis.low <= value <= axis.high:
        return []
    at = axis.place(value)
    side = "start" if at < 110 else "end" if at > WIDTH - 80 else "middle"
    line = [f'<path class="limit" d="M{at} {top - 8}V{base}"/>']
    return line + [text_at("limit-name", at, top - 13, name, side)] * bool(name)


def escape(text: object) -> str:
    """A text on one line that HTML and XML take as text.

    >>> escape("a<b>\\n'c'")
    'a&lt;b&gt; &#x27;c&#x27;'
    """
    return html.escape(one_line(text), quote=True)


def drawing(title: str, description: str, height: float, parts: Sequence[str]) -> str:
    """An ``<svg>`` with its text alternative: the name of it, then what it shows."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img"><title>{escape(title)}</title>'
        f"<desc>{escape(description)}</desc>{''.join(parts)}</svg>"
    )


def figure(
    title: str, svg: str, legend: Sequence[tuple[str, str, int]], caption: str
) -> str:
    """A ``<figure>``: title, drawing, legend of (drawn key, name, images), caption.

    Key and drawing are markup; all other words are escaped.
    """
    keys = "".join(
        '<li><svg class="key" viewBox="0 0 10 10" width="10" height="10" aria-hidden="true">'
        f"{key}</svg> {escape(name)} ({count(size)})</li>"
        for key, name, size in legend
    )
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>{svg}'
        + (f'<ul class="legend">{keys}</ul>' if keys else "")
        + (f'<p class="caption">{escape(caption)}</p>' if caption else "")
        + "</figure>"
    )


def text_at(kind: str, x: float, y: float, text: str, side: str = "start") -> str:
    """A text of a class of the style sheet at a place, escaped.

    >>> text_at("tick", 1.5, 2.0, "a<b")
    '<text class="tick" x="1.5" y="2" text-anchor="start">a&lt;b</text>'
    """
    return (
        f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{side}">'
        f"{escape(text)}</text>"
    )
