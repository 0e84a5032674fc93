"""Is the soft assignment a softmax with temperature, and the hard one exact with its gradient?"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.models import SoftAssign
from torchattacks_ext.models.adapters.soft_assign import one_hot_argmax

TAUS = [0.3, 1.0, 3.0]


def logits() -> Tensor:
    """Five rows of four logits in float64, a leaf."""
    source = torch.Generator().manual_seed(0)
    rows = torch.randn(5, 4, generator=source, dtype=torch.float64)
    return rows.requires_grad_()


@pytest.mark.parametrize("tau", TAUS)
def test_soft_is_the_softmax_and_smooth(tau: float) -> None:
    z = logits()
    assert torch.allclose(SoftAssign(tau)(z), (z / tau).softmax(1), atol=1e-14)
    assert torch.autograd.gradcheck(SoftAssign(tau), z)
    assert torch.autograd.gradgradcheck(SoftAssign(tau), z)


@pytest.mark.parametrize("tau", TAUS)
def test_hard_has_the_one_hot_value_and_the_soft_gradient(tau: float) -> None:
    z = logits()
    weight = torch.linspace(-1, 2, 20, dtype=torch.float64).view(5, 4)
    hard, soft = SoftAssign(tau, hard=True)(z), SoftAssign(tau)(z)
    assert torch.equal(hard, F.one_hot(z.argmax(1), 4).double())
    found, expected = (
        torch.autograd.grad((w * weight).sum(), z)[0] for w in (hard, soft)
    )
    assert torch.equal(found, expected) and bool(found.abs().sum() > 0)


def test_the_closed_form_of_two_classes() -> None:
    """p = sigmoid(d / tau), dp/dz = p (1 - p) / tau."""
    z = torch.tensor([[1.0, 0.4]], dtype=torch.float64, requires_grad=True)
    p = torch.sigmoid(torch.tensor(0.6 / 0.3, dtype=torch.float64))
    weights = SoftAssign(0.3)(z)
    assert torch.allclose(weights[0, 0], p)
    slope = torch.autograd.grad(weights[0, 0], z)[0][0, 0]
    assert torch.allclose(slope, p * (1 - p) / 0.3)


def test_limits_of_the_temperature() -> None:
    z = logits().detach()
    assert torch.allclose(SoftAssign(1e-6)(z), one_hot_argmax(z))
    tiny = SoftAssign(1e-42)(z.float())  # L / tau alone would overflow
    assert torch.equal(tiny, one_hot_argmax(z.float()))
    assert torch.allclose(SoftAssign(1e9)(z), torch.full_like(z, 0.25))


def test_ties_take_the_first_and_nan_stays_nan() -> None:
    z = torch.tensor([[2.0, 2.0, 1.0], [0.0, float("nan"), 1.0]])
    hard = SoftAssign(hard=True)(z)
    assert hard[0].tolist() == [1.0, 0.0, 0.0] and bool(hard[1].isnan().all())
    assert bool(SoftAssign()(z)[1].isnan().all())
    assert SoftAssign()(z)[0, 0] == SoftAssign()(z)[0, 1]


def test_between_two_stages_of_a_model() -> None:
    """Prototype head: A^T z with A the assignment; hard in value, soft in gradient."""
    first = nn.Linear(6, 3).double()
    x = torch.rand(4, 6, dtype=torch.float64, requires_grad=True)
    hard, soft = (SoftAssign(0.5, hard=h) for h in (True, False))
    value = hard(first(x)) @ torch.arange(3.0, dtype=torch.float64)
    assert torch.equal(value, first(x).argmax(1).double())
    weight = torch.arange(3.0, dtype=torch.float64)
    found, expected = (
        torch.autograd.grad((a(first(x)) @ weight).sum(), x)[0] for a in (hard, soft)
    )
    assert torch.allclose(found, expected, atol=1e-14)


@pytest.mark.parametrize("tau", [0.0, -1.0, float("inf"), float("nan")])
def test_other_temperatures_are_refused(tau: float) -> None:
    with pytest.raises(ConfigError, match=r"must be a temperature in \(0, inf\)"):
        SoftAssign(tau)


@pytest.mark.parametrize("hard", [True, False])
def test_other_shapes_are_refused(hard: bool) -> None:
    for wrong in (torch.rand(3), torch.rand(1, 3, 2, 2), torch.ones(2, 3).long()):
        with pytest.raises(InputError, match=r"needs floating logits \(N, K\)"):
            SoftAssign(hard=hard)(wrong)
