"""Where does each mark of a drawing lie? Histograms on a log axis and marks of intervals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..words import count, things

WIDTH, HEIGHT = 480, 236
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 26, 46
_ROOM = HEIGHT - _TOP - _BOTTOM - 14
"""Height of the tallest stack; its total stands above it."""
_PER_DECADE, _WIDEST = 4, 5.0
"""Bins a decade, halved where the values span more than so many decades."""
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
    """A histogram as it is drawn; legend: (kind, name, images); line: a marked value or None."""

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


Say = Callable[[float], str]


@dataclass(frozen=True)
class _Scale:
    """A log axis over whole decades, and its bins: (anchor 10^((k-1)/d), anchor 10^(k/d)].

    d: bins a decade.
    """

    anchor: float
    ceiling: float
    low: int
    high: int
    d: int = _PER_DECADE

    @classmethod
    def of(cls, values: list[float], anchor: float, ceiling: float) -> _Scale:
        """The axis that holds all values and whole bins; `anchor` is an edge of the bins."""
        wide = math.log10(max(values) / min(values)) > _WIDEST
        d = _PER_DECADE // 2 if wide else _PER_DECADE
        bare = cls(anchor, ceiling, 0, 1, d)
        least = min(*values, bare.sides(min(map(bare.bin, values)))[0])
        low = math.floor(math.log10(least) + 1e-9)
        return cls(
            anchor,
            ceiling,
            low,
            max(math.ceil(math.log10(max(values)) - 1e-9), low + 1),
            d,
        )

    @property
    def _last(self) -> float:
        """The last bin: it reaches from its own edge to the ceiling, wherever that lies."""
        if self.ceiling == math.inf:
            return math.inf
        return math.floor(self.d * math.log10(self.ceiling / self.anchor) + 1e-9)

    def bin(self, value: float) -> int:
        key = math.ceil(self.d * math.log10(value / self.anchor) - 1e-9)
        return int(min(key, self._last))

    def sides(self, key: int) -> tuple[float, float]:
        low, high = (self.anchor * 10 ** (k / self.d) for k in (key - 1, key))
        return low, self.ceiling if key == self._last else high

    def place(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return _LEFT + min(share, 1.0) * (WIDTH - _LEFT - _RIGHT)

    def ticks(self, say: Say) -> tuple[Mark, ...]:
        step = 1 + (self.high - self.low) // 8
        from_top = range(self.high, self.low - 1, -step)
        powers = [10.0**power for power in reversed(from_top)]
        return tuple(
            Mark(round(self.place(p), 2), HEIGHT - _BOTTOM, say(p)) for p in powers
        )


def log_histogram(
    groups: Mapping[str, list[float]],
    *,
    title: str,
    axis: str,
    anchor: float = 1.0,
    ceiling: float = math.inf,
    line: str = "",
    say: Say = lambda value: f"{value:,.4g}",
) -> Chart | None:
    """Stacked histogram of positive finite values, four bins a decade; None without any.

    groups: name ("not robust") -> values. anchor: a bin edge, values equal to it fall
    to its left; ceiling: the largest value that can be; line: the name of a line drawn
    at the anchor, "" for none. say: a value in words, for ticks and tooltips.

    >>> rates = {"robust": [0.009, 0.01], "open": [0.5]}
    >>> chart = log_histogram(rates, title="t", axis="a", anchor=0.01)
    >>> [bar.title for bar in chart.bars]
    ['0.005623 to 0.01: 2 images robust', '0.3162 to 0.5623: 1 image open']
    """
    kept = _positive(groups)
    every = [value for values in kept.values() for value in values]
    if not every:
        return None
    scale = _Scale.of(every + [anchor] * bool(line), anchor, ceiling)
    ends = [say(10.0**power) for power in (scale.low, scale.high)]
    bars, totals, tallest = _stacks(kept, scale, say)
    return Chart(
        title=title,
        description=f"{title}: {things(len(every), 'image')}, logarithmic axis from "
        f"{ends[0]} to {ends[1]}.",
        axis=axis,
        bars=bars,
        totals=totals,
        x_ticks=scale.ticks(say),
        y_ticks=_counts(tallest),
        legend=tuple((_kind(name), name, len(values)) for name, values in kept.items()),
        line=Mark(scale.place(anchor), _TOP, line) if line else None,
    )


def decade_table(
    groups: Mapping[str, list[float]],
    *,
    anchor: float = 1.0,
    ceiling: float = math.inf,
    say: Say = lambda value: f"{value:,.4g}",
) -> tuple[tuple[str, ...], ...]:
    """The same counts as words: a head, and a row for each decade that holds a value.

    Arguments as in :func:`log_histogram`; () without any value.

    >>> decade_table({"robust": [0.009, 0.01], "open": [0.5]}, anchor=0.01)
    (('range', 'robust', 'open'), ('0.001 to 0.01', '2', '0'), ('0.1 to 1', '0', '1'))
    """
    kept, scale = _positive(groups), _Scale(anchor, ceiling, 0, 1, 1)
    rows: dict[int, dict[str, int]] = {}
    for name, values in kept.items():
        for value in values:
            rows.setdefault(scale.bin(value), dict.fromkeys(kept, 0))[name] += 1
    if not rows:
        return ()
    found = [("range", *kept)]
    for key, counts in sorted(rows.items()):
        low, high = map(say, scale.sides(key))
        found.append((f"{low} to {high}", *map(count, counts.values())))
    return tuple(found)


def _positive(groups: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """The values that a log axis can hold; names without any are left out."""
    kept = {name: [v for v in vs if 0 < v < math.inf] for name, vs in groups.items()}
    return {name: values for name, values in kept.items() if values}


def _stacks(
    kept: Mapping[str, list[float]], scale: _Scale, say: Say
) -> tuple[tuple[Bar, ...], tuple[Mark, ...], int]:
    """The bars, the total over each stack, and the largest total."""
    bins: dict[int, dict[str, int]] = {}
    for name, values in kept.items():
        for value in values:
            stack = bins.setdefault(scale.bin(value), dict.fromkeys(kept, 0))
            stack[name] += 1
    tallest = max(sum(stack.values()) for stack in bins.values())
    bars, totals = [], []
    for key, stack in sorted(bins.items()):
        sides = scale.sides(key)
        left, right = (scale.place(side) for side in sides)
        x, width, y = left + 0.75, right - left - 1.5, float(HEIGHT - _BOTTOM)
        for name, number in stack.items():
            if number:
                height = max(number / tallest * _ROOM, _SMALLEST)
                y -= height
                text = f"{say(sides[0])} to {say(sides[1])}: {things(number, 'image')} {name}"
                x, y, width, height = (round(v, 2) for v in (x, y, width, height))
                bars.append(Bar(x, y, width, height, _kind(name), text))
        total = _short(sum(stack.values()))
        totals.append(Mark(round((left + right) / 2, 2), round(y - 4, 2), total))
    return tuple(bars), tuple(totals), tallest


def _counts(tallest: int) -> tuple[Mark, ...]:
    """At most five round numbers from 0."""
    steps = (lead * 10**power for power in itertools.count() for lead in (1, 2, 5))
    step = next(step for step in steps if tallest <= 4 * step)
    base = HEIGHT - _BOTTOM
    return tuple(
        Mark(_LEFT, round(base - number / tallest * _ROOM, 2), count(number))
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
