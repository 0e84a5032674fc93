"""Which pairs of two settings need to be tried at once? All of them are; few of them quickly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest


def crossed(*settings: Sequence[Any]) -> list[Any]:
    """Every combination, flat; all slow but as many as it takes to meet every value once.

    A value may be a tuple, which stands for several arguments.
    """
    found, longest = [], max(len(values) for values in settings)
    quick = {tuple(i % len(values) for values in settings) for i in range(longest)}

    def walk(place: tuple[int, ...]) -> None:
        if len(place) < len(settings):
            for i in range(len(settings[len(place)])):
                walk((*place, i))
            return
        told: list[Any] = []
        for i, values in zip(place, settings):
            told += values[i] if isinstance(values[i], tuple) else [values[i]]
        marks = () if place in quick else pytest.mark.slow
        found.append(pytest.param(*told, marks=marks))

    walk(())
    return found
