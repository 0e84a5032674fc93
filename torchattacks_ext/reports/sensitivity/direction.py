"""In which direction of the pixels is the output most sensitive? A signed map beside the image."""

from __future__ import annotations

import base64
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import ConfigError, InputError
from ..drawing.axes import WIDTH, FloatArray, drawing, figure, signed, text_at
from ..drawing.pictures import Pixels, _displayable, _png
from ..words import one_line

Reduce = Literal["sum", "max"]
_PLUS, _MINUS = (196, 82, 32), (47, 124, 188)
"""Orange and blue of a middle lightness: both are seen on a light and on a dark page."""
_GAP, _TOP, _TALLEST = 12, 22, 300
_SHARE = 0.99
"""Colours end at this share of the pixels: a few strong ones must not bleach the rest."""
_STEPS = 21
_NOTE = "The sign of the direction as a whole is arbitrary; that pixels have opposite signs is not."
_CHANNELS = {"sum": "sum over channels", "max": "strongest channel"}


def eigenvector_map(
    u1: ArrayLike,
    image: ArrayLike | None = None,
    *,
    reduce: Reduce = "sum",
    title: str = "Direction of highest sensitivity",
    alt: str = "image",
) -> str:
    """The top eigenvector of the input Fisher information as a signed map; an HTML figure.

    Panels: the image, the map, the map over the grey image. Strength is opacity, so that zero is
    the colour of the page. Colours end at the 99th percentile of the size.

    Args:
        u1: (C, H, W) or (H, W) real numbers, in practice of norm 1; nan is drawn as 0.
        image: same shape, uint8 or in [0, 1], or None.
        reduce: over channels: ``"sum"``, or ``"max"``, the one of largest size with its sign.
        title, alt: plain text; ``alt`` names the image.

    Returns:
        ``<figure>`` for a page with the style sheet of the reports.

    Raises:
        InputError: another shape, or image and direction of different shapes.
        ConfigError: ``reduce`` is neither of the two.
        MissingExtra: without pillow.

    Example:
        >>> page = eigenvector_map(np.eye(4)[None], np.zeros((1, 4, 4)), alt="a <b>")
        >>> page.count("data:image/png;base64,"), "a &lt;b&gt;" in page
        (4, True)
    """
    if reduce not in get_args(Reduce):
        raise ConfigError(f"reduce={reduce!r} is neither 'sum' nor 'max'")
    flat, channels = _flat(u1, reduce)
    end = _end(flat)
    coloured = _coloured(flat, end)
    name = "u₁" if channels == 1 else f"u₁, {_CHANNELS[reduce]}"
    panels: list[tuple[str, list[tuple[Pixels, float]]]] = [(name, [(coloured, 1.0)])]
    if image is not None:
        pixels = _pixels(image, np.shape(u1))
        over = [(_grey(pixels), 0.45), (coloured, 1.0)]
        panels = [
            (one_line(alt, 24), [(pixels, 1.0)]),
            *panels,
            ("u₁ over the image", over),
        ]
    high, wide = flat.shape
    parts, base = _panels(panels, high / wide)
    said = f"Signed map of {high} by {wide} pixels"
    if end:
        parts += _bar(end, base + 22)
        said += f", colours from {signed(-end)} (blue) to {signed(end)} (orange)."
    else:
        said += ": zero everywhere, there is no direction."
    said = f"{said} {alt}" if image is not None else said
    svg = drawing(title, said, base + (50 if end else 8), parts)
    return figure(title, svg, [], _NOTE if end else "No direction: the map is zero.")


def _flat(u1: ArrayLike, reduce: str) -> tuple[FloatArray, int]:
    """(H, W) signed map, and the number of channels."""
    found = np.asarray(u1, dtype=np.float64)
    found = found[None] if found.ndim == 2 else found
    if found.ndim != 3 or not found.size:
        raise InputError(
            f"u1 is {np.shape(u1)}, expected (C, H, W) or (H, W): only images can be drawn"
        )
    found = np.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0)
    if reduce == "sum":
        return found.sum(axis=0), len(found)
    strongest = np.abs(found).argmax(axis=0)[None]
    return np.take_along_axis(found, strongest, axis=0)[0], len(found)


