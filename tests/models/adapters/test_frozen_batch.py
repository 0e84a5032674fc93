"""Is a row judged beside fixed companions alone, and does its gradient stay its own?"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.models import FrozenBatch, LogitsView, inspect_model
from torchattacks_ext.testing import small_net

SOURCE = torch.Generator().manual_seed(0)
IMAGES = torch.rand(5, 1, 8, 8, generator=SOURCE, dtype=torch.float64)
OTHERS = torch.rand(3, 1, 8, 8, generator=SOURCE, dtype=torch.float64)


def coupled() -> nn.Module:
    """A net whose BatchNorm uses the statistics of the batch, and keeps none."""
    net = small_net().double().eval()
    assert isinstance(net[1], nn.BatchNorm2d)
    net[1].track_running_stats, net[1].running_mean, net[1].running_var = (
        False,
        None,
        None,
    )
    return net


def test_equals_one_batch_a_row() -> None:
    net = coupled()
    found = FrozenBatch(net, OTHERS)(IMAGES)
    for row, logits in zip(IMAGES, found):
        assert torch.equal(net(torch.cat([row[None], OTHERS]))[0], logits)
    assert not torch.allclose(net(IMAGES), found)


def test_rows_do_not_depend_on_the_call() -> None:
    model = FrozenBatch(coupled(), OTHERS)
    whole = model(IMAGES)
    order = torch.tensor([3, 0, 4])
    assert torch.equal(model(IMAGES[order]), whole[order])
    assert torch.equal(model(IMAGES[2:3]), whole[2:3])
    assert torch.equal(model(torch.cat([IMAGES, OTHERS]))[:5], whole)


def test_the_check_for_coupled_rows_is_content() -> None:
    net = coupled()
    assert inspect_model(net, LogitsView(net), IMAGES).batch_dependent
    model = FrozenBatch(net, OTHERS)
    assert not inspect_model(model, LogitsView(model), IMAGES).batch_dependent


def test_the_gradient_is_that_of_the_row_in_its_batch() -> None:
    net = coupled()
    x = IMAGES.clone().requires_grad_()
    (found,) = torch.autograd.grad(FrozenBatch(net, OTHERS)(x)[1].square().sum(), x)
    row = IMAGES[1:2].clone().requires_grad_()
    loss = net(torch.cat([row, OTHERS]))[0].square().sum()
    (expected,) = torch.autograd.grad(loss, row)
    assert torch.allclose(found[1:2], expected, atol=1e-14)
    assert torch.equal(found[[0, 2, 3, 4]], torch.zeros_like(found[1:]))


def test_closed_form_of_centring() -> None:
    """f(x) = x - mean: row (m - 1)/m x - sum of the others / m, Jacobian (m - 1)/m."""
    x = torch.tensor([[4.0, 1.0]], requires_grad=True)
    others = torch.tensor([[1.0, 1.0], [3.0, 5.0], [0.0, 2.0]], requires_grad=True)
    found = FrozenBatch(lambda b: b - b.mean(0), others)(x)
    assert torch.equal(found, torch.tensor([[2.0, -1.25]]))
    (slope,) = torch.autograd.grad(found[0, 0], x)
    assert slope.tolist() == [[0.75, 0.0]] and others.grad is None


def test_every_batch_has_the_same_size() -> None:
    sizes = []

    def model(batch: Tensor) -> Tensor:
        sizes.append(len(batch))
        return batch.flatten(1)

    FrozenBatch(model, OTHERS)(IMAGES)
    assert sizes == [4] * 5


def test_companions_are_a_copy_that_moves_with_the_module() -> None:
    others = OTHERS.clone()
    model = FrozenBatch(coupled(), others)
    before = model(IMAGES)
    others.zero_()
    assert torch.equal(model(IMAGES), before)
    assert model.float().x_ref.dtype == torch.float32
    assert model(IMAGES.float()).dtype == torch.float32


def test_no_companions_and_no_rows() -> None:
    net = small_net().double().eval()
    alone = FrozenBatch(net, OTHERS[:0])(IMAGES)
    assert torch.allclose(alone, net(IMAGES), atol=1e-12)
    assert FrozenBatch(net, OTHERS)(IMAGES[:0]).shape == (0, 3)


def test_errors() -> None:
    with pytest.raises(ConfigError, match=r"expected floating images \(m - 1"):
        FrozenBatch(nn.Identity(), torch.rand(8))
    with pytest.raises(ConfigError, match="torch.int64"):
        FrozenBatch(nn.Identity(), torch.ones(2, 3).long())
    with pytest.raises(
        InputError, match=r"\(2, 1, 4, 4\) do not fit companions \(3, 1"
    ):
        FrozenBatch(nn.Identity(), OTHERS)(torch.rand(2, 1, 4, 4))
