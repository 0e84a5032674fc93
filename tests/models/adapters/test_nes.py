"""Is the finite-difference gradient unbiased, keyed by content, and paid as documented?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from torchattacks_ext.errors import ConfigError, ModelContractError
from torchattacks_ext.models import LogitsView, Meter, NESGrad
from torchattacks_ext.testing import GradientKiller, small_net

SOURCE = torch.Generator().manual_seed(0)
IMAGES = torch.rand(4, 1, 3, 3, generator=SOURCE, dtype=torch.float64)
WEIGHT = torch.randn(4, 5, generator=SOURCE, dtype=torch.float64)


def linear() -> nn.Module:
    """A linear map of 9 pixels to 5 logits."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(9, 5)).double()


def gradient(model: nn.Module, images: Tensor, weight: Tensor) -> Tensor:
    """J^T weight as the model gives it."""
    x = images.clone().requires_grad_()
    return torch.autograd.grad((model(x) * weight).sum(), x)[0]


def test_the_value_is_the_models() -> None:
    net = small_net().eval()
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(NESGrad(net)(x), net(x))


@pytest.mark.parametrize("sigma", [1e-3, 0.5])
def test_closed_form_of_a_linear_model(sigma: float) -> None:
    """The estimate is (1/n) sum v v^T a with a the true gradient, whatever sigma."""
    net, n = linear(), 6
    model = NESGrad(net, n, sigma, seed=2)
    a = gradient(net, IMAGES, WEIGHT).flatten(1)
    expected = torch.zeros_like(a)
    for i in range(n):
        v = model.directions(IMAGES, i).flatten(1)
        expected += (a * v).sum(1, keepdim=True) * v / n
    found = gradient(model, IMAGES, WEIGHT).flatten(1)
    assert torch.allclose(found, expected, atol=1e-9)


def test_unbiased_with_the_stated_variance() -> None:
    """The error d of a row has covariance (|a|^2 I + a a^T) / n; its inverse is known.

    So n / |a|^2 (|d|^2 - <a, d>^2 / (2 |a|^2)) is chi^2 with 9 degrees a row, in the normal limit
    of 4000 terms. A false alarm once in 1e7.
    """
    net, n = linear(), 4000
    a = gradient(net, IMAGES, WEIGHT).flatten(1)
    d = gradient(NESGrad(net, n, 0.1), IMAGES, WEIGHT).flatten(1) - a
    size = a.square().sum(1)
    along = (a * d).sum(1).square() / (2 * size)
    found = float((n / size * (d.square().sum(1) - along)).sum())
    low, high = stats.chi2.ppf([5e-8, 1 - 5e-8], a.numel())
    assert low < found < high


def test_symmetric_pairs_cancel_the_curvature() -> None:
    """f = q |x|^2: <g, f(x + sv) - f(x - sv)> = 4 s q <x, v> exactly, so sigma does not matter."""

    def square(x: Tensor) -> Tensor:
        size = x.flatten(1).square().sum(1, keepdim=True)
        return size * torch.tensor([1.0, -2.0]).to(size)

    weight = torch.ones(4, 2, dtype=torch.float64)
    small, large = (
        gradient(NESGrad(square, 5, s), IMAGES, weight) for s in (1e-3, 1.0)
    )
    assert torch.allclose(small, large, atol=1e-9)


def test_it_sees_through_a_masked_gradient() -> None:
    net = linear()
    found = gradient(NESGrad(GradientKiller(net), 2000, 0.01), IMAGES, WEIGHT)
    expected = gradient(net, IMAGES, WEIGHT)
    cosine = torch.cosine_similarity(found.flatten(1), expected.flatten(1))
    assert bool((cosine > 0.95).all())


def test_rows_depend_on_seed_and_content_alone() -> None:
    model = NESGrad(linear(), 3, 0.1, seed=4)
    whole = gradient(model, IMAGES, WEIGHT)
    order = torch.tensor([2, 0])
    assert torch.allclose(gradient(model, IMAGES[order], WEIGHT[order]), whole[order])
    assert torch.equal(gradient(model, IMAGES, WEIGHT), whole)  # a second call
    other = gradient(NESGrad(linear(), 3, 0.1, seed=5), IMAGES, WEIGHT)
    assert not torch.allclose(other, whole)
    v = [model.directions(IMAGES, i) for i in range(2)]
    assert not torch.equal(v[0], v[1]) and not torch.equal(v[0][0], v[0][1])


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    net = nn.Flatten()
    gradient(NESGrad(net, 3), IMAGES, torch.ones(4, 9))
    assert torch.equal(torch.get_rng_state(), before)


def test_cost_is_2n_forwards_when_a_gradient_arrives() -> None:
    meter = Meter()
    model = NESGrad(LogitsView(linear(), meter=meter), n=7)
    with torch.no_grad():
        model(IMAGES)
    model(IMAGES.clone().requires_grad_())
    assert (meter.forward, meter.backward) == (8, 0)
    gradient(model, IMAGES, WEIGHT)
    assert (meter.forward, meter.backward) == (8 + 4 + 2 * 7 * 4, 0)


def test_only_values_without_gradients_are_used() -> None:
    modes = []

    def box(x: Tensor) -> Tensor:
        modes.append((torch.is_grad_enabled(), x.requires_grad))
        return torch.from_numpy(x.detach().numpy().reshape(len(x), -1)[:, :2].copy())

    gradient(NESGrad(box, 2), IMAGES, torch.ones(4, 2))
    assert modes == [(False, False)] * 5


@pytest.mark.parametrize("shape", [(2, 5), (2, 1, 3, 3), (0, 1, 2, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_and_dtypes(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = torch.rand(shape, dtype=dtype)
    found = gradient(NESGrad(nn.Flatten(), 2, 0.1), x, x.flatten(1))
    assert found.shape == shape and found.dtype == dtype
    assert bool(found.isfinite().all())


def test_second_derivatives_are_refused() -> None:
    x = IMAGES.clone().requires_grad_()
    with pytest.raises(ModelContractError, match="create_graph=False"):
        torch.autograd.grad(NESGrad(linear())(x).sum(), x, create_graph=True)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (dict(n=0), "n=0 must be an integer >= 1"),
        (dict(n=1.5), "n=1.5 must"),
        (dict(sigma=0.0), r"sigma=0.0 must be a step in \(0, inf\)"),
        (dict(sigma=float("inf")), "sigma=inf must"),
    ],
)
def test_settings_outside_their_domain(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        NESGrad(nn.Identity(), **wrong)
