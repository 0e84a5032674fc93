"""Is the bound near an image above all slopes in its ball, and are its radii safe? Attacks say so.

Nets, images and starts are drawn from fixed seeds: a failure is a wrong bound, not bad luck.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext.errors import ConfigError, InputError, ModelContractError
from torchattacks_ext.models.lipschitz import bound_net
from torchattacks_ext.models.lipschitz.ball import BallBounds, local_radius
from torchattacks_ext.models.normalised import NormalizedModel


def seeded(make: Any, seed: int) -> nn.Module:
    """A net in float64 with weights of a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net: nn.Module = make()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_var = torch.rand(module.num_features) + 0.3
                module.running_mean = torch.randn(module.num_features)
    return net.double().eval()


def mlp() -> nn.Module:
    """32-64-64-8."""
    layers = (
        nn.Linear(32, 64),
        nn.ReLU(),
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Linear(64, 8),
    )
    return nn.Sequential(*layers)


def convolutional() -> nn.Module:
    """Two convolutions with normalisation before, between and after."""
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 6, 3, stride=2, groups=2, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(24, 5),
    )
    return NormalizedModel(net, mean=[0.4, 0.5], std=[0.25, 0.5])


def images_of(seed: int, *shape: int) -> Tensor:
    """Uniform in [0, 1)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def farthest(
    net: nn.Module, images: Tensor, radius: Tensor, restarts: int, steps: int
) -> Tensor:
    """How far an attack moves the latents within the L2 balls, (N,): ascent with restarts."""
    generator = torch.Generator().manual_seed(restarts)
    wide = (-1, *(1,) * (images.dim() - 1))
    with torch.no_grad():
        start, best = net(images), torch.zeros(len(images), dtype=torch.float64)
    for _ in range(restarts):
        delta = torch.randn(images.shape, generator=generator, dtype=torch.float64)
        for _ in range(steps):
            size = delta.flatten(1).norm(dim=1).clamp(min=1e-12).reshape(wide)
            delta = (delta / size * radius.reshape(wide)).requires_grad_(True)
            moved = (net(images + delta) - start).norm(dim=1)
            best = torch.maximum(best, moved.detach())
            (slope,) = torch.autograd.grad(moved.sum(), delta)
            size = slope.flatten(1).norm(dim=1).clamp(min=1e-12).reshape(wide)
            delta = (delta + 2 * radius.reshape(wide) * slope / size).detach()
    return best


def steepest(
    cases: ModuleType, net: nn.Module, image: Tensor, radius: float, seed: int
) -> float:
    """Largest Jacobian norm at points of the ball, most of them near its surface."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for i in range(4):
        step = torch.randn(image.shape, generator=generator, dtype=torch.float64)
        point = image + (i > 0) * radius * step / step.norm()
        found.append(cases.norm(cases.jacobian(net, point[None])))
    return max(found)


@pytest.mark.parametrize(("make", "shape"), [(mlp, (32,)), (convolutional, (2, 6, 6))])
def test_no_slope_in_the_ball_is_above_its_bound(
    cases: ModuleType, make: Any, shape: tuple[int, ...]
) -> None:
    net, images = seeded(make, 0), images_of(0, 4, *shape)
    bounds = BallBounds.of(net, shape)
    before = torch.zeros(4, dtype=torch.float64)
    for radius in (0.0, 0.01, 0.1, 0.5, 3.0):
        found = bounds.at(images, radius)
        for i, image in enumerate(images):
            assert found[i] >= steepest(cases, net, image, radius, i)
        assert bool((found >= before * (1 - 1e-9)).all()), "grows with the radius"
        assert float(found.max()) <= bounds.everywhere
        before = found


def test_at_radius_zero_it_is_the_jacobian_at_the_image(cases: ModuleType) -> None:
    net, images = seeded(mlp, 1), images_of(1, 3, 32)
    found = BallBounds.of(net, (32,)).at(images, 0.0)
    truth = [cases.norm(cases.jacobian(net, image[None])) for image in images]
    assert found.tolist() == pytest.approx(truth, rel=1e-6)


@pytest.mark.parametrize(("make", "shape"), [(mlp, (32,)), (convolutional, (2, 6, 6))])
def test_no_attack_leaves_the_latent_radius(make: Any, shape: tuple[int, ...]) -> None:
    net, images = seeded(make, 2), images_of(2, 5, *shape)
    bounds = BallBounds.of(net, shape)
    for rho in (0.05, 0.3):
        radius = bounds.radius(images, torch.full((5,), rho), steps=8)
        assert bool((radius >= rho / bounds.everywhere * (1 - 2e-9)).all())
        assert float(farthest(net, images, radius, restarts=3, steps=15).max()) < rho


def test_radii_of_a_32_64_64_8_net_gain() -> None:
    """Latent radii of a tenth to a half of the distance between latents."""
    gains = []
    for seed in range(2):
        net, images = seeded(mlp, seed), images_of(seed, 4, 32)
        bounds = BallBounds.of(net, (32,))
        with torch.no_grad():
            apart = float(torch.pdist(net(images)).median())
        for part in (0.1, 0.25, 0.5):
            rho = torch.full((4,), part * apart)
            gains.append(bounds.radius(images, rho, steps=12) * bounds.product / rho)
    assert (
        float(torch.cat(gains).median()) >= 1.4 and float(torch.cat(gains).min()) >= 1.2
    )


