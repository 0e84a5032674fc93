"""Do pixels come back from [0, 1] in the box, each with the whole of its gradient?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from torchattacks_ext.numerics.unit import OnUnit, Unit

CHANNELS = torch.tensor([-2.1, -2.0]), torch.tensor([2.2, 2.0])
BOUNDS = [(-1.0, 1.0), (0.0, 255.0), (-0.4242, 2.8215), CHANNELS]


@pytest.mark.parametrize("bounds", BOUNDS)
def test_a_pixel_at_a_bound_keeps_its_gradient(bounds: Any) -> None:
    """A clip takes half of it there, where many pixels of a picture are; attacks other than by
    signs then went another way than on [0, 1]."""
    unit = Unit(bounds)
    u = torch.tensor([0.0, 0.25, 0.5, 0.75]).repeat(1, 2, 1).requires_grad_()
    low, high = (torch.as_tensor(side).reshape(-1, 1) for side in bounds)
    ends = unit.of(torch.cat([low, high], 1).expand(2, 2)[None]).requires_grad_()
    for at in (u, ends):
        (found,) = torch.autograd.grad(unit.back(at).sum(), at)
        assert torch.equal(found, torch.full_like(at, unit.width))


def test_above_the_end_of_a_channel_there_is_no_gradient() -> None:
    u = torch.ones(1, 2, 3, requires_grad=True)
    back = Unit(CHANNELS).back(u)
    (found,) = torch.autograd.grad(back.sum(), u)
    assert found[0, 1].tolist() == [0.0] * 3
    assert bool((back[0, 1] == 2).all())
    assert (found[0, 0] > 4).all()


@pytest.mark.parametrize("bounds", BOUNDS)
def test_values_are_those_of_a_clip(bounds: Any) -> None:
    unit, u = Unit(bounds), torch.linspace(-0.2, 1.2, 24).reshape(1, 2, 12)
    low, high = (torch.as_tensor(side).reshape(-1, 1) for side in bounds)
    assert torch.equal(unit.back(u), (low + unit.width * u).clamp(low, high))


def test_a_model_on_the_unit_box_has_the_gradient_of_its_own_pixels() -> None:
    last = nn.Linear(4, 3)
    net = nn.Sequential(nn.Flatten(), last).requires_grad_(False)
    unit, x = Unit((-1.0, 1.0)), torch.tensor([[[-1.0, 1.0], [0.5, 0.0]]])
    u = unit.of(x).requires_grad_()
    (found,) = torch.autograd.grad(OnUnit(net, unit)(u)[:, 0].sum(), u)
    assert torch.allclose(found.flatten(), 2 * last.weight[0])


def test_it_can_be_differentiated_under_vmap() -> None:
    unit = Unit((-1.0, 1.0))
    found = torch.func.vmap(torch.func.grad(lambda u: (unit.back(u) ** 2).sum()))(
        torch.tensor([[0.0], [1.0]])
    )
    assert found.tolist() == [[-4.0], [4.0]]
