"""Is every generator seen that a model may draw from, wherever it is kept?"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext.numerics.generators import Watch

GLOBAL = torch.Generator()


def _from_a_global_name(images: Tensor) -> Tensor:
    return images + torch.rand(1, generator=GLOBAL)


def _through_a_helper(images: Tensor) -> Tensor:
    return _from_a_global_name(images)


class Holder(nn.Module):
    """Keeps its generator in a list of a part."""

    def __init__(self, generator: Any, draw: Callable[[Any], object]) -> None:
        super().__init__()
        self.part = nn.Identity()
        self.part.kept = [generator]  # type: ignore[assignment]
        self.draw = draw

    def forward(self, images: Tensor) -> Tensor:
        self.draw(self.part.kept[0])  # type: ignore[index]
        return images


def closing() -> Callable[[Tensor], Tensor]:
    own = random.Random(1)
    return lambda images: images + own.random()


def torch_draw(generator: Any) -> object:
    return torch.rand(1, generator=generator)


DRAWING: dict[str, Callable[[], Callable[[Tensor], Any]]] = {
    "torch": lambda: torch.rand_like,
    "numpy": lambda: lambda images: images + float(np.random.rand()),
    "python": lambda: lambda images: images + random.random(),
    "own generator of torch": lambda: Holder(torch.Generator(), torch_draw),
    "own generator of NumPy": lambda: Holder(
        np.random.default_rng(1), lambda g: g.random()
    ),
    "own old generator of NumPy": lambda: Holder(
        np.random.RandomState(1), lambda g: g.rand()
    ),
    "closure": closing,
    "global name": lambda: _from_a_global_name,
    "global name in a helper": lambda: partial(_through_a_helper),
    "bound method": lambda: Holder(torch.Generator(), torch_draw).forward,
}


@pytest.mark.parametrize("name", DRAWING)
def test_one_draw_moves_a_watch(name: str) -> None:
    model = DRAWING[name]()
    watch = Watch(model)
    assert not watch.moved() and not watch.moved()
    model(torch.zeros(1))
    assert watch.moved()


def test_a_fixed_model_moves_none_and_a_watch_changes_none() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).eval()
    state = torch.get_rng_state()
    watch = Watch(model)
    model(torch.zeros(1, 2))
    assert not watch.moved() and torch.equal(state, torch.get_rng_state())


def test_circles_and_odd_objects_are_walked_through() -> None:
    class Odd:
        __slots__ = ()

    circle: list[Any] = [Odd(), {1: Odd}]
    circle.append(circle)
    assert not Watch(circle).moved()
