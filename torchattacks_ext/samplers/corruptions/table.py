"""Which corruptions are there, and what are their parameters? The published tables, and two more.

Numbers of Hendrycks & Dietterich, "Benchmarking neural network robustness to common corruptions and
perturbations", ICLR 2019 (arXiv:1903.12261), from the code with which they made CIFAR-10-C and
ImageNet-C (github.com/hendrycks/robustness). Rotation and translation are not from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from .blur import defocus_blur, gaussian_blur, glass_blur
from .digital import jpeg_compression, pixelate
from .elastic import elastic_transform, rotation, translation
from .light import brightness, contrast, saturate
from .motion import motion_blur, zoom_blur
from .noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise
from .weather import fog, frost_procedural, frosted, snow

Parameters = Literal["cifar", "imagenet"]
SEVERITIES = (1, 2, 3, 4, 5)
CIFAR_BELOW = 128
"""Pixels of the shorter side below which the numbers of CIFAR-10-C are taken (made for 32), else
those of ImageNet-C (made for 224)."""
FROST = "frost"
"""The one that needs photographs."""
_OVER = 244 / 224
"""ImageNet-C's code has 244 for the side of its elastic maps, where 224 was meant."""


@dataclass(frozen=True)
class Definition:
    """One corruption: pictures, uniforms and numbers of its severity -> pictures.

    published: whether CIFAR-10-C has it under this name. cifar, imagenet: five tuples of numbers
    each, severity 1 first.
    """

    function: Callable[..., Tensor]
    cifar: tuple[tuple[Any, ...], ...]
    imagenet: tuple[tuple[Any, ...], ...]
    published: bool = True

    def numbers(self, parameters: Parameters, severity: int) -> tuple[Any, ...]:
        """The arguments of the function behind pictures and uniforms."""
        return (self.cifar if parameters == "cifar" else self.imagenet)[severity - 1]


def _each(*values: Any) -> tuple[tuple[Any, ...], ...]:
    return tuple((value,) for value in values)


_FROST = (
    ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
)
_TURNS, _MOVES = _each(5, 10, 15, 20, 30), _each(0.03, 0.06, 0.09, 0.12, 0.18)

DEFINITIONS: dict[str, Definition] = {
    "gaussian_noise": Definition(
        gaussian_noise,
        _each(0.04, 0.06, 0.08, 0.09, 0.10),
        _each(0.08, 0.12, 0.18, 0.26, 0.38),
    ),
    "shot_noise": Definition(
        shot_noise, _each(500, 250, 100, 75, 50), _each(60, 25, 12, 5, 3)
    ),
    "impulse_noise": Definition(
        impulse_noise,
        _each(0.01, 0.02, 0.03, 0.05, 0.07),
        _each(0.03, 0.06, 0.09, 0.17, 0.27),
    ),
    "defocus_blur": Definition(
        defocus_blur,
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    "glass_blur": Definition(
        glass_blur,
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    ),
    "motion_blur": Definition(
        motion_blur,
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    ),
    "zoom_blur": Definition(
        zoom_blur,
        ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    ),
    "snow": Definition(
        snow,
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    FROST: Definition(frosted, *_FROST),
    "fog": Definition(
        fog,
        ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    ),
    "brightness": Definition(
        brightness,
        _each(0.05, 0.1, 0.15, 0.2, 0.3),
        _each(0.1, 0.2, 0.3, 0.4, 0.5),
    ),
    "contrast": Definition(
        contrast,
        _each(0.75, 0.5, 0.4, 0.3, 0.15),
        _each(0.4, 0.3, 0.2, 0.1, 0.05),
    ),
    "elastic_transform": Definition(
        elastic_transform,
        (
            (0, 0, 0.08),
            (0.05, 0.2, 0.07),
            (0.08, 0.06, 0.06),
            (0.1, 0.04, 0.05),
            (0.1, 0.03, 0.03),
        ),
        tuple(
            tuple(_OVER * part for part in parts)
            for parts in (
                (2, 0.7, 0.1),
                (2, 0.08, 0.2),
                (0.05, 0.01, 0.02),
                (0.07, 0.01, 0.02),
                (0.12, 0.01, 0.02),
            )
        ),
    ),
    "pixelate": Definition(
        pixelate,
        _each(0.95, 0.9, 0.85, 0.75, 0.65),
        _each(0.6, 0.5, 0.4, 0.3, 0.25),
    ),
    "jpeg_compression": Definition(
        jpeg_compression, _each(80, 65, 58, 50, 40), _each(25, 18, 15, 10, 7)
    ),
    "speckle_noise": Definition(
        speckle_noise,
        _each(0.06, 0.1, 0.12, 0.16, 0.2),
        _each(0.15, 0.2, 0.35, 0.45, 0.6),
        published=False,
    ),
    "gaussian_blur": Definition(
        gaussian_blur,
        _each(0.4, 0.6, 0.7, 0.8, 1),
        _each(1, 2, 3, 4, 6),
        published=False,
    ),
    "saturate": Definition(
        saturate,
        ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
        ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
        published=False,
    ),
    "frost_procedural": Definition(frost_procedural, *_FROST, published=False),
    "rotation": Definition(rotation, _TURNS, _TURNS, published=False),
    "translation": Definition(translation, _MOVES, _MOVES, published=False),
}
"""By name; the first fifteen in the order of the publication."""

PUBLISHED = tuple(name for name, one in DEFINITIONS.items() if one.published)
"""The fifteen over which means are taken."""