def _end(flat: FloatArray) -> float:
    """The size at which a pixel has its full colour; 0 for a map of zeros."""
    size = np.abs(flat)
    return float(np.quantile(size, _SHARE)) or float(size.max())


def _coloured(flat: FloatArray, end: float) -> Pixels:
    """(H, W, 4): the colour is the sign, the opacity the size."""
    share = np.clip(np.abs(flat) / (end or 1.0), 0.0, 1.0)
    colour = np.where((flat > 0)[..., None], _PLUS, _MINUS)
    opacity = np.rint(255 * share)[..., None]
    return np.concatenate([colour, opacity], axis=2).astype(np.uint8)


def _pixels(image: ArrayLike, shape: tuple[int, ...]) -> Pixels:
    found = np.asarray(image)
    shown = None
    if found.shape == shape:
        if found.dtype != np.uint8:
            unit = np.nan_to_num(found.astype(np.float64), nan=0.0)
            found = np.rint(255 * np.clip(unit, 0.0, 1.0)).astype(np.uint8)
        shown = _displayable(found)
    if shown is None:
        raise InputError(f"image is {found.shape}, expected {shape} like u1")
    return shown


def _grey(pixels: Pixels) -> Pixels:
    if pixels.ndim == 2:
        return pixels
    grey: NDArray[np.float64] = pixels.astype(np.float64).mean(axis=2)
    return np.rint(grey).astype(np.uint8)


def _panels(
    panels: list[tuple[str, list[tuple[Pixels, float]]]], aspect: float
) -> tuple[list[str], float]:
    """Three places side by side, layers on top of each other; where they end."""
    room = (WIDTH - 2 - 2 * _GAP) / 3  # frames keep their outer line
    high = min(room * aspect, _TALLEST)
    wide, parts = high / aspect, []
    side = (WIDTH - len(panels) * (room + _GAP) + _GAP) / 2
    for i, (name, layers) in enumerate(panels):
        middle = side + i * (room + _GAP) + room / 2
        left = middle - wide / 2
        place = f'x="{left:.1f}" y="{_TOP}" width="{wide:.1f}" height="{high:.1f}"'
        parts.append(text_at("tick", round(middle, 1), _TOP - 8, name, "middle"))
        for pixels, opacity in layers:
            parts.append(
                f'<image {place} opacity="{opacity:g}" preserveAspectRatio="none" '
                f'image-rendering="pixelated" href="{_uri(pixels)}"/>'
            )
        parts.append(f'<g class="heat"><rect class="frame" {place}/></g>')
    return parts, _TOP + round(high, 1)


def _uri(pixels: Pixels) -> str:
    return f"data:image/png;base64,{base64.b64encode(_png(pixels)).decode('ascii')}"


def _bar(end: float, top: float) -> list[str]:
    """What a colour means: from -end to end in steps."""
    wide, left = 10.0, (WIDTH - _STEPS * 10.0) / 2
    parts = []
    for i in range(_STEPS):
        share = 2 * i / (_STEPS - 1) - 1
        colour = "rgb({},{},{})".format(*(_PLUS if share > 0 else _MINUS))
        parts.append(
            f'<rect x="{left + i * wide:g}" y="{top:g}" width="{wide:g}" height="8" '
            f'fill="{colour}" fill-opacity="{abs(share):.2f}"/>'
        )
    whole = f'x="{left:g}" y="{top:g}" width="{_STEPS * wide:g}" height="8"'
    parts.append(f'<g class="heat"><rect class="frame" {whole}/></g>')
    for at, value in ((left, -end), (WIDTH / 2, 0.0), (WIDTH - left, end)):
        parts.append(text_at("tick", at, top + 22, signed(value), "middle"))
    return parts
