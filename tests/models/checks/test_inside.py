"""Is it heard that a model differentiates while it answers, by whatever door, and nothing else?"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from torchattacks_ext.models.checks.inside import differentiates

IMAGES = torch.ones(2, 3)


def by_grad(x: Tensor) -> Tensor:
    with torch.enable_grad():
        z = x.detach().requires_grad_()
        (found,) = torch.autograd.grad(z.square().sum(), z)
    return x - found


def by_backward(x: Tensor) -> Tensor:
    with torch.enable_grad():
        z = x.detach().requires_grad_()
        torch.autograd.backward(z.square().sum())
    assert z.grad is not None
    return x - z.grad


def by_a_tensors_backward(x: Tensor) -> Tensor:
    with torch.enable_grad():
        z = x.detach().requires_grad_()
        z.square().sum().backward()
    assert z.grad is not None
    return x - z.grad


@pytest.mark.parametrize("model", [by_grad, by_backward, by_a_tensors_backward])
def test_every_door_of_autograd_is_heard(model: Callable[[Tensor], Tensor]) -> None:
    assert differentiates(model, IMAGES)
    with torch.no_grad():
        assert torch.equal(model(IMAGES), -IMAGES)  # and is left as it was


def test_looking_at_a_gradient_is_not_asking_for_one() -> None:
    assert not differentiates(lambda x: x if x.grad is None else x + x.grad, IMAGES)
    assert not differentiates(torch.relu, IMAGES)


def test_a_model_that_raises_leaves_no_listener() -> None:
    def broken(x: Tensor) -> Tensor:
        raise ValueError("no answer")

    with pytest.raises(ValueError, match="no answer"):
        differentiates(broken, IMAGES)
    assert not differentiates(torch.relu, IMAGES)
