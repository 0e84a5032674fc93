"""Which photographs of frost does a folder hold?"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError, MissingExtra
from ...numerics.quantise import LEVELS
from .light import grey
from .table import Parameters

SUFFIXES = (".png", ".jpg", ".jpeg")
SHRINK = 5
"""CIFAR-10-C takes every fifth pixel of a photograph, from the third on."""


@lru_cache(maxsize=4)
def read_textures(folder: str, parameters: Parameters, channels: int) -> list[Tensor]:
    """The pictures of a folder, (C, h, w) float64 in [0, 1], in the order of their names.

    Raises InputError for a folder without pictures, MissingExtra without Pillow.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra(
            "textures of frost need Pillow; pip install pillow, or take 'frost_procedural'"
        ) from error
    root = Path(folder)
    files = sorted(p for p in root.glob("*") if p.suffix.lower() in SUFFIXES)
    if not files:
        raise InputError(
            f"textures={folder!r} is no folder with pictures ({', '.join(SUFFIXES)}); give the "
            "photographs of frost, or take 'frost_procedural'"
        )
    found = []
    for file in files:
        try:
            with Image.open(file) as picture:
                levels = np.array(picture.convert("RGB"), dtype=np.float64)
        except OSError as error:
            raise InputError(f"{file} is no picture: {error}") from error
        colour = torch.from_numpy(levels).permute(2, 0, 1).contiguous() / LEVELS
        if parameters == "cifar":
            middle = SHRINK // 2
            colour = colour[:, middle::SHRINK, middle::SHRINK].contiguous()
        found.append(colour if channels == 3 else grey(colour[None])[0])
    return found


def check_room(textures: list[Tensor], height: int, width: int) -> None:
    """Raises InputError where a texture is not larger than the images."""
    for texture in textures:
        if texture.shape[1] <= height or texture.shape[2] <= width:
            raise InputError(
                f"a texture of frost has {texture.shape[1]} x {texture.shape[2]} pixels (after "
                f"every fifth is taken, for images below 128), the images {height} x {width}; "
                "give larger photographs"
            )
