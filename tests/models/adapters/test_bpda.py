"""Is the value of BPDA exactly the one function's and the gradient exactly the other's?"""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext.errors import ModelContractError
from torchattacks_ext.models import BPDA, LogitsView, Meter, session
from torchattacks_ext.models.adapters.bpda import (
    as_tensor,
    shares_memory,
    value_with_vjp,
)
from torchattacks_ext.testing import GradientKiller, small_net


def images(n: int = 4, dtype: torch.dtype = torch.float64) -> Tensor:
    """A leaf that needs a gradient."""
    source = torch.Generator().manual_seed(0)
    x = torch.rand(n, 1, 8, 8, generator=source, dtype=torch.float64)
    return x.to(dtype).requires_grad_()


class Counted(nn.Module):
    """Counts its calls, and whether gradients were enabled."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.modes = inner, list[bool]()

    def forward(self, x: Tensor) -> Tensor:
        self.modes.append(torch.is_grad_enabled())
        return self.inner(x)


def gradient_of(model: nn.Module, x: Tensor) -> Tensor:
    """Gradient at x of a weighted sum of the logits."""
    logits = model(x)
    weight = torch.linspace(-1, 2, logits.numel()).to(logits).view_as(logits)
    return torch.autograd.grad((logits * weight).sum(), x)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_value_is_the_first_and_gradient_the_second(dtype: torch.dtype) -> None:
    target, surrogate = (small_net(seed=s).to(dtype).eval() for s in (1, 2))
    x = images(dtype=dtype)
    model = BPDA(GradientKiller(target), surrogate)
    assert torch.equal(model(x), target(x))
    assert torch.equal(gradient_of(model, x), gradient_of(surrogate, x))
    assert not torch.equal(gradient_of(model, x), gradient_of(target, x))


def test_no_sum_and_difference_of_the_two() -> None:
    """s + (t - s) would give 0 for t = 1, s = 1e20, and NaN for s = NaN."""
    x = torch.ones(1, 2, requires_grad=True)
    for wild in (1e20, float("nan"), float("inf")):
        found = BPDA(lambda t: t.clone(), lambda t, w=wild: t * w)(x)
        assert torch.equal(found, x)


def test_a_model_with_itself_is_the_model() -> None:
    net = small_net().double().eval()
    x = images()
    model = BPDA(net, net)
    assert torch.equal(model(x), net(x))
    assert torch.equal(gradient_of(model, x), gradient_of(net, x))


def test_first_and_second_derivatives_of_a_smooth_pair() -> None:
    x = torch.linspace(-1, 1, 6, dtype=torch.float64).view(2, 3).requires_grad_()
    smooth = BPDA(lambda t: t.sin(), lambda t: t.sin())
    assert torch.autograd.gradcheck(smooth, x)
    assert torch.autograd.gradgradcheck(smooth, x)


def test_identity_is_the_default_gradient_of_a_layer() -> None:
    x = images()
    layer = BPDA(lambda t: (t * 7).round() / 7)
    weight = torch.rand_like(x)
    assert torch.equal(layer(x), (x * 7).round() / 7)
    found = torch.autograd.grad((layer(x) * weight).sum(), x)[0]
    assert torch.equal(found, weight)


def test_a_layer_before_a_model() -> None:
    """d f(q(x)) with an identity for q: the model's gradient at the rounded image."""
    net = small_net().double().eval()
    x = images()
    rounded = ((x * 7).round() / 7).detach().requires_grad_()
    model = nn.Sequential(BPDA(lambda t: (t * 7).round() / 7), net)
    assert torch.equal(gradient_of(model, x), gradient_of(net, rounded))


def test_the_gradient_works_below_other_operations() -> None:
    net = small_net().double().eval()
    x = images()
    found = torch.autograd.grad(BPDA(net.forward, net)(x.tanh()).sum(), x)[0]
    expected = torch.autograd.grad(net(x.tanh()).sum(), x)[0]
    assert torch.allclose(found, expected, atol=1e-14)


def test_backward_never_runs_without_a_gradient() -> None:
    exact, surrogate = Counted(small_net().eval()), Counted(small_net().eval())
    model = BPDA(exact, surrogate)
    x = images(dtype=torch.float32)
    with torch.no_grad():
        assert not model(x).requires_grad
    with torch.inference_mode():
        model(x)
    assert not model(x.detach()).requires_grad
    assert model(x).requires_grad  # asked for, never taken
    assert surrogate.modes == []
    gradient_of(model, x)
    assert exact.modes == [False] * 5 and surrogate.modes == [True]


def test_inside_a_caller_without_gradients() -> None:
    net = small_net().double().eval()
    with torch.no_grad(), torch.enable_grad():
        x = images()
        found = gradient_of(BPDA(GradientKiller(net), net), x)
    assert torch.equal(found, gradient_of(net, x))


