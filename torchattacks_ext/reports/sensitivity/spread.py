"""How is the sensitivity of a model spread over the images, and where in an image does it lie?

Pictures of the input-Fisher score lambda, the top eigenvalue of the Fisher information in the
input: a step of length h moves the output by a KL divergence of up to lambda h^2 / 2 nats, so its
unit is nats per squared pixel unit. All functions take arrays and return markup.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..drawing.axes import (
    WIDTH,
    Axis,
    FloatArray,
    drawing,
    fences,
    figure,
    frame,
    limit,
    numbers,
    round_step,
    signed,
    text_at,
)
from ..words import count, listing, things

LAMBDA = "log₁₀ λ (λ in nats per squared pixel unit)"
"""Name of the axis of the score."""
POINTS = 2000
"""Most points of a scatter."""

_LEFT, _RIGHT, _TOP, _BASE, _HEIGHT = 46, WIDTH - 12, 26, 190, 236
_MORE = 60
"""A scatter is so much taller than a histogram."""
_GROUPS = {True: ("correct", "incorrect"), False: ("images",)}
_MOST_BINS = 32
Mask = NDArray[np.bool_]
_SMALLEST = 1.5
"""Height of the smallest bar, so that one image beside a thousand stays visible."""
_KEYS = {
    "robust": '<rect class="bar robust" width="10" height="10"/>',
    "undecided": '<rect class="bar undecided" width="10" height="10"/>',
    "circle": '<circle class="bar robust" cx="5" cy="5" r="3.5"/>',
    "diamond": '<path class="bar not-robust" d="M5 0.6l4.4 4.4-4.4 4.4-4.4-4.4z"/>',
}


def lambda_histogram(
    log_lam: ArrayLike,
    *,
    saturated: ArrayLike | None = None,
    title: str = "Sensitivity of each image",
) -> str:
    """Histogram of log10 lambda over the images, with the median; an HTML figure.

    Saturated rows (the softmax rounds to one-hot, so lambda measures confidence there) are stacked
    in grey. Rows with lambda = 0, without a finite value, or far outside are counted below.

    Args:
        log_lam: (N,) natural logarithms of lambda; -inf where the gradient is zero.
        saturated: (N,) truth values, or None.
        title: plain text.

    Returns:
        ``<figure>`` for a page with the style sheet of the reports.

    Raises:
        InputError: arrays of another shape or of different lengths.

    Example:
        >>> page = lambda_histogram([0.0, -2.3, float("-inf")], title="net <a>")
        >>> "net &lt;a&gt;" in page, "1 image with zero gradient" in page
        (True, True)
    """
    values = numbers("log_lam", log_lam) / math.log(10)
    grey = _mask("saturated", saturated, len(values))
    inside, low, high = _window(values)
    left_out = _left_out(values, inside)
    if not inside.any():
        return _empty(title, left_out)
    width, first, bins = _bins(low, high)
    x = Axis(first * width, (first + bins) * width, _LEFT, _RIGHT)
    stacks = [
        np.bincount(_keys(values[inside & part], width, first, bins), minlength=bins)
        for part in (~grey, grey)
    ]
    tallest = int((stacks[0] + stacks[1]).max())
    y = Axis(0.0, max(tallest * 1.08, 4.0), _BASE, _TOP)
    middle = float(np.median(values[np.isfinite(values)]))
    parts = frame(x, y, LAMBDA, "images") + _bars(stacks, x, y, width)
    parts += limit(x, middle, _TOP, _BASE, f"median {signed(middle)}")
    said = _spread(title, values, inside)
    names = (
        ("robust", "not saturated"),
        ("undecided", "saturated (p_max rounds to 1)"),
    )
    legend = [
        (_KEYS[kind], name, int(stack.sum()))
        for (kind, name), stack in zip(names, stacks)
    ]
    return figure(
        title,
        drawing(title, f"{said} {left_out}".strip(), _HEIGHT, parts),
        legend if grey.any() else [],
        left_out,
    )


def lambda_scatter(
    log_lam: ArrayLike,
    margin: ArrayLike,
    correct: ArrayLike | None = None,
    *,
    margin_name: str = "margin of the label (logits)",
    title: str = "Sensitivity against margin",
    points: int = POINTS,
) -> str:
    """Scatter of log10 lambda against a margin, wrong answers as diamonds; an HTML figure.

    Args:
        log_lam: (N,) natural logarithms of lambda.
        margin: (N,) real numbers, in the unit that ``margin_name`` says.
        correct: (N,) truth values: the clean answer is right; None where no labels are known.
        margin_name: name and unit of the horizontal axis.
        title: plain text.
        points: most marks drawn, at least 2. Of more, each group keeps its share: those at even
            steps of the rows sorted by margin, whatever order they came in.

    Returns:
        ``<figure>`` for a page with the style sheet of the reports.

    Raises:
        InputError: arrays of another shape or of different lengths.

    Example:
        >>> page = lambda_scatter([0.0, -1.0], [1.0, -0.5], [True, False])
        >>> page.count("<circle"), page.count('<path class="bar not-robust"')
        (2, 1)
    """
    down = numbers("log_lam", log_lam) / math.log(10)
    across = numbers("margin", margin, len(down))
    right = _mask("correct", correct, len(down))
    inside, low, high = _window(down, np.isfinite(across))
    near, left, wide = _window(across, inside)
    left_out = _left_out(down, near, across)
    if not near.any():
        return _empty(title, left_out)
    x = Axis(*_padded(left, wide), _LEFT, _RIGHT)
    y = Axis(*_padded(low, high), _BASE + _MORE, _TOP)
    parts, known = frame(x, y, margin_name, LAMBDA), correct is not None
    if known and x.low < 0 < x.high:
        parts += limit(x, 0.0, _TOP + 8, y.start, "")
    groups = [near & right, near & ~right] if known else [near]
    legend, drawn = [], 0
    for group, shape, name in zip(groups, ("circle", "diamond"), _GROUPS[known]):
        most = max(2, math.ceil(points * group.sum() / near.sum()))
        at = _thinned(across[group], down[group], most)
        drawn += len(at)
        parts += _marks(at, x, y, shape)
        legend.append((_KEYS[shape], name, int(group.sum())))
    if drawn < near.sum():
        some = f"{count(drawn)} of {things(int(near.sum()), 'image')} drawn."
        left_out = f"{some} {left_out}".strip()
    said = f"{_spread(title, down, near)} {margin_name} from {signed(left)} to {signed(wide)}."
    svg = drawing(title, f"{said} {left_out}".strip(), _HEIGHT + _MORE, parts)
    return figure(title, svg, legend, left_out)


def _mask(name: str, values: ArrayLike | None, n: int) -> Mask:
    if values is None:
        return np.zeros(n, dtype=bool)
    return numbers(name, values, n).astype(bool)


def _window(values: FloatArray, also: Mask | None = None) -> tuple[Mask, float, float]:
    """The rows worth drawing, and the range that they lie in."""
    usable = np.isfinite(values) if also is None else np.isfinite(values) & also
    if not usable.any():
        return usable, math.nan, math.nan
    low, high = fences(values[usable])
    inside = usable & (values >= low) & (values <= high)
    return inside, float(values[inside].min()), float(values[inside].max())


def _left_out(
    values: FloatArray, inside: Mask, across: FloatArray | None = None
) -> str:
    """What is not drawn and why, in words; "" where all is."""
    odd = ~np.isfinite(values) if across is None else ~np.isfinite(values + across)
    zero = np.isneginf(values)
    found = (
        (int(zero.sum()), "{} with zero gradient"),
        (int((odd & ~zero).sum()), "{} without a finite value"),
        (int((~inside & ~odd).sum()), "{} far outside the axes"),
    )
    told = [text.format(things(size, "image")) for size, text in found if size]
    return f"Not drawn: {listing(told)}." if told else ""


def _spread(title: str, values: FloatArray, inside: Mask) -> str:
    """The drawn scores in one sentence, for those who do not see them."""
    low, quarter, middle, three, high = (
        signed(float(value))
        for value in np.quantile(values[inside], [0, 0.25, 0.5, 0.75, 1])
    )
    return (
        f"{title}: {things(int(inside.sum()), 'image')}, log10 of lambda from {low} to {high}, "
        f"median {middle}, quartiles {quarter} and {three}."
    )


def _empty(title: str, left_out: str) -> str:
    """A figure that says that there is nothing to draw."""
    said = "No image with a finite value."
    word = text_at("axis-name", WIDTH / 2, 34, said, "middle")
    return figure(title, drawing(title, f"{said} {left_out}", 60, [word]), [], left_out)


def _bins(low: float, high: float) -> tuple[float, int, int]:
    """Width of a bin, number of the first, how many; edges are whole multiples of the width."""
    if high - low < 1:  # a decade at least, or two like images stand a page apart
        low, high = (low + high - 1) / 2, (low + high + 1) / 2
    width = max(round_step((high - low) / _MOST_BINS), 0.1)
    first = math.floor(low / width + 1e-9)
    return width, first, math.ceil(high / width - 1e-9) - first


def _keys(values: FloatArray, width: float, first: int, bins: int) -> NDArray[np.int64]:
    found = np.floor(values / width + 1e-9).astype(np.int64) - first
    return np.clip(found, 0, bins - 1)


def _bars(stacks: list[NDArray[np.int64]], x: Axis, y: Axis, width: float) -> list[str]:
    parts = []
    for i in range(len(stacks[0])):
        low, base = x.low + i * width, y.start
        left, right = x.place(low), x.place(low + width)
        for stack, kind, name in zip(
            stacks, ("robust", "undecided"), ("", " saturated")
        ):
            if not stack[i]:
                continue
            tall = max(y.start - y.place(float(stack[i])), _SMALLEST)
            base -= tall
            ends = (signed(float(f"{end:.6g}")) for end in (low, low + width))
            said = f"{' to '.join(ends)}: {things(int(stack[i]), 'image')}{name}"
            gap = min(0.75, (right - left) / 4)
            parts.append(
                f'<rect class="bar {kind}" x="{left + gap:.2f}" y="{base:.2f}" '
                f'width="{right - left - 2 * gap:.2f}" height="{tall:.2f}">'
                f"<title>{said}</title></rect>"
            )
    return parts


def _padded(low: float, high: float) -> tuple[float, float]:
    """A little room at both ends; a range of its own for one value."""
    room = 0.04 * (high - low) or max(abs(low), 1.0) / 2
    return low - room, high + room


def _thinned(across: FloatArray, down: FloatArray, most: int) -> FloatArray:
    """(M <= most, 2) of the points: even steps along the margin, its two ends among them."""
    order = np.lexsort((down, across))
    if len(order) > most:
        order = order[np.linspace(0, len(order) - 1, most).round().astype(np.int64)]
    return np.stack([across[order], down[order]], axis=1)


def _marks(at: FloatArray, x: Axis, y: Axis, shape: str) -> list[str]:
    places = [(x.place(float(a)), y.place(float(b))) for a, b in at]
    if shape == "circle":
        drawn = (f'<circle cx="{a:g}" cy="{b:g}" r="2.3"/>' for a, b in places)
    else:
        drawn = (
            f'<path d="M{a:g} {b - 3.2:g}l3.2 3.2-3.2 3.2-3.2-3.2z"/>'
            for a, b in places
        )
    kind = "robust" if shape == "circle" else "not-robust"
    return [f'<g class="bar {kind}" fill-opacity="0.55">{"".join(drawn)}</g>'] * bool(
        places
    )
