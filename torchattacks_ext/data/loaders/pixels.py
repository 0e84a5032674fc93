"""What are the pixels of an image file? RGB for every mode, deep ones on their own range."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from torch import Tensor

from ...errors import InputError

DEEP = 65535.0
"""The largest value of 16 bits."""


def open_image(file: str) -> Any:
    """An image of PIL, its pixels not read yet. Raises InputError for what is none."""
    try:
        return import_module("PIL.Image").open(file)
    except OSError as error:
        raise _damaged(file, error) from error


def read_image(file: str) -> Any:
    """One file as an image of PIL: RGB of 8 bits, or grey as floats in [0, 1] (mode F).

    16 bits are divided by 65535, floats in [0, 1] stay. Raises InputError for a damaged file, and
    for whole or real numbers whose range the file does not say.
    """
    with open_image(file) as image:
        flat = flat_image(image, file)
        return flat.convert("RGB") if flat.mode == "L" else flat


def flat_image(image: Any, where: str) -> Any:
    """An image of PIL as RGB, or as grey: of 8 bits (L), or floats in [0, 1] (F).

    Palettes and CMYK become RGB, one bit becomes grey, transparency is dropped, deep pixels are
    brought to their own range. where: for messages. Raises InputError as :func:`read_image`.
    """
    try:
        if image.mode == "F" or image.mode[0] == "I":
            return _deep(where, image)
        return image.convert("L" if image.mode in ("1", "L", "LA", "La") else "RGB")
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError) as error:
        raise _damaged(where, error) from error


def three_channels(pixels: Tensor) -> Tensor:
    """Grey pixels (1, H, W) three times, as an RGB image of a grey picture is; else unchanged.

    >>> import torch
    >>> three_channels(torch.zeros(1, 2, 2)).shape
    torch.Size([3, 2, 2])
    """
    return pixels.expand(3, -1, -1).clone() if len(pixels) == 1 else pixels


def _deep(file: str, image: Any) -> Any:
    """An image of modes I;16, I and F as floats in [0, 1]."""
    pixels = np.asarray(image).astype(np.float32)
    # PNG holds 16 bits at most; older versions of PIL call them I
    if image.mode.startswith("I;16") or (image.mode, image.format) == ("I", "PNG"):
        pixels /= np.float32(DEEP)
    low, high = (float(side) for side in (pixels.min(), pixels.max()))
    if image.mode == "I" and image.format != "PNG" or not 0 <= low <= high <= 1:
        raise InputError(
            f"{file} has mode {image.mode} with pixels from {low:g} to {high:g}, and what is white "
            "is not known; write it with 8 or 16 bits, or as floats in [0, 1]"
        )
    return import_module("PIL.Image").fromarray(pixels)


def _damaged(file: str, error: Exception) -> InputError:
    return InputError(
        f"{file} cannot be read as an image: {error}; remove or repair it"
    )
