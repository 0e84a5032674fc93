"""Where does each mark of a drawing lie? Histograms on a log axis and interval marks, as numbers only."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .words import count, things

WIDTH, HEIGHT = 480, 236
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 26, 46
_PER_DECADE = 4
_SMALLEST = 1.5
"""Height of the smallest stack, so that one image beside a thousand stays visible."""


@dataclass(frozen=True)
class Bar:
    """A rectangle; kind: its class in the style sheet; title: what a pointer shows."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True)
class Mark:
    """A text at a place of the axis, or above a stack of bars."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Chart:
    """A histogram as it is drawn; legend: (kind, name, number of images); line: a marked value or None."""

    title: str
    description: str
    axis: str
    bars: tuple[Bar, ...]
    totals: tuple[Mark, ...]
    x_ticks: tuple[Mark, ...]
    y_ticks: tuple[Mark, ...]
    legend: tuple[tuple[str, str, int], ...]
    line: Mark | None
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    base: float = HEIGHT - _BOTTOM
    top: float = _TOP


def log_histogram(
    groups: Mapping[str, list[float]],
    *,
    title: str,
    axis: str,
    anchor: float = 1.0,
    line: str = "",
    say: Callable[[float], str] = lambda value: f"{value:,.4g}",
) -> Chart | None:
    """Stacked histogram of positive finite values with four bins a decade; None without any value.

    groups: name ("not robust") -> values. anchor: a bin edge, values equal to it fall to its left; line:
    the name of a line drawn there, "" for none. say: a value in words, for ticks and tooltips.

    >>> chart = log_histogram({"robust": [0.009, 0.01], "open": [0.5]}, title="t", axis="a", anchor=0.01)
    >>> [bar.title for bar in chart.bars]
    ['0.005623 to 0.01: 2 images robust', '0.3162 to 0.5623: 1 image open']
    """
    kept = {
        name: [v for v in values if 0 < v < math.inf] for name, values in groups.items()
    }
    kept = {name: values for name, values in kept.items() if values}
    if not kept:
        return None
    bins: dict[int, dict[str, int]] = {}
    for name, values in kept.items():
        for value in values:
            key = math.ceil(_PER_DECADE * math.log10(value / anchor) - 1e-9)
            stack = bins.setdefault(key, dict.fromkeys(kept, 0))
            stack[name] += 1
    shown = [v for values in kept.values() for v in values] + [anchor] * bool(line)
    least = min(*shown, anchor * 10 ** ((min(bins) - 1) / _PER_DECADE))
    low = math.floor(math.log10(least) + 1e-9)
    high = max(math.ceil(math.log10(max(shown)) - 1e-9), low + 1)

    def place(value: float) -> float:
        share = (math.log10(value) - low) / (high - low)
        return _LEFT + min(share, 1.0) * (WIDTH - _LEFT - _RIGHT)

    tallest = max(sum(stack.values()) for stack in bins.values())
    bars, totals = _stacks(bins, anchor, tallest, place, say)
    total = sum(len(values) for values in kept.values())
    return Chart(
        title=title,
        description=f"{title}: {things(total, 'image')}, logarithmic axis from {say(10.0**low)} to "
        f"{say(10.0**high)}.",
        axis=axis,
        bars=tuple(bars),
        totals=tuple(totals),
        x_ticks=_decades(low, high, place, say),
        y_ticks=_counts(tallest),
        legend=tuple((_kind(name), name, len(values)) for name, values in kept.items()),
        line=Mark(place(anchor), _TOP, line) if line else None,
    )


def _stacks(
    bins: Mapping[int, Mapping[str, int]],
    anchor: float,
    tallest: int,
    place: Callable[[float], float],
    say: Callable[[float], str],
) -> tuple[list[Bar], list[Mark]]:
    bars, totals = [], []
    for key in sorted(bins):
        sides = [anchor * 10 ** ((key + d) / _PER_DECADE) for d in (-1, 0)]
        left, right = place(sides[0]), place(sides[1])
        y = float(HEIGHT - _BOTTOM)
        for name, number in bins[key].items():
            if number:
                height = max(
                    number / tallest * (HEIGHT - _TOP - _BOTTOM - 14), _SMALLEST
                )
                y -= height
                text = f"{say(sides[0])} to {say(sides[1])}: {things(number, 'image')} {name}"
                bar = (
                    round(v, 2)
                    for v in (left + 0.75, y, max(right - left - 1.5, 1), height)
                )
                bars.append(Bar(*bar, _kind(name), text))
        total = sum(bins[key].values())
        totals.append(
            Mark(round((left + right) / 2, 2), round(y - 4, 2), _short(total))
        )
    return bars, totals


def _decades(
    low: int, high: int, place: Callable[[float], float], say: Callable[[float], str]
) -> tuple[Mark, ...]:
    step = 1 + (high - low) // 8
    powers = range(low, high + 1, step)
    return tuple(
        Mark(round(place(10.0**p), 2), HEIGHT - _BOTTOM, say(10.0**p)) for p in powers
    )


def _counts(tallest: int) -> tuple[Mark, ...]:
    """At most five round numbers from 0."""
    steps = (lead * 10**power for power in itertools.count() for lead in (1, 2, 5))
    step = next(step for step in steps if tallest <= 4 * step)
    base, room = HEIGHT - _BOTTOM, HEIGHT - _TOP - _BOTTOM - 14
    return tuple(
        Mark(_LEFT, round(base - number / tallest * room, 2), count(number))
        for number in range(0, tallest + 1, step)
    )


def _kind(name: str) -> str:
    return name.replace(" ", "-")


def _short(number: int) -> str:
    return str(number) if number < 10_000 else f"{number / 1000:.0f}k"


TRACK = 132
"""Width of the drawing of one interval."""


def interval_mark(estimate: tuple[float, float, float]) -> dict[str, float]:
    """Where value and ends of an interval of shares lie on a track from 0 to 100 %.

    >>> interval_mark((0.5, 0.25, 0.75))
    {'value': 66.0, 'low': 35.0, 'high': 97.0}
    """
    return {
        name: round(4 + share * (TRACK - 8), 2)
        for name, share in zip(("value", "low", "high"), estimate)
    }
