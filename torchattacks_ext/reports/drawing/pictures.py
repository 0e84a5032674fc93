"""How do images enter a file that loads nothing? PNG as data URIs, with their captions."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MissingExtra
from ...results.evaluation import GalleryItem
from ..words import number, one_line, rate

Pixels = NDArray[np.uint8]
_SMALLEST, _LARGEST = 96, 256


@dataclass(frozen=True)
class Picture:
    """One image of the page: `source` is a data URI; width, height: of display, in CSS pixels."""

    source: str
    alt: str
    label: str
    width: int
    height: int


@dataclass(frozen=True)
class Exhibit:
    """One image: its pictures (none where the pixels are no image) and what is known of it."""

    pictures: tuple[Picture, ...]
    title: str
    facts: tuple[tuple[str, str], ...]


def exhibits(items: Sequence[GalleryItem]) -> list[Exhibit]:
    """Clean, worst and amplified difference of every item. Raises MissingExtra without pillow."""
    return [_exhibit(item) for item in items]


def _exhibit(item: GalleryItem) -> Exhibit:
    name, stage = one_line(item.id, 40), one_line(item.stage, 40)
    wrong = item.prediction != item.label
    title = f"class {item.label}" + (f" → {item.prediction}" if wrong else "")
    answer = f", predicted class {item.prediction}" if wrong else ""
    facts = (
        ("image", name),
        ("stage", stage),
        ("failed draws", rate(item.p_fail)),
        ("margin", number(item.margin)),
    )
    clean, worst = _displayable(item.clean.numpy()), _displayable(item.worst.numpy())
    if clean is None or worst is None or clean.shape != worst.shape:
        return Exhibit((), title, facts)
    shift, factor = amplified(clean, worst)
    words = (
        (clean, "unchanged", f"image {name}, unchanged, true class {item.label}"),
        (
            worst,
            "changed",
            f"image {name} changed by {stage}{answer}",
        ),
        (
            shift,
            f"difference × {factor}",
            f"difference amplified {factor} times, grey is none",
        ),
    )
    return Exhibit(
        tuple(_picture(pixels, alt, label) for pixels, label, alt in words),
        title,
        facts,
    )


def _displayable(image: NDArray[Any]) -> Pixels | None:
    """(C, H, W) or (H, W) as grey (H, W) or colour (H, W, 3); else the mean of the channels."""
    if image.ndim == 2:
        image = image[None]
    if image.ndim != 3 or not image.size:
        return None
    if len(image) == 3:
        return np.ascontiguousarray(image.transpose(1, 2, 0), dtype=np.uint8)
    grey: Pixels = np.rint(image.mean(0)).astype(np.uint8)
    return grey


def amplified(clean: Pixels, worst: Pixels) -> tuple[Pixels, int]:
    """The difference around mid-grey, multiplied by the largest whole factor that clips nothing.

    >>> amplified(np.array([[10, 10]], np.uint8), np.array([[18, 6]], np.uint8))
    (array([[248,  68]], dtype=uint8), 15)
    """
    shift = worst.astype(np.int64) - clean.astype(np.int64)
    largest = int(np.abs(shift).max())
    factor = max(127 // largest, 1) if largest else 1
    return np.clip(128 + factor * shift, 0, 255).astype(np.uint8), factor


def _picture(pixels: Pixels, alt: str, label: str) -> Picture:
    height, width = pixels.shape[:2]
    scale: float = -(-_SMALLEST // width)
    if width > _LARGEST:
        scale = _LARGEST / width
    return Picture(
        f"data:image/png;base64,{base64.b64encode(_png(pixels)).decode('ascii')}",
        alt,
        label,
        round(width * scale),
        max(round(height * scale), 1),
    )


def _png(pixels: Pixels) -> bytes:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra(
            "pictures in the report need pillow; pip install pillow (torchvision brings it)"
        ) from error
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="PNG", optimize=True)
    return out.getvalue()
