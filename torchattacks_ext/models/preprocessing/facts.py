"""What does a published transform do to an image? Numbers, words, and the transform itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

Transform = Callable[[Any], Tensor]
"""An RGB image of PIL to what the model is given, (C, H, W) floats."""


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """From pixels in [0, 1] to the scale of a model: ``(pixels - mean) / std``, channel by channel.

    mean, std: in the order of the image's channels (red, green, blue). reverse: whether the model
    takes its channels in the other order (blue first). channels: 1 or 3. size: (H, W) that the
    transform makes; None where it follows the image. geometry: resizing and cropping in words.
    source: who says so. probed: whether the transform was tried with pictures of one colour; else
    two fields of a configuration were believed. notes: what a reader should know. transform: the
    package's own; None where it is not installed.

    >>> Preprocessing((0.5,), (0.5,), source="a test").normalises
    True
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    reverse: bool = False
    channels: int = 3
    size: tuple[int, int] | None = None
    geometry: str = ""
    source: str = ""
    probed: bool = False
    notes: tuple[str, ...] = ()
    transform: Transform | None = None

    @property
    def normalises(self) -> bool:
        """Whether a mean or a std is anything but 0 and 1."""
        return any(self.mean) or any(side != 1 for side in self.std)

    def facts(self) -> dict[str, Any]:
        """In JSON types, for a report."""
        return {
            "mean": list(self.mean),
            "std": list(self.std),
            "channels": "blue first" if self.reverse else "as in the image",
            "size": None if self.size is None else list(self.size),
            "geometry": self.geometry or None,
            "source": self.source,
            "tried": "black, white, red and grey" if self.probed else "no",
            "notes": list(self.notes) or None,
        }
