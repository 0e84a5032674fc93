"""Is a gradient that is zero, odd, absent or refused seen as what it is?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from torchattacks_ext.models import LogitsView
from torchattacks_ext.models.checks.gradients import loss_gradients
from torchattacks_ext.testing import (
    GradientKiller,
    NaNGradient,
    SaturatedLogits,
    TiedLogits,
    small_net,
)

IMAGES = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
NET = small_net().eval()
LABELS = NET(IMAGES).argmax(1)


class Raises(torch.autograd.Function):
    """The identity; its backward pass raises."""

    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        return images.view_as(images)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise RuntimeError("no")


def marks(model: Any) -> tuple[bool, bool, bool, bool]:
    """(CE zero on all, margin zero on all, odd on all, absent)."""
    found = loss_gradients(LogitsView(model), IMAGES, LABELS)
    every = (found.ce_zero, found.margin_zero, found.odd)
    return (*(bool(one.all()) for one in every), found.absent)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (NET, (False, False, False, False)),
        (GradientKiller(NET), (True, True, False, False)),
        (TiedLogits(NET), (True, True, False, False)),
        (SaturatedLogits(NET, 1e8), (True, False, False, False)),
        (NaNGradient(NET), (False, False, True, False)),
        (lambda images: NET(images.detach()).detach(), (True, True, False, True)),
        (lambda images: NET(Raises.apply(images)), (True, True, False, True)),
    ],
    ids=["net", "killer", "tied", "saturated", "nan", "detached", "raises"],
)
def test_marks(model: Any, expected: tuple[bool, ...]) -> None:
    assert marks(model) == expected


def test_gradients_are_those_of_autograd_and_each_row_its_own() -> None:
    found = loss_gradients(NET, IMAGES, LABELS)
    for row in range(len(IMAGES)):
        one = loss_gradients(NET, IMAGES[row : row + 1], LABELS[row : row + 1])
        assert torch.allclose(one.ce[0], found.ce[row], atol=1e-6)
    x = IMAGES.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(NET(x), LABELS, reduction="sum")
    assert torch.allclose(torch.autograd.grad(loss, x)[0], found.ce, atol=1e-6)


def test_what_is_no_backward_pass_is_raised() -> None:
    def broken(images: Tensor) -> Tensor:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        loss_gradients(broken, IMAGES, LABELS)
