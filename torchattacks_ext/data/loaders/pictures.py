"""How do images of PIL become pixels (C, H, W)? One by one, when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...errors import InputError, MissingExtra
from .ask import Ask, Resize
from .pixels import flat_image, three_channels

Shape = Callable[[Any], Tensor]


def shaping(resize: Resize) -> Shape:
    """An image of PIL (RGB, L, or F in [0, 1]) to pixels (C, H, W) float32 in [0, 1].

    A whole number scales the shorter side to it (bilinear, antialiased) and keeps the middle
    square. Raises MissingExtra where torchvision cannot be imported.
    """
    transforms = torchvision_part("transforms")
    plain = transforms.ToTensor()
    if resize is None:
        return lambda image: torch.as_tensor(plain(image))
    if isinstance(resize, int):
        steps = (transforms.Resize(resize), transforms.CenterCrop(resize), plain)
        return lambda image: torch.as_tensor(transforms.Compose(steps)(image))
    own = resize
    return lambda image: own(_rgb(image)).float()


def torchvision_part(name: str) -> Any:
    """torchvision.NAME. Raises MissingExtra."""
    try:
        return import_module(f"torchvision.{name}")
    except Exception as error:  # a build for another torch fails with RuntimeError
        raise MissingExtra(
            f"torchvision cannot be imported ({error}); "
            "`torchattacks-ext doctor` says how to repair it"
        ) from error


def _rgb(image: Any) -> Any:
    """8 bits and three channels, which is what transforms of published models take."""
    if image.mode == "F":
        levels = (np.asarray(image) * 255).round().astype(np.uint8)
        image = import_module("PIL.Image").fromarray(levels)
    return image.convert("RGB")


class Pictures(Dataset[Any]):
    """Rows of a source of (image of PIL, label) as (pixels, label).

    source: row to image and label. rows: those that are used. ask: says the size, and by
    "channels" how many there are; where it does not, they are those of the first image: grey
    sets give one. classes: names, for whoever counts them. Raises InputError for an image of
    another size or of colours in a grey set when it is asked for.
    """

    def __init__(
        self,
        source: Callable[[int], tuple[Any, int]],
        rows: Sequence[int],
        ask: Ask,
        classes: Sequence[str] | None = None,
    ) -> None:
        self.source, self.rows, self.ask = source, list(rows), ask
        self.classes = list(classes or ())
        self.shape = shaping(ask.resize)
        first, _ = self._item(0)
        told = ask.option("channels", ("", "1", "3"), "")
        grey = first.mode in ("L", "F")
        if told == "1" and not grey:
            raise InputError(
                f"{ask.spec}: the images have colours, channels=1 does not fit"
            )
        self.channels = int(told or (1 if grey and not callable(ask.resize) else 3))
        self.size = first.size

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if not 0 <= index < len(self.rows):
            raise IndexError(index)
        image, label = self._item(index)
        where = f"{self.ask.spec}: image {self.rows[index]}"
        if self.ask.resize is None and image.size != self.size:
            raise InputError(
                f"{where} is {image.size[0]}x{image.size[1]}, the first {self.size[0]}x"
                f"{self.size[1]} (width x height): unequal sizes; pass --resize N (resize=N)"
            )
        pixels = self.shape(image)
        if self.channels == 3:
            pixels = three_channels(pixels)
        elif len(pixels) != 1:
            raise InputError(f"{where} has colours, the first is grey; say channels=3")
        return pixels, label

    def _item(self, index: int) -> tuple[Any, int]:
        row = self.rows[index]
        image, label = self.source(row)
        return flat_image(image, f"{self.ask.spec}: image {row}"), int(label)
