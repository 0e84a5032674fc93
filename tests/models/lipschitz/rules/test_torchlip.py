"""Are the layers of deel-torchlip measured, whatever they promise? Needs that package.

Each against the Jacobian norm at random points; weights and points are drawn from fixed seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import nn

from torchattacks_ext.errors import ModelContractError
from torchattacks_ext.models.lipschitz import bound_net

tl = pytest.importorskip("deel.torchlip")
pytestmark = pytest.mark.filterwarnings("ignore")

IMAGE = (4, 8, 8)
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: tl.SpectralLinear(12, 9), (12,)),
    "linear, 3": (lambda: tl.SpectralLinear(12, 9, k_coef_lip=3.0), (12,)),
    "linear, frobenius": (lambda: tl.FrobeniusLinear(12, 9), (12,)),
    "conv": (lambda: tl.SpectralConv2d(4, 6, 3, padding=1), IMAGE),
    "conv, stride": (lambda: tl.SpectralConv2d(4, 6, 3, stride=2, padding=1), IMAGE),
    "conv, circular": (
        lambda: tl.SpectralConv2d(4, 6, 3, padding=1, padding_mode="circular"),
        IMAGE,
    ),
    "conv, reflect": (
        lambda: tl.SpectralConv2d(4, 6, 3, padding=1, padding_mode="reflect"),
        IMAGE,
    ),
    "conv, replicate": (
        lambda: tl.SpectralConv2d(4, 6, 3, padding=2, padding_mode="replicate"),
        IMAGE,
    ),
    "conv, symmetric": (
        lambda: tl.SpectralConv2d(4, 6, 3, padding=2, padding_mode="symmetric"),
        IMAGE,
    ),
    "conv, 1-d, symmetric": (
        lambda: tl.SpectralConv1d(4, 6, 3, padding=2, padding_mode="symmetric"),
        (4, 9),
    ),
    "conv, frobenius": (lambda: tl.FrobeniusConv2d(4, 6, 3, padding=1), IMAGE),
    "transposed": (lambda: tl.SpectralConvTranspose2d(4, 6, 3), IMAGE),
    "mean": (lambda: tl.ScaledAvgPool2d(2), IMAGE),
    "mean, ceil_mode": (lambda: tl.ScaledAvgPool2d(3, ceil_mode=True), IMAGE),
    "root": (lambda: tl.ScaledL2NormPool2d(2), IMAGE),
    "root, ceil_mode": (lambda: tl.ScaledL2NormPool2d(3, ceil_mode=True), IMAGE),
    "mean of all": (lambda: tl.ScaledAdaptiveAvgPool2d((1, 1)), IMAGE),
    "root of all": (lambda: tl.ScaledAdaptativeL2NormPool2d(), IMAGE),
    "maxmin": (lambda: tl.MaxMin(k_coef_lip=2.0), IMAGE),
    "groupsort": (lambda: tl.GroupSort(4), IMAGE),
    "groupsort 2": (lambda: tl.GroupSort2(), IMAGE),
    "fullsort": (lambda: tl.FullSort(), IMAGE),
    "prelu": (lambda: tl.LPReLU(init=3.0, k_coef_lip=2.0), IMAGE),
    "householder": (lambda: tl.HouseHolder(4, theta_initializer="normal"), IMAGE),
    "down": (lambda: tl.InvertibleDownSampling(2), IMAGE),
    "up": (lambda: tl.InvertibleUpSampling(2), IMAGE),
    "centring": (lambda: tl.LayerCentering(4), IMAGE),
    "batch": (lambda: tl.BatchLipNorm(4), IMAGE),
    "batch, centring": (lambda: tl.BatchCentering(4), IMAGE),
    "scale": (lambda: tl.ScaleBiasLayer(2.5, 4), IMAGE),
    "residual": (lambda: Residual(), IMAGE),
    "sequence": (
        lambda: tl.Sequential(
            tl.SpectralConv2d(4, 8, 3, padding=1),
            tl.GroupSort2(),
            tl.ScaledL2NormPool2d(2),
            nn.Flatten(),
            tl.SpectralLinear(128, 10),
            k_coef_lip=4.0,
        ),
        IMAGE,
    ),
}
EXCEED = (
    "mean, ceil_mode",
    "root, ceil_mode",
    "conv, replicate",
    "linear, 3",
    "maxmin",
)
"""Layers whose true norm is well above 1."""


class Residual(nn.Module):
    """tl.LipResidual around a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.join = nn.Conv2d(4, 4, 1), tl.LipResidual()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """alpha x + (1 - alpha) g(x)."""
        found: torch.Tensor = self.join(x, self.layer(x))
        return found


def trained(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> nn.Module:
    """In eval mode after one forward in training mode, from a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = make().train()
        layer(torch.rand(4, *shape))
    return layer.eval()


@pytest.mark.parametrize("name", LAYERS)
def test_no_layer_is_steeper_than_measured(cases: ModuleType, name: str) -> None:
    make, shape = LAYERS[name]
    layer = trained(make, shape)
    found = bound_net(layer, shape).value
    generator = torch.Generator().manual_seed(1)
    points = torch.randn(2, 1, *shape, generator=generator)
    steep = max(cases.norm(cases.jacobian(layer, point).double()) for point in points)
    # the layer computes in float32: so much its Jacobian may be off
    assert found >= steep * (1 - 1e-6)
    assert steep > 1.05 or name not in EXCEED


def test_a_weight_from_before_the_last_step_is_refused() -> None:
    for make, shape in (LAYERS["linear"], LAYERS["conv"]):
        layer = trained(make, shape)
        bound_net(layer, shape)
        with torch.no_grad():
            original = layer.parametrizations.weight.original  # type: ignore[union-attr]
            original.copy_(original.flip(0))
        with pytest.raises(ModelContractError, match="differs from its parameters"):
            bound_net(layer, shape)


def test_the_exported_layer_has_the_same_bound() -> None:
    layer = trained(*LAYERS["conv"])
    exported = layer.vanilla_export().eval()  # type: ignore[operator]
    assert bound_net(exported, IMAGE).value == bound_net(layer, IMAGE).value
