"""Which mean, std and order of channels does a transform really apply? Four pictures of one colour.

Two fields of a configuration are not always what the code does with them (some divide by the std
twice, some read a mean and never use it, some turn the channels round). A transform that treats
each channel by itself is ``a x + b``: black gives b, white a + b, grey must lie on that line, and
red tells which channel of the output is which of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError
from .facts import Preprocessing, Transform

SIDES = (320, 352)
"""Of the pictures; two, to see whether the size of the output follows them."""
GREY = 128
CLOSE = 1e-3
"""Tolerance of the line, in units of its slope: half a grey level is .002."""
_MEMORY = 1e-5
"""Within it a number that was found is the one that the configuration writes."""


def probed(known: Preprocessing, transform: Transform) -> Preprocessing:
    """`known`, which fields of a configuration say, corrected by what `transform` does.

    transform: RGB image of PIL to (C, H, W). A difference is told in the notes. Raises InputError
    where the transform is not one line a channel (contrast, colour spaces, constant outputs): then
    nobody but the caller can say what the model needs. Cost: five pictures of 320 pixels.

    >>> import numpy as np
    >>> def halves(image):  # an std of 1/2 written, a whole one applied, blue first
    ...     return torch.from_numpy(np.array(image)[..., ::-1].copy()).permute(2, 0, 1) / 255
    >>> found = probed(Preprocessing((0.0,) * 3, (0.5,) * 3, source="a test"), halves)
    >>> found.std, found.reverse, found.size
    ((1.0, 1.0, 1.0), True, None)
    """
    black, white, red, grey = (
        _centre(transform(_plain(colour)))
        for colour in ((0, 0, 0), (255,) * 3, (255, 0, 0), (GREY,) * 3)
    )
    slope = white - black
    if not bool((slope > CLOSE).all()):
        raise _unreadable(known, "white is not brighter than black in each channel")
    line = black + slope * (GREY / 255)
    if bool(((grey - line) / slope).abs().gt(CLOSE).any()):
        raise _unreadable(known, "grey does not lie between black and white")
    reverse = _order(known, ((red - black) / slope).tolist())
    mean, std = ((-black / slope).tolist(), (1 / slope).tolist())
    if reverse:
        mean, std = mean[::-1], std[::-1]
    notes = list(known.notes)
    said = _as_written(known.mean, len(mean)), _as_written(known.std, len(std))
    does = _rounded(mean, said[0]), _rounded(std, said[1])
    if does != said:
        notes.append(
            f"its fields say mean {_short(said[0])} and std {_short(said[1])}, its transform does "
            f"mean {_short(does[0])} and std {_short(does[1])}: that is taken"
        )
    if reverse:
        notes.append(
            "its transform turns the channels round: the model sees blue first"
        )
    size, border = _shape(transform)
    if border:
        notes.append("its transform puts a border around the image")
    return replace(
        known,
        mean=does[0],
        std=does[1],
        reverse=reverse,
        channels=len(does[0]),
        size=size,
        probed=True,
        notes=tuple(notes),
        transform=transform,
    )


def _plain(colour: tuple[int, ...], side: int = SIDES[0]) -> Any:
    return import_module("PIL.Image").new("RGB", (side, side), colour)


def _centre(output: Tensor) -> Tensor:
    """The middle pixel (C,) in float64."""
    if output.dim() != 3:
        raise InputError(
            f"the transform gives shape {tuple(output.shape)}, expected (C, H, W)"
        )
    return output[:, output.shape[1] // 2, output.shape[2] // 2].double()


def _order(known: Preprocessing, red: Sequence[float]) -> bool:
    """Whether the channels are turned round; red: the answers to a red picture, 1 where it is."""
    marks = [round(value, 3) for value in red]
    if marks == [1, 0, 0]:
        return False
    if marks == [0, 0, 1]:
        return True
    if len(marks) == 1:
        return False
    raise _unreadable(known, f"red is {marks} in its channels")


def _shape(transform: Transform) -> tuple[tuple[int, int] | None, bool]:
    """The size of the output, None where it follows the image; and whether it has a border."""
    first, other = (transform(_plain((255,) * 3, side)) for side in SIDES)
    border = bool(first[:, 0, 0].ne(_centre(first).to(first.dtype)).any())
    fixed = first.shape[1:] == other.shape[1:]
    return ((int(first.shape[1]), int(first.shape[2])) if fixed else None), border


def _as_written(side: tuple[float, ...], n: int) -> tuple[float, ...]:
    return tuple(float(x) for x in (side * n if len(side) == 1 else side))


def _rounded(found: Sequence[float], written: Sequence[float]) -> tuple[float, ...]:
    """What was found, less the rounding of float32."""
    if len(found) == len(written):
        near = [abs(a - b) <= _MEMORY * max(1, abs(b)) for a, b in zip(found, written)]
        if all(near):
            return tuple(written)
    return tuple(round(value, 6) + 0.0 for value in found)


def _short(side: Sequence[float]) -> str:
    return "/".join(f"{value:.4g}" for value in side)


def _unreadable(known: Preprocessing, why: str) -> InputError:
    return InputError(
        f"{known.source}: the transform of the images is not one mean and std a channel ({why}); "
        "say what the model needs by --mean and --std, or give a factory whose model takes pixels "
        "in [0, 1]"
    )


def tensor_of(output: Any) -> Tensor:
    """What a transform gave as a float tensor (C, H, W); one image of a batch."""
    found = torch.as_tensor(output)
    return (found[0] if found.dim() == 4 and len(found) == 1 else found).float()