@pytest.mark.parametrize("frozen", [True, False])
def test_parameters_get_no_gradient(frozen: bool) -> None:
    net = small_net().double().eval().requires_grad_(not frozen)
    other = copy.deepcopy(net)
    x = images()
    BPDA(net, other)(x).sum().backward()
    assert x.grad is not None and bool(x.grad.abs().sum() > 0)
    assert all(p.grad is None for n in (net, other) for p in n.parameters())


def test_a_session_and_the_meter_see_it_as_any_model() -> None:
    net = small_net()
    model, meter = BPDA(GradientKiller(net), net), Meter()
    view = LogitsView(model, meter=meter)
    x = images(dtype=torch.float32)
    with session(model):
        assert not net.training
        torch.autograd.grad(view(x).sum(), x)
    assert net.training and (meter.forward, meter.backward) == (4, 4)


def test_a_forward_may_return_its_input_or_a_stored_tensor() -> None:
    x = torch.rand(2, 3, requires_grad=True)
    for same in (lambda t: t, lambda t: t.view(2, 3), lambda t: t.detach()):
        found = BPDA(same)(x)
        assert torch.equal(found, x) and not shares_memory(found, x)
        found[0, 0] = -9.0  # attacks write into logits
        assert x[0, 0] >= 0
    kept = torch.rand(2, 3)
    assert BPDA(lambda t: kept)(x).requires_grad and not kept.requires_grad


def test_a_forward_with_its_own_gradients() -> None:
    """Purification by gradient steps runs inside the value."""

    def purify(t: Tensor) -> Tensor:
        with torch.enable_grad():
            z = t.detach().requires_grad_()
            return t - 0.1 * torch.autograd.grad((z**2).sum(), z)[0]

    x = torch.rand(2, 3, requires_grad=True)
    found = BPDA(purify)(x)
    assert torch.allclose(found, 0.8 * x)
    assert torch.equal(torch.autograd.grad(found.sum(), x)[0], torch.ones_like(x))


def test_other_precisions_of_value_and_gradient() -> None:
    x = torch.rand(2, 3, requires_grad=True)
    model = BPDA(lambda t: t.half().round(), lambda t: t.double() * 2)
    assert model(x).dtype == torch.float16
    found = torch.autograd.grad(model(x).sum(), x)[0]
    assert found.dtype == torch.float32 and torch.equal(found, torch.full_like(x, 2.0))


def test_no_rows() -> None:
    net = small_net().eval()
    x = torch.rand(0, 1, 8, 8, requires_grad=True)
    logits = BPDA(net, net)(x)
    assert logits.shape == (0, 3)
    assert torch.autograd.grad(logits.sum(), x)[0].shape == x.shape


def test_errors_name_shapes_and_remedy() -> None:
    x = torch.rand(2, 3, requires_grad=True)
    with pytest.raises(
        ModelContractError, match=r"\(2, 3\) into \(2, 2\); give a diff"
    ):
        BPDA(lambda t: t[:, :2])(x)
    wrong = BPDA(lambda t: t[:, :2], lambda t: t)
    with pytest.raises(ModelContractError, match=r"shape \(2, 3\) and .* \(2, 2\)"):
        torch.autograd.grad(wrong(x).sum(), x)
    for cut in (lambda t: t.detach(), lambda t: torch.ones(2, 3, requires_grad=True)):
        with pytest.raises(ModelContractError, match="without a graph to the images"):
            torch.autograd.grad(BPDA(lambda t: t, cut)(x).sum(), x)
    with pytest.raises(ModelContractError, match="SimpleNamespace.*LogitsView"):
        BPDA(lambda t: SimpleNamespace(logits=t), lambda t: t)(x)  # type: ignore
    with pytest.raises(ModelContractError, match="the model gave dict"):
        as_tensor({}, "the model")


def test_images_changed_before_the_gradient_are_noticed() -> None:
    """The vjp is taken at the images of the forward pass: torch refuses when they are gone."""
    leaf = torch.rand(2, 3, requires_grad=True)
    x = leaf * 1
    y = BPDA(torch.round)(x)
    x.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(y.sum(), leaf)


def test_value_with_vjp_hands_over_the_gradient_of_the_value() -> None:
    seen = []

    def vjp(x: Tensor, gradient: Tensor) -> Tensor:
        seen.append((gradient.clone(), torch.is_grad_enabled()))
        return torch.zeros_like(x)

    x = torch.rand(2, 3, requires_grad=True)
    (value_with_vjp(x, torch.floor, vjp) * 5).sum().backward()
    assert torch.equal(seen[0][0], torch.full((2, 3), 5.0)) and seen[0][1] is False