@pytest.mark.slow
def test_no_attack_with_restarts_leaves_any_radius_of_60_images(
    cases: ModuleType,
) -> None:
    for seed in range(3, 5):
        net, images = seeded(mlp, seed), images_of(seed, 30, 32)
        bounds = BallBounds.of(net, (32,))
        for rho in (0.05, 0.2, 1.0):
            radius = bounds.radius(images, torch.full((30,), rho))
            moved = farthest(net, images, radius, restarts=6, steps=30)
            assert float(moved.max()) < rho
            for i in range(0, 30, 6):
                steep = steepest(cases, net, images[i], float(radius[i]), i)
                assert float(bounds.at(images[i : i + 1], radius[i])) >= steep


def test_the_norm_everywhere_is_that_of_the_net() -> None:
    net = seeded(convolutional, 3)
    found = BallBounds.of(net, (2, 6, 6))
    assert (
        found.everywhere
        <= found.product
        <= bound_net(net, (2, 6, 6)).value * (1 + 1e-9)
    )


def test_the_bound_everywhere_holds_far_away_and_is_below_the_product(
    cases: ModuleType,
) -> None:
    for seed in range(5):
        net, bounds = seeded(mlp, seed), BallBounds.of(seeded(mlp, seed), (32,))
        points = 100 * (images_of(seed, 20, 32) - 0.5)
        steep = max(cases.norm(cases.jacobian(net, point[None])) for point in points)
        assert steep <= bounds.everywhere < 0.85 * bounds.product


def test_a_net_that_is_constant_on_a_ball_is_safe_on_it() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).double().eval()
    net[0].weight.data.copy_(torch.eye(2))
    net[0].bias.data.fill_(-10.0)  # off unless a pixel is above 10
    bounds, image = BallBounds.of(net, (2,)), torch.zeros(1, 2)
    assert float(bounds.at(image, 9.9)) == 0 < float(bounds.at(image, 10.1))
    assert float(bounds.radius(image, torch.tensor([1e-9]))) > 9.9


def test_latent_radii_that_are_none_or_all() -> None:
    net, images = seeded(mlp, 0), images_of(0, 4, 32)
    rho = torch.tensor([0.0, float("nan"), float("inf"), 1.0])
    found = local_radius(net, images, rho)
    assert found[:3].tolist() == [0.0, 0.0, float("inf")] and 0 < float(found[3]) < 100


def test_images_may_be_flat_and_of_another_type() -> None:
    net, images = seeded(convolutional, 0).float(), images_of(0, 2, 2, 6, 6)
    bounds = BallBounds.of(net, (2, 6, 6))
    both = bounds.at(images, 0.1), bounds.at(images.float().flatten(1), 0.1)
    assert torch.allclose(*both, rtol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        nn.MaxPool2d(2),
        nn.Tanh(),
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"),
    ],
)
def test_other_nets_are_refused_and_the_step_is_named(layer: nn.Module) -> None:
    net = nn.Sequential(nn.Conv2d(2, 2, 1), layer).eval()
    with pytest.raises(ModelContractError, match=r"model_1.*bound_net"):
        BallBounds.of(net, (2, 4, 4))


def test_a_branch_is_no_chain() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.layer(x)

    class Unused(Residual):
        def forward(self, x: Tensor) -> Tensor:
            y = self.layer(x)
            self.layer(y)
            return y

    for net in (Residual(), Unused(), nn.Flatten(), nn.ReLU()):
        with pytest.raises(ModelContractError):
            BallBounds.of(net.eval(), (3,))


def test_wrong_arguments_are_refused() -> None:
    bounds = BallBounds.of(seeded(mlp, 0), (32,))
    with pytest.raises(InputError, match="images have shape"):
        bounds.at(torch.zeros(2, 31), 0.1)
    for radius in (-1.0, float("nan")):
        with pytest.raises(ConfigError, match="radius"):
            bounds.at(torch.zeros(2, 32), radius)


def test_an_image_that_is_not_finite_is_safe_nowhere() -> None:
    bounds, images = BallBounds.of(seeded(mlp, 0), (32,)), images_of(0, 3, 32)
    images[0, 5], images[1, 5] = float("nan"), float("inf")
    assert bounds.radius(images, torch.full((3,), 2.0))[:2].tolist() == [0.0, 0.0]
    assert bounds.at(images, 0.1)[:2].tolist() == [bounds.everywhere] * 2


@pytest.mark.parametrize(
    "layer", [nn.PixelShuffle(2), nn.ChannelShuffle(2), nn.PixelUnshuffle(2)]
)
def test_layers_that_change_the_order_are_no_part_of_a_chain(layer: nn.Module) -> None:
    net = nn.Sequential(
        nn.Conv2d(2, 4, 1), layer, nn.Flatten(), nn.LazyLinear(3)
    ).double()
    net(torch.zeros(1, 2, 4, 4).double())
    with pytest.raises(ModelContractError, match="model_1"):
        BallBounds.of(net.eval(), (2, 4, 4))
